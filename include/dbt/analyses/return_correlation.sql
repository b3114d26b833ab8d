-- Correlation of the hourly returns of each pair of coins.
with

hours as (

    select
        symbol,
        hour_start,
        price_change_percent
    from {{ ref('crypto_curated') }}

)

select
    base.symbol,
    other.symbol as other_symbol,
    count(*) as hours_compared,
    corr(base.price_change_percent, other.price_change_percent) as correlation
from hours as base
inner join hours as other
    on
        base.hour_start = other.hour_start
        and base.symbol < other.symbol
group by base.symbol, other.symbol
order by base.symbol, other.symbol
