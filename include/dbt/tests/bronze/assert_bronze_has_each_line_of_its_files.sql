-- Each landed file has as many rows in bronze as it has records. The test reads the bucket itself, in the hours of
-- macros/landing_check.sql. In each partition it stops at the newest file of the loads before the last: a batch may
-- become visible after its successor, so a later file may have landed between the last load and this test.
{%- set start = landed_check_start(ref('crypto_raw')) %}

with

landed as (

    {{ landed_record_counts(source('landing', 'crypto_raw_data'), start) }}

),

bronze as (

    select
        source_file,
        loaded_at
    from {{ ref('crypto_raw') }}
    where
        source_file >= {{ landed_check_path(start) }}
        and kafka_timestamp >= {{ timestamp_literal(start) }}

),

limits as (

    select
        regexp_extract(source_file, '_p[0-9]+_') as kafka_partition,
        max(source_file) as newest_file
    from bronze
    where loaded_at < (select max(loaded_at) from bronze)
    group by regexp_extract(source_file, '_p[0-9]+_')

),

expected as (

    select landed.*
    from landed
    inner join limits
        on
            regexp_extract(landed.source_file, '_p[0-9]+_') = limits.kafka_partition
            and landed.source_file <= limits.newest_file

),

loaded as (

    select
        bronze.source_file,
        count(*) as row_count
    from bronze
    inner join limits
        on
            regexp_extract(bronze.source_file, '_p[0-9]+_') = limits.kafka_partition
            and bronze.source_file <= limits.newest_file
    group by bronze.source_file

)

select
    coalesce(expected.source_file, loaded.source_file) as source_file,
    expected.record_count as landed_records,
    loaded.row_count as bronze_rows
from expected
full outer join loaded on expected.source_file = loaded.source_file
where coalesce(expected.record_count, 0) <> coalesce(loaded.row_count, 0)
