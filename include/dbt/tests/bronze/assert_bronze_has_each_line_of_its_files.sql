-- Each landed file has as many rows in bronze as it has records, up to the newest file that bronze has of its partition.
-- Asked of the bucket itself, and only of the hours that macros/landing_check.sql tells.
{%- set start = landed_check_start(ref('crypto_raw')) %}

with

landed as (

    {{ landed_record_counts(source('landing', 'crypto_raw_data'), start) }}

),

bronze as (

    select
        source_file,
        count(*) as row_count
    from {{ ref('crypto_raw') }}
    where
        source_file >= {{ landed_check_path(start) }}
        and kafka_timestamp >= {{ timestamp_literal(start) }}
    group by source_file

),

newest_files as (

    select
        regexp_extract(source_file, '_p[0-9]+_') as kafka_partition,
        max(source_file) as newest_file
    from bronze
    group by regexp_extract(source_file, '_p[0-9]+_')

),

expected as (

    select landed.*
    from landed
    inner join newest_files
        on
            regexp_extract(landed.source_file, '_p[0-9]+_') = newest_files.kafka_partition
            and landed.source_file <= newest_files.newest_file

)

select
    coalesce(expected.source_file, bronze.source_file) as source_file,
    expected.record_count as landed_records,
    bronze.row_count as bronze_rows
from expected
full outer join bronze on expected.source_file = bronze.source_file
where coalesce(expected.record_count, 0) <> coalesce(bronze.row_count, 0)
