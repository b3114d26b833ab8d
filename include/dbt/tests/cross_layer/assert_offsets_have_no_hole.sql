-- Every offset of a partition is accounted for exactly once, as a bronze row or as a dead letter.
-- A hole is a lost record, an overlap is a record that landed twice. Offsets without a record (transaction markers,
-- aborted records) are no hole: the record after them names their number as `_hole`.
-- The last load of bronze is not checked. Dead letters are read after the records, so they may be ahead; and the dead
-- letters of a batch land after its records, so those of the last load may have been missing when it was read.
{{ config(meta={'owner': 'ingestion'}) }}

{#-
    Within a partition Kafka's time only grows. So every relevant row is at least as new as the oldest row of the
    window, except the last record before it, where a hole may begin. It is searched as far back as Kafka keeps records.
#}
{%- set oldest = oldest_in_test_window('kafka_timestamp', [ref('crypto_raw'), ref('crypto_dead_letter')]) %}
{%- set read_from = oldest ~ " - interval '" ~ var('landing_sweep_days') ~ "' day" %}

with

accounted as (

    select
        kafka_topic,
        kafka_partition,
        kafka_offset as first_offset,
        kafka_offset as last_offset,
        true as is_record,
        loaded_at
    from {{ ref('crypto_raw') }}
    where kafka_timestamp >= {{ read_from }}

    union all

    select
        kafka_topic,
        kafka_partition,
        kafka_offset as first_offset,
        last_kafka_offset as last_offset,
        false as is_record,
        loaded_at
    from {{ ref('crypto_dead_letter') }}
    where kafka_timestamp >= {{ read_from }}

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

-- The start is a record, not a dead letter: a gap has the time of its discovery, so later records may be older.
starts as (

    select
        window_starts.kafka_topic,
        window_starts.kafka_partition,
        coalesce(max(earlier.first_offset), min(window_starts.first_offset)) as first_offset
    from window_starts
    left join accounted as earlier
        on
            window_starts.kafka_topic = earlier.kafka_topic
            and window_starts.kafka_partition = earlier.kafka_partition
            and window_starts.first_offset > earlier.first_offset
            and earlier.is_record
    group by window_starts.kafka_topic, window_starts.kafka_partition

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
    inner join starts
        on
            accounted.kafka_topic = starts.kafka_topic
            and accounted.kafka_partition = starts.kafka_partition
            and accounted.first_offset >= starts.first_offset
    inner join bronze_ends
        on
            accounted.kafka_topic = bronze_ends.kafka_topic
            and accounted.kafka_partition = bronze_ends.kafka_partition
            and accounted.first_offset <= bronze_ends.last_offset

)

select
    ordered.kafka_topic,
    ordered.kafka_partition,
    ordered.last_offset,
    ordered.next_offset,
    case when ordered.next_offset > ordered.last_offset then 'hole' else 'overlap' end as problem
from ordered
-- Only the records after a hole are read as a whole: the column is most of the table.
left join {{ ref('crypto_raw') }} as after_hole
    on
        ordered.kafka_topic = after_hole.kafka_topic
        and ordered.kafka_partition = after_hole.kafka_partition
        and ordered.next_offset = after_hole.kafka_offset
        and ordered.next_offset > ordered.last_offset + 1
        and after_hole.kafka_timestamp >= {{ read_from }}
where
    ordered.next_offset <> ordered.last_offset + 1
    and ordered.next_offset - coalesce(cast({{ json_text('after_hole.record', '_hole') }} as bigint), 0)
    <> ordered.last_offset + 1
