-- Dashboard table: the verdicts on landed records, by the UTC day on which Kafka received the records. Messages that
-- the consumer refused are not in it. A view reads with the rights of its reader, and BI readers have no rights on
-- bronze, where crypto_dead_letter keeps these messages unchanged, with keys and headers.
{{ config(materialized='view') }}

with

accepted as (

    select
        kafka_timestamp,
        cast('accepted' as varchar) as verdict
    from {{ ref('crypto_stage') }}

),

refused as (

    select
        kafka_timestamp,
        broken_rule as verdict
    from {{ ref('crypto_quarantine') }}

),

records as (

    select * from accepted
    union all
    select * from refused

),

daily as (

    select
        cast(kafka_timestamp as date) as received_date,
        verdict,
        count(*) as record_count
    from records
    group by cast(kafka_timestamp as date), verdict

),

final as (

    select
        received_date,
        verdict,
        cast(record_count as bigint) as record_count,
        cast(record_count as double)
        / sum(record_count) over (partition by received_date) * 100 as share_percent
    from daily

)

select * from final
