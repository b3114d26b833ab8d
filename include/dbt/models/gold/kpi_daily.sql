-- Dashboard chart: one candle for each coin and UTC day, with returns, volatility and drawdown up to that day.
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
        cast(count(*) as bigint) as hours_with_quotes,
        max(last_quote_at) as last_quote_at
    from hours
    group by id, quote_date

),

dated as (

    select
        *,
        quote_date < max(quote_date) over () as is_over,
        last_quote_at >= cast(quote_date as timestamp) + interval '22' hour as has_close
    from daily

),

compared as (

    select
        dated.*,
        day_before.close_price as previous_close_price,
        {{ percent_change('dated.close_price', 'day_before.close_price') }} as close_return_percent,
        dated.is_over and dated.has_close as is_settled,
        {{ percent_change('dated.close_price', 'week_before.close_price') }} as return_percent_7d,
        {{ percent_change('dated.close_price', 'month_before.close_price') }} as return_percent_30d
    from dated
    {%- for before, days in {'day_before': 1, 'week_before': 7, 'month_before': 30}.items() %}
    left join dated as {{ before }}
        on
            dated.id = {{ before }}.id
            and dated.quote_date - interval '{{ days }}' day = {{ before }}.quote_date
            and {{ before }}.has_close
    {%- endfor %}

),

rolled as (

    select
        *,
        min(quote_date) over (partition by id) as first_date,
        max(high_price) over ({{ last_30_days() }}) as high_price_30d,
        count(case when is_settled then close_return_percent end) over ({{ last_30_days() }}) as returns_30d,
        stddev_samp(case when is_settled then close_return_percent end) over ({{ last_30_days() }}) as deviation_30d
    from compared

),

final as (

    select
        coins.symbol,
        rolled.quote_date,
        rolled.name,
        rolled.open_price,
        rolled.high_price,
        rolled.low_price,
        rolled.close_price,
        rolled.average_price,
        {{ percent_change('rolled.close_price', 'rolled.open_price') }} as return_percent,
        cast(rolled.high_price - rolled.low_price as double) / cast(rolled.open_price as double) * 100 as range_percent,
        rolled.quote_count,
        rolled.hours_with_quotes,
        rolled.id,
        rolled.hours_with_quotes < 24 or not rolled.is_over as is_partial_day,
        rolled.previous_close_price,
        rolled.close_return_percent,
        rolled.return_percent_7d,
        rolled.return_percent_30d,
        case when rolled.returns_30d >= 23 then rolled.deviation_30d * sqrt(365) end as volatility_percent_30d,
        case
            when rolled.first_date <= rolled.quote_date - interval '30' day
                then {{ percent_change('rolled.close_price', 'rolled.high_price_30d') }}
        end as drawdown_percent_30d
    from rolled
    inner join coins on rolled.id = coins.id

)

select * from final
