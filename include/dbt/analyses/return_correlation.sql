-- Correlation of the hourly returns of each pair of coins.
with

hours as (

    select
        id,
        symbol,
        hour_start,
        price_change_percent
    from {{ ref('crypto_curated') }}

)

select
    max_by(base.symbol, base.hour_start) as symbol,
    max_by(other.symbol, other.hour_start) as other_symbol,
    count(*) as hours_compared,
    corr(base.price_change_percent, other.price_change_percent) as correlation
from hours as base
inner join hours as other
    on
        base.hour_start = other.hour_start
        and base.id < other.id
group by base.id, other.id
order by base.id, other.id
