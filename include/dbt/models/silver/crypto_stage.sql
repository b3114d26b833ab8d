-- Valid quotes: one row for each coin and quote time. The first loaded row of a business key (`id`, `last_updated`) is
-- kept; the others go to crypto_quarantine.
{{
    config(
        materialized='incremental',
        incremental_strategy='merge',
        unique_key=['id', 'last_updated'],
        partitioned_by=on_athena(['day(last_updated)']),
        pre_hook=[
            {'sql': '{{ reset_watermark() }}', 'transaction': false},
            {'sql': '{{ reset_watermark_of("crypto_curated") }}', 'transaction': false},
        ],
        post_hook='{{ write_watermark() }}',
    )
}}

with

accepted as (

    select * from {{ ref('crypto_checked') }}
    where
        broken_rule is null
        and {{ new_loads(ref('crypto_checked')) }}

),

ranked as (

    select
        *,
        row_number() over (
            partition by id, last_updated
            order by loaded_at, kafka_timestamp, kafka_partition, kafka_offset
        ) as arrival
    from accepted

),

first_arrivals as (

    select * from ranked
    where arrival = 1

),

final as (

    select
        {{ surrogate_key(['id', epoch_ms('last_updated')]) }} as quote_id,
        id,
        symbol,
        name,
        price,
        last_updated,
        {%- for field in promoted_fields() %}
        {{ field }},
        {%- endfor %}
        {{ seconds_between('last_updated', 'kafka_timestamp') }} as delay_seconds,
        record_id,
        kafka_topic,
        kafka_partition,
        kafka_offset,
        kafka_timestamp,
        loaded_at
    from first_arrivals

)

select * from final
{%- if is_incremental() %}
where not exists (
    select 1
    from {{ this }} as known
    where
        known.id = final.id
        and known.last_updated = final.last_updated
)
{%- endif %}
