{#-
    Queries of the audit (include/audit/layers.py) and of `python -m include.audit where` (include/audit/where.py);
    include/audit/queries.py reads their rows. A day is the UTC day in the names of the landed files. `day` is text like
    2026-11-23.
-#}

{# Rows of a day by partition: those of bronze and where they went, those of the dead letters, and the quotes of gold. #}
{% macro audit_layers(day) -%}
    {%- set watermark = read_watermark(ref('crypto_quarantine')) if execute else unix_epoch() -%}
    {%- set start = "timestamp '" ~ day ~ " 00:00:00'" -%}
    with

    bronze as (

        select
            record_id,
            kafka_partition,
            kafka_offset,
            case when loaded_at > timestamp '{{ watermark }}' then 1 else 0 end as not_built
        from {{ ref('crypto_raw') }}
        where {{ audit_files_of(day, 'crypto_data') }}

    ),

    placed as (

        select
            record_id,
            sum(in_silver) as in_silver,
            sum(in_quarantine) as in_quarantine
        from (
            select record_id, 1 as in_silver, 0 as in_quarantine from {{ ref('crypto_stage') }}
            where loaded_at >= {{ start }} - interval '1' day
            union all
            select record_id, 0 as in_silver, 1 as in_quarantine from {{ ref('crypto_quarantine') }}
            where loaded_at >= {{ start }} - interval '1' day
        ) as rows_after_bronze
        group by record_id

    ),

    newest as (

        select
            kafka_partition,
            max(kafka_offset) as newest_offset
        from {{ ref('crypto_raw') }}
        where kafka_timestamp >= {{ start }} - interval '1' day
        group by kafka_partition

    )

    select
        'bronze' as what,
        newest.kafka_partition as part,
        count(bronze.record_id) as row_count,
        count(distinct bronze.kafka_offset) as other_count,
        coalesce(sum(bronze.not_built), 0) as not_built,
        coalesce(sum(placed.in_silver), 0) as in_silver,
        coalesce(sum(placed.in_quarantine), 0) as in_quarantine,
        count(
            case
                when bronze.not_built = 0 and coalesce(placed.in_silver + placed.in_quarantine, 0) <> 1
                    then bronze.record_id
            end
        ) as misplaced,
        max(newest.newest_offset) as newest_offset
    from newest
    left join bronze on newest.kafka_partition = bronze.kafka_partition
    left join placed on bronze.record_id = placed.record_id
    group by newest.kafka_partition

    union all

    select 'dead_letter', kafka_partition, count(*), count(distinct kafka_offset), 0, 0, 0, 0, max(last_kafka_offset)
    from {{ ref('crypto_dead_letter') }}
    where {{ audit_files_of(day, 'dead_letter') }}
    group by kafka_partition

    union all

    select
        'gold',
        0,
        (
            select coalesce(sum(quote_count), 0) from {{ ref('crypto_curated') }}
            where hour_start >= {{ start }} and hour_start < {{ start }} + interval '1' day
        ),
        (
            select count(*) from {{ ref('crypto_stage') }}
            where
                last_updated >= {{ start }} and last_updated < {{ start }} + interval '1' day
                and loaded_at <= (select max(loaded_at) from {{ ref('crypto_curated') }})
        ),
        0, 0, 0, 0, 0
{%- endmacro %}


{# Bronze rows of each file of a day and partition. #}
{% macro audit_files(day, partition) -%}
    select
        source_file,
        count(*) as row_count
    from {{ ref('crypto_raw') }}
    where
        {{ audit_files_of(day, 'crypto_data') }}
        and kafka_partition = {{ partition }}
    group by source_file
{%- endmacro %}


{# The offsets of one file in bronze, with the number of their rows. #}
{% macro audit_offsets(day, key) -%}
    select
        kafka_offset,
        count(*) as row_count
    from {{ ref('crypto_raw') }}
    where
        {{ audit_files_of(day, 'crypto_data') }}
        and source_file = '{{ landing_folder(key) }}'
    group by kafka_offset
{%- endmacro %}


{# At most 20 bronze rows of a day that are not in exactly one of silver and quarantine. #}
{% macro audit_misplaced(day) -%}
    {%- set watermark = read_watermark(ref('crypto_quarantine')) if execute else unix_epoch() -%}
    select
        bronze.kafka_partition as part,
        bronze.kafka_offset,
        bronze.source_file,
        coalesce(silver.row_count, 0) as in_silver,
        coalesce(quarantine.row_count, 0) as in_quarantine
    from {{ ref('crypto_raw') }} as bronze
    left join (select record_id, count(*) as row_count from {{ ref('crypto_stage') }} group by record_id) as silver
        on bronze.record_id = silver.record_id
    left join
        (select record_id, count(*) as row_count from {{ ref('crypto_quarantine') }} group by record_id) as quarantine
        on bronze.record_id = quarantine.record_id
    where
        {{ audit_files_of(day, 'crypto_data') }}
        and bronze.loaded_at <= timestamp '{{ watermark }}'
        and coalesce(silver.row_count, 0) + coalesce(quarantine.row_count, 0) <> 1
    order by bronze.kafka_partition, bronze.kafka_offset
    limit 20
{%- endmacro %}


{# A condition on the rows of a day's files. Kafka's time lets the engine skip other days; a file keeps within its day. #}
{% macro audit_files_of(day, kind) -%}
    {%- set prefixes = {
        'crypto_data': env_var('S3_DATA_PREFIX', 'crypto_data/'),
        'dead_letter': env_var('S3_DEAD_LETTER_PREFIX', 'dead_letter/'),
    } -%}
    {%- set folder = landing_folder(prefixes[kind]) ~ day | replace('-', '/') -%}
    source_file >= '{{ folder }}/' and source_file < '{{ folder }}0'
        and kafka_timestamp >= timestamp '{{ day }} 00:00:00' - interval '1' day
        and kafka_timestamp < timestamp '{{ day }} 00:00:00' + interval '2' day
{%- endmacro %}


{#
    Where one record is: a row for each layer that has it. `found` is the file in bronze and of a dead letter, the rule
    in quarantine, the hour in gold.
#}
{% macro audit_record(partition, offset) -%}
    {%- set place = "kafka_partition = " ~ partition ~ " and kafka_offset = " ~ offset -%}
    select 'bronze' as layer, source_file as found, cast(loaded_at as varchar) as since
    from {{ ref('crypto_raw') }} where {{ place }}
    union all
    select 'dead_letter', source_file, cast(loaded_at as varchar)
    from {{ ref('crypto_dead_letter') }}
    where kafka_partition = {{ partition }} and kafka_offset <= {{ offset }} and last_kafka_offset >= {{ offset }}
    union all
    select 'silver', quote_id, cast(loaded_at as varchar)
    from {{ ref('crypto_stage') }} where {{ place }}
    union all
    select 'quarantine', broken_rule, cast(loaded_at as varchar)
    from {{ ref('crypto_quarantine') }} where {{ place }}
    union all
    select 'gold', cast(gold.hour_start as varchar), cast(gold.loaded_at as varchar)
    from {{ ref('crypto_curated') }} as gold
    inner join {{ ref('crypto_stage') }} as quote
        on
            gold.id = quote.id
            and gold.hour_start = date_trunc('hour', quote.last_updated)
            and gold.loaded_at >= quote.loaded_at
    where quote.kafka_partition = {{ partition }} and quote.kafka_offset = {{ offset }}
{%- endmacro %}


{# Partition and offset of a coin's quotes whose own time is in one second, at most 20. #}
{% macro audit_quotes(symbol, second) -%}
    select kafka_partition as part, kafka_offset
    from (
        select kafka_partition, kafka_offset, symbol, last_updated from {{ ref('crypto_stage') }}
        union all
        select kafka_partition, kafka_offset, symbol, last_updated from {{ ref('crypto_quarantine') }}
    ) as quotes
    where
        symbol = '{{ symbol }}'
        and last_updated >= timestamp '{{ second }}' and last_updated < timestamp '{{ second }}' + interval '1' second
    order by kafka_partition, kafka_offset
    limit 20
{%- endmacro %}
