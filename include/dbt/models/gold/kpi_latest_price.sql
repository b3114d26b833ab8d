-- Dashboard tile: the latest price of each asset, and its change over 24 hours.
{{ config(materialized='view') }}

with

hours as (

    select * from {{ ref('crypto_curated') }}

),

latest as (

    select
        symbol,
        max(hour_start) as hour_start
    from hours
    group by symbol

),

day_before as (

    select
        hours.symbol,
        max_by(hours.close_price, hours.hour_start) as close_price
    from hours
    inner join latest on hours.symbol = latest.symbol
    where hours.hour_start <= latest.hour_start - interval '24' hour
    group by hours.symbol

),

final as (

    select
        hours.symbol,
        hours.name,
        hours.close_price as price,
        hours.last_quote_at,
        day_before.close_price as price_day_before,
        cast(hours.close_price - day_before.close_price as double)
        / cast(day_before.close_price as double) * 100 as change_percent_24h
    from hours
    inner join latest
        on
            hours.symbol = latest.symbol
            and hours.hour_start = latest.hour_start
    left join day_before on hours.symbol = day_before.symbol

)

select * from final
