-- Dashboard chart: one candle for each coin and UTC day.
{{ config(materialized='view') }}

with

hours as (

    select
        *,
        cast(hour_start as date) as quote_date
    from {{ ref('crypto_curated') }}

),

coins as (

    select
        id,
        -- all days of a coin have its last symbol, so that a chart of a coin is complete
        max_by(symbol, hour_start) as symbol
    from hours
    group by id

),

daily as (

    select
        id,
        quote_date,
        max_by(name, hour_start) as name,
        min_by(open_price, hour_start) as open_price,
        max(high_price) as high_price,
        min(low_price) as low_price,
        max_by(close_price, hour_start) as close_price,
        sum(average_price * quote_count) / sum(quote_count) as average_price,
        cast(sum(quote_count) as bigint) as quote_count,
        cast(count(*) as bigint) as hours_with_quotes
    from hours
    group by id, quote_date

),

final as (

    select
        coins.symbol,
        daily.quote_date,
        daily.name,
        daily.open_price,
        daily.high_price,
        daily.low_price,
        daily.close_price,
        daily.average_price,
        cast(daily.close_price - daily.open_price as double) / cast(daily.open_price as double) * 100 as return_percent,
        cast(daily.high_price - daily.low_price as double) / cast(daily.open_price as double) * 100 as range_percent,
        daily.quote_count,
        daily.hours_with_quotes
    from daily
    inner join coins on daily.id = coins.id

)

select * from final
