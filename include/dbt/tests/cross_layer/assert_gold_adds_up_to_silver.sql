-- Each hour of crypto_curated counts exactly the quotes of crypto_stage in that hour, and has their highest and lowest
-- price. When every row is checked, a run may be in progress: then only loads that crypto_curated has are checked. If
-- silver has no such load, it was rebuilt, and nothing is checked.
{{ config(meta={'owner': 'analytics'}) }}
{%- set beside_a_run = var('test_window_days') is none %}
{%- set oldest = oldest_in_test_window('last_updated', [ref('crypto_stage')]) %}

with

quotes as (

    select
        *,
        date_trunc('hour', last_updated) as hour_start
    from {{ ref('crypto_stage') }}
    where
        last_updated >= date_trunc('hour', {{ oldest }})
        {%- if beside_a_run %}
        and loaded_at <= (select max(loaded_at) from {{ ref('crypto_curated') }})
        {%- endif %}

),

touched_hours as (

    select distinct
        id,
        hour_start
    from quotes
    where loaded_at >= {{ test_window_start() }}

),

silver as (

    select
        quotes.id,
        quotes.hour_start,
        count(*) as quote_count,
        max(quotes.price) as high_price,
        min(quotes.price) as low_price
    from quotes
    inner join touched_hours
        on
            quotes.id = touched_hours.id
            and quotes.hour_start = touched_hours.hour_start
    group by quotes.id, quotes.hour_start

),

gold as (

    select * from {{ ref('crypto_curated') }}
    where
        loaded_at >= {{ test_window_start() }}
        {%- if beside_a_run %}
        and exists (select 1 from quotes)
        {%- endif %}

)

select
    coalesce(silver.id, gold.id) as id,
    coalesce(silver.hour_start, gold.hour_start) as hour_start,
    silver.quote_count as silver_count,
    gold.quote_count as gold_count
from silver
full outer join gold
    on
        silver.id = gold.id
        and silver.hour_start = gold.hour_start
where
    coalesce(silver.quote_count, 0) <> coalesce(gold.quote_count, 0)
    or silver.high_price <> gold.high_price
    or silver.low_price <> gold.low_price
