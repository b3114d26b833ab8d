-- Every landed record as it is: one row for each Kafka message, with its place in Kafka.
-- A run reads only files that this table lacks; see macros/landing.sql.
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
