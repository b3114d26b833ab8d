-- Finds symbols whose last quotes (variable frozen_price_quotes) all have the same price: the source is stuck.
{{ config(severity='warn') }}

with

quotes as (

    select
        id,
        symbol,
        last_updated,
        price,
        row_number() over (partition by id order by last_updated desc) as age
    from {{ ref('crypto_stage') }}
    where loaded_at >= {{ test_window_start() }}

)

select
    max_by(symbol, last_updated) as symbol,
    max(price) as price,
    min(last_updated) as frozen_since
from quotes
where age <= {{ var('frozen_price_quotes') }}
group by id
having
    count(*) = {{ var('frozen_price_quotes') }}
    and min(price) = max(price)
