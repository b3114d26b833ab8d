-- Every offset of a partition is accounted for exactly once, as a bronze row or as a dead letter.
-- A hole means a lost record, an overlap a record landed twice.
-- Judged up to bronze's loads before the last: dead letters are read after the records, so they may be further, and a
-- batch's letters land after its records, so those of the last load may not have been there yet.
{{ config(meta={'owner': 'ingestion'}) }}

{#- Within a partition Kafka's time only grows, so no row that counts is older than the window's oldest. #}
{%- set oldest = oldest_in_test_window('kafka_timestamp', [ref('crypto_raw'), ref('crypto_dead_letter')]) %}

with

accounted as (

    select
        kafka_topic,
        kafka_partition,
        kafka_offset as first_offset,
        kafka_offset as last_offset,
        loaded_at
    from {{ ref('crypto_raw') }}
    where kafka_timestamp >= {{ oldest }}

    union all

    select
        kafka_topic,
        kafka_partition,
        kafka_offset as first_offset,
        last_kafka_offset as last_offset,
        loaded_at
    from {{ ref('crypto_dead_letter') }}
    where kafka_timestamp >= {{ oldest }}

),

bronze_ends as (

    select
        kafka_topic,
        kafka_partition,
        max(kafka_offset) as last_offset
    from {{ ref('crypto_raw') }}
    where
        kafka_timestamp >= {{ oldest }}
        and loaded_at < (select max(loaded_at) from {{ ref('crypto_raw') }} where kafka_timestamp >= {{ oldest }})
    group by kafka_topic, kafka_partition

),

window_starts as (

    select
        kafka_topic,
        kafka_partition,
        min(first_offset) as first_offset
    from accounted
    where loaded_at >= {{ test_window_start() }}
    group by kafka_topic, kafka_partition

),

ordered as (

    select
        accounted.kafka_topic,
        accounted.kafka_partition,
        accounted.last_offset,
        lead(accounted.first_offset) over (
            partition by accounted.kafka_topic, accounted.kafka_partition
            order by accounted.first_offset, accounted.last_offset
        ) as next_offset
    from accounted
    inner join window_starts
        on
            accounted.kafka_topic = window_starts.kafka_topic
            and accounted.kafka_partition = window_starts.kafka_partition
            and accounted.first_offset >= window_starts.first_offset
    inner join bronze_ends
        on
            accounted.kafka_topic = bronze_ends.kafka_topic
            and accounted.kafka_partition = bronze_ends.kafka_partition
            and accounted.first_offset <= bronze_ends.last_offset

)

select
    kafka_topic,
    kafka_partition,
    last_offset,
    next_offset,
    case when next_offset > last_offset then 'hole' else 'overlap' end as problem
from ordered
where next_offset <> last_offset + 1
