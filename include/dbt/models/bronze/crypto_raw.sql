-- Every landed record as it is: one row for each Kafka message, with its place in Kafka.
-- A run reads only files that this table lacks; see macros/landing.sql.
-- On Athena a row is merged, not inserted: the query of a killed attempt may still run, and of two merges that run at
-- the same time only one commits.
{{
    config(
        materialized='incremental',
        incremental_strategy='merge' if target.type == 'athena' else 'append',
        unique_key=on_athena(['kafka_partition', 'kafka_offset', 'source_file']),
        update_condition=on_athena('1 = 0'),
        incremental_predicates=on_athena([loaded_lately('target.loaded_at')]),
        pre_hook=[
            {'sql': '{{ reset_watermark_of("crypto_stage") }}', 'transaction': false},
            {'sql': '{{ reset_watermark_of("crypto_quarantine") }}', 'transaction': false},
        ],
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
