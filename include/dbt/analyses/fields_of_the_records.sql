-- Fields that a producer sends besides the five of the contract, and their first record. Bronze keeps them in `record`.
select
    {{ json_text('record', '_topic') }} as kafka_topic,
    case when {{ json_text('record', 'volume_24h') }} is null then 'without' else 'with' end as volume_24h,
    min(kafka_timestamp) as first_seen_at,
    max(kafka_timestamp) as last_seen_at,
    count(*) as record_count
from {{ ref('crypto_raw') }}
group by 1, 2
order by 1, 2
