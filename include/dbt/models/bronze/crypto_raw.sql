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

lines as (

    {{ landed_lines(
        source('landing', 'crypto_raw_data'), env_var('S3_DATA_PREFIX', 'crypto_data/'), 'crypto_data_'
    ) }}

),

records as (

    -- the brackets of the array stand on lines of their own
    select
        regexp_replace(line, ',[ ]*$', '') as record,
        source_file
    from lines
    where substr(line, 1, 1) = '{'

),

final as (

    select
        {{ json_text('record', '_topic') }} as kafka_topic,
        cast({{ json_text('record', '_partition') }} as integer) as kafka_partition,
        cast({{ json_text('record', '_offset') }} as bigint) as kafka_offset,
        {{ timestamp_from_ms('cast(' ~ json_text('record', '_timestamp') ~ ' as bigint)') }} as kafka_timestamp,
        {{ json_text('record', 'id') }} as id,
        {{ json_text('record', 'symbol') }} as symbol,
        {{ json_text('record', 'name') }} as name,
        {{ json_text('record', 'price') }} as price,
        {{ json_text('record', 'last_updated') }} as last_updated,
        record,
        source_file,
        {{ timestamp_literal(run_started_at) }} as loaded_at
    from records

)

select
    {{ surrogate_key(['kafka_topic', 'kafka_partition', 'kafka_offset']) }} as record_id,
    *
from final
