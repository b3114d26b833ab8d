-- The path of a file has the UTC day of its first record, and a file never crosses midnight. Otherwise a run that
-- considers only recent days could miss a file.
with

records as (

    select
        source_file,
        kafka_timestamp,
        replace(regexp_extract(source_file, '[0-9]{4}/[0-9]{2}/[0-9]{2}'), '/', '-') as path_day
    from {{ ref('crypto_raw') }}
    where loaded_at >= {{ test_window_start() }}

)

select
    source_file,
    min(kafka_timestamp) as first_timestamp,
    max(kafka_timestamp) as last_timestamp
from records
where path_day <> cast(cast(kafka_timestamp as date) as varchar)
group by source_file
