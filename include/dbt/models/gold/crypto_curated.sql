-- The price of each coin by hour: open, high, low, close and how the price moved.
-- A run computes again the hours that got new quotes, however old they are, and the hours of `target_date`. After silver
-- was rebuilt, it computes every hour again and deletes the hours that silver does not have any more.
{{
    config(
        materialized='incremental',
        incremental_strategy='merge',
        unique_key=['id', 'hour_start'],
        partitioned_by=on_athena(['month(hour_start)']),
        on_schema_change='fail',
        pre_hook=[
            {'sql': '{{ reset_watermark() }}', 'transaction': false},
            {'sql': '{{ delete_hours_without_quotes(ref("crypto_stage")) }}', 'transaction': false},
        ],
        post_hook='{{ write_watermark() }}',
    )
}}

with

quotes as (

    select
        *,
        date_trunc('hour', last_updated) as hour_start
    from {{ ref('crypto_stage') }}

),

touched_hours as (

    select distinct
        id,
        hour_start
    from quotes
    {%- set loads = new_loads(ref('crypto_stage'), may_be_rebuilt=true) %}
    {%- if is_incremental() %}
    where
        {{ loads }}
        {%- if var('target_date') is not none %}
        or (
            last_updated >= timestamp '{{ var("target_date") }} 00:00:00'
            and last_updated < timestamp '{{ var("target_date") }} 00:00:00' + interval '1' day
        )
        {%- endif %}
    {%- endif %}

),

spaced as (

    select
        quotes.*,
        lag(quotes.last_updated) over (
            partition by quotes.id, quotes.hour_start
            order by quotes.last_updated
        ) as previous_updated
    from quotes
    inner join touched_hours
        on
            quotes.id = touched_hours.id
            and quotes.hour_start = touched_hours.hour_start

),

hourly as (

    select
        id,
        hour_start,
        max_by(symbol, last_updated) as symbol,
        max_by(name, last_updated) as name,
        min_by(price, last_updated) as open_price,
        max(price) as high_price,
        min(price) as low_price,
        max_by(price, last_updated) as close_price,
        avg(cast(price as double)) as average_price,
        stddev_samp(cast(price as double)) as price_deviation,
        count(*) as quote_count,
        min(last_updated) as first_quote_at,
        max(last_updated) as last_quote_at,
        max({{ seconds_between('previous_updated', 'last_updated') }}) as longest_silence_seconds,
        avg(delay_seconds) as average_delay_seconds,
        max(loaded_at) as loaded_at
    from spaced
    group by id, hour_start

),

final as (

    select
        {{ surrogate_key(['id', epoch_ms('hour_start')]) }} as quote_hour_id,
        cast(id as bigint) as id,
        cast(symbol as varchar) as symbol,
        cast(name as varchar) as name,
        cast(hour_start as timestamp(6)) as hour_start,
        cast(open_price as decimal(18, 8)) as open_price,
        cast(high_price as decimal(18, 8)) as high_price,
        cast(low_price as decimal(18, 8)) as low_price,
        cast(close_price as decimal(18, 8)) as close_price,
        average_price,
        cast(close_price - open_price as decimal(18, 8)) as price_change,
        cast(close_price - open_price as double) / cast(open_price as double) * 100 as price_change_percent,
        price_deviation / average_price * 100 as volatility_percent,
        cast(quote_count as bigint) as quote_count,
        cast(first_quote_at as timestamp(6)) as first_quote_at,
        cast(last_quote_at as timestamp(6)) as last_quote_at,
        longest_silence_seconds,
        average_delay_seconds,
        cast(loaded_at as timestamp(6)) as loaded_at
    from hourly

)

select * from final
