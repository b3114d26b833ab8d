-- Dashboard tile: the latest price of each coin, and its change over 24 hours.
{{ config(materialized='view') }}

with

hours as (

    select * from {{ ref('crypto_curated') }}

),

latest as (

    select
        id,
        max_by(symbol, hour_start) as symbol,
        max_by(name, hour_start) as name,
        max_by(close_price, hour_start) as price,
        max(last_quote_at) as last_quote_at
    from hours
    group by id

),

day_before as (

    select
        latest.id,
        max_by(hours.close_price, hours.last_quote_at) as price,
        max(hours.last_quote_at) as quoted_at
    from latest
    inner join hours
        on
            latest.id = hours.id
            and hours.last_quote_at <= latest.last_quote_at - interval '24' hour
            and hours.last_quote_at > latest.last_quote_at - interval '26' hour
    group by latest.id

),

final as (

    select
        latest.symbol,
        latest.name,
        latest.price,
        latest.last_quote_at,
        day_before.price as price_day_before,
        day_before.quoted_at as price_day_before_at,
        cast(latest.price - day_before.price as double)
        / cast(day_before.price as double) * 100 as change_percent_24h
    from latest
    left join day_before on latest.id = day_before.id

)

select * from final
