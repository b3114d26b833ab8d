-- An hour with much fewer quotes (variable low_volume_share) than the median of the same hour of the
-- days before it; needs three such days. The newest hour is not over yet and is left out.
{{ config(severity='warn') }}
{%- set oldest = oldest_in_test_window('hour_start', [ref('crypto_curated')]) %}

with

curated as (

    select * from {{ ref('crypto_curated') }}
    where hour_start >= {{ oldest }} - interval '14' day

),

hours as (

    select
        *,
        extract(hour from hour_start) as hour_of_day
    from curated
    where hour_start < (select max(hour_start) from curated)

),

recent as (

    select * from hours
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
    inner join hours as earlier
        on
            recent.symbol = earlier.symbol
            and recent.hour_of_day = earlier.hour_of_day
            and earlier.hour_start < recent.hour_start
            and earlier.hour_start >= recent.hour_start - interval '14' day
    group by recent.symbol, recent.hour_start, recent.quote_count

)

select * from compared
where
    days_before >= 3
    and quote_count < {{ var('low_volume_share') }} * usual_count
