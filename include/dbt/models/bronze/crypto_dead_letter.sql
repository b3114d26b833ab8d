-- Every message the consumer refused, and every range of offsets that holds no record.
-- Together with crypto_raw this accounts for each offset of the topic.
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
        source('landing', 'dead_letter_data'), env_var('S3_DEAD_LETTER_PREFIX', 'dead_letter/'), 'dead_letter_'
    ) }}

),

letters as (

    select
        regexp_replace(line, ',[ ]*$', '') as letter,
        source_file
    from lines
    where substr(line, 1, 1) = '{'

),

final as (

    select
        {{ json_text('letter', '_topic') }} as kafka_topic,
        cast({{ json_text('letter', '_partition') }} as integer) as kafka_partition,
        cast({{ json_text('letter', '_offset') }} as bigint) as kafka_offset,
        cast({{ json_text('letter', 'last_offset') }} as bigint) as last_kafka_offset,
        {{ timestamp_from_ms('cast(' ~ json_text('letter', '_timestamp') ~ ' as bigint)') }} as kafka_timestamp,
        {{ json_text('letter', 'error_class') }} as error_class,
        {{ json_text('letter', 'error') }} as error,
        letter,
        source_file,
        {{ timestamp_literal(run_started_at) }} as loaded_at
    from letters

)

select
    {{ surrogate_key(['kafka_topic', 'kafka_partition', 'kafka_offset']) }} as record_id,
    *
from final
