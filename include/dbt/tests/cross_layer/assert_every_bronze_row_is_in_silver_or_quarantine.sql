-- Nothing is lost or doubled on the way from bronze to silver: each row is in exactly one of
-- crypto_stage and crypto_quarantine, and those two hold nothing else. Of the loads that crypto_quarantine, the last of
-- them, has taken: a run may be under way. If bronze has none of these it is being built anew, and nothing is judged.
{{ config(meta={'owner': 'market_data'}) }}
{%- set taken = read_watermark(ref('crypto_quarantine')) if execute else unix_epoch() %}

with

bronze as (

    select record_id from {{ ref('crypto_raw') }}
    where
        loaded_at >= {{ test_window_start() }}
        and loaded_at <= timestamp '{{ taken }}'

),

records as (

    select
        record_id,
        1 as in_bronze,
        0 as in_silver,
        0 as in_quarantine
    from bronze

    union all

    select
        record_id,
        0 as in_bronze,
        1 as in_silver,
        0 as in_quarantine
    from {{ ref('crypto_stage') }}
    where
        loaded_at >= {{ test_window_start() }}
        and loaded_at <= timestamp '{{ taken }}'
        and exists (select 1 from bronze)

    union all

    select
        record_id,
        0 as in_bronze,
        0 as in_silver,
        1 as in_quarantine
    from {{ ref('crypto_quarantine') }}
    where
        loaded_at >= {{ test_window_start() }}
        and loaded_at <= timestamp '{{ taken }}'
        and exists (select 1 from bronze)

)

select
    record_id,
    sum(in_bronze) as in_bronze,
    sum(in_silver) as in_silver,
    sum(in_quarantine) as in_quarantine
from records
group by record_id
having
    sum(in_bronze) <> 1
    or sum(in_silver) + sum(in_quarantine) <> 1
