-- Finds hours in which a symbol has much fewer quotes (variable low_volume_share) than the median of the same hour of
-- earlier days, or no quote. The test needs three such days. It ignores hours in which no symbol has a quote: then
-- nothing ran, and the monitor alerts. It also ignores the hours before a symbol's first quote, and the newest hour,
-- which is not complete. From a symbol's newest hour on, only hours that are three hours old count: quotes may be late.
{{ config(severity='warn') }}
{%- set oldest = oldest_in_test_window('hour_start', [ref('crypto_curated')]) %}

with

curated as (

    select * from {{ ref('crypto_curated') }}
    where hour_start >= {{ oldest }} - interval '14' day

),

hours as (

    select
        hour_start,
        extract(hour from hour_start) as hour_of_day,
        max(loaded_at) as loaded_at
    from curated
    where hour_start < (select max(hour_start) from curated)
    group by hour_start

),

coins as (

    select
        id,
        max_by(symbol, hour_start) as symbol,
        min(hour_start) as first_hour,
        max(hour_start) as newest_hour,
        max(max(hour_start)) over () as newest_of_any
    from curated
    group by id

),

counts as (

    select
        coins.id,
        coins.symbol,
        hours.hour_start,
        hours.hour_of_day,
        hours.loaded_at,
        coalesce(curated.quote_count, 0) as quote_count
    from hours
    inner join coins
        on
            hours.hour_start >= coins.first_hour
            and (
                hours.hour_start < coins.newest_hour
                or hours.hour_start <= coins.newest_of_any - interval '3' hour
            )
    left join curated
        on
            coins.id = curated.id
            and hours.hour_start = curated.hour_start

),

recent as (

    select * from counts
    where loaded_at >= {{ test_window_start() }}

),

compared as (

    select
        recent.symbol,
        recent.hour_start,
        recent.quote_count,
        count(*) as days_before,
        {{ median('earlier.quote_count') }} as usual_count
    from recent
    inner join counts as earlier
        on
            recent.id = earlier.id
            and recent.hour_of_day = earlier.hour_of_day
            and earlier.hour_start < recent.hour_start
            and earlier.hour_start >= recent.hour_start - interval '14' day
    group by recent.id, recent.symbol, recent.hour_start, recent.quote_count

)

select * from compared
where
    days_before >= 3
    and quote_count < {{ var('low_volume_share') }} * usual_count
