-- Dashboard chart: one candle for each coin and UTC day.
{{ config(materialized='view') }}

with

hours as (

    select
        *,
        cast(hour_start as date) as quote_date
    from {{ ref('crypto_curated') }}

),

daily as (

    select
        symbol,
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
    group by symbol, quote_date

),

final as (

    select
        symbol,
        quote_date,
        name,
        open_price,
        high_price,
        low_price,
        close_price,
        average_price,
        cast(close_price - open_price as double) / cast(open_price as double) * 100 as return_percent,
        cast(high_price - low_price as double) / cast(open_price as double) * 100 as range_percent,
        quote_count,
        hours_with_quotes
    from daily

)

select * from final
