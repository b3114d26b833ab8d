-- Finds two objects of a partition with the same first offset: a create-only write overwrote or repeated another write
-- (docs/exactly-once.md). The test reads the bucket itself, not bronze, in the hours of macros/landing_check.sql.
{%- set start = landed_check_start(ref('crypto_raw')) %}

with

paths as (

    {{ landed_paths(source('landing', 'crypto_raw_data'), start) }}

)

select
    regexp_extract(source_file, '_p[0-9]+_o[0-9]+') as first_record,
    count(*) as files,
    min(source_file) as first_file,
    max(source_file) as last_file
from paths
group by regexp_extract(source_file, '_p[0-9]+_o[0-9]+')
having count(*) > 1
