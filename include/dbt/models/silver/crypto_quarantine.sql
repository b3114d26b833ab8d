-- Every bronze row that is not in crypto_stage, with the rule that refused it. A load waits until crypto_stage has
-- processed it: only then is it known which of its rows are duplicates.
{{
    config(
        materialized='incremental',
        incremental_strategy='merge',
        unique_key='record_id',
        partitioned_by=on_athena(['day(kafka_timestamp)']),
        pre_hook={'sql': '{{ reset_watermark() }}', 'transaction': false},
        post_hook='{{ write_watermark() }}',
    )
}}

{%- set loads = new_loads(ref('crypto_checked'), processed_by=ref('crypto_stage')) %}

with

checked as (

    select * from {{ ref('crypto_checked') }}
    where {{ loads }}

),

accepted as (

    select record_id from {{ ref('crypto_stage') }}
    where {{ loads }}

),

final as (

    select
        checked.record_id,
        checked.kafka_topic,
        checked.kafka_partition,
        checked.kafka_offset,
        checked.kafka_timestamp,
        -- a row that breaks no rule is here because its quote was known already
        coalesce(checked.broken_rule, 'duplicate') as broken_rule,
        checked.id,
        checked.symbol,
        checked.price,
        checked.last_updated,
        checked.record,
        checked.source_file,
        checked.loaded_at
    from checked
    left join accepted on checked.record_id = accepted.record_id
    where accepted.record_id is null

)

select * from final
