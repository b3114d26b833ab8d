-- Every message that the consumer refused, and every range of offsets without records. Together with crypto_raw this
-- accounts for each offset of the topic. It is built after crypto_raw: the dead letters of a batch land after its
-- records, so a dead letter between two known records is found too.
{{
    config(
        materialized='incremental',
        incremental_strategy='merge' if target.type == 'athena' else 'append',
        unique_key=on_athena(['kafka_partition', 'kafka_offset', 'source_file']),
        update_condition=on_athena('1 = 0'),
        incremental_predicates=on_athena([loaded_lately('target.loaded_at')]),
        partitioned_by=on_athena(['day(kafka_timestamp)']),
    )
}}

with

dead_letters as (

    {{ landed_records(
        source('landing', 'dead_letter_data'), env_var('S3_DEAD_LETTER_PREFIX', 'dead_letter/'), 'dead_letter_',
        fields=['last_offset', 'error_class', 'error'], paced_by=ref('crypto_raw')
    ) }}

)

select
    record_id,
    kafka_topic,
    kafka_partition,
    kafka_offset,
    cast(last_offset as bigint) as last_kafka_offset,
    kafka_timestamp,
    error_class,
    error,
    record as letter,
    source_file,
    loaded_at
from dead_letters
