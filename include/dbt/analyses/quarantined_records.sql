-- The newest refused records of each rule.
select
    broken_rule,
    kafka_timestamp,
    kafka_partition,
    kafka_offset,
    record
from (
    select
        *,
        row_number() over (partition by broken_rule order by kafka_timestamp desc) as age
    from {{ ref('crypto_quarantine') }}
) as refused
where age <= 5
order by broken_rule asc, kafka_timestamp desc
