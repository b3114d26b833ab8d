-- Every landed record as it is: one row a Kafka message, with its place in Kafka.
-- Only files that this table does not hold yet are read; see macros/landing.sql.
{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        partitioned_by=on_athena(['day(kafka_timestamp)']),
    )
}}

with

records as (

    {{ landed_records(
        source('landing', 'crypto_raw_data'), env_var('S3_DATA_PREFIX', 'crypto_data/'), 'crypto_data_',
        fields=['id', 'symbol', 'name', 'price', 'last_updated']
    ) }}

)

select
    record_id,
    kafka_topic,
    kafka_partition,
    kafka_offset,
    kafka_timestamp,
    id,
    symbol,
    name,
    price,
    last_updated,
    record,
    source_file,
    loaded_at
from records
