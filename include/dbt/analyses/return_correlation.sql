-- How the hourly returns of two assets move together.
with

hours as (

    select
        symbol,
        hour_start,
        price_change_percent
    from {{ ref('crypto_curated') }}

)

select
    one.symbol,
    other.symbol as other_symbol,
    count(*) as hours_compared,
    corr(one.price_change_percent, other.price_change_percent) as correlation
from hours as one
inner join hours as other
    on
        one.hour_start = other.hour_start
        and one.symbol < other.symbol
group by one.symbol, other.symbol
order by one.symbol, other.symbol
