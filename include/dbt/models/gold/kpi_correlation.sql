-- Dashboard heat map: how the prices of each pair of coins move together.
{{ config(materialized='view') }}

with

returns as (

    {{ hourly_returns(ref('crypto_curated')) }}

),

newest as (

    select
        id,
        hour_start,
        hourly_return,
        max_by(symbol, hour_start) over (partition by id) as last_symbol,
        max(hour_start) over () as last_hour
    from returns

),

hours as (

    select * from newest
    where
        hour_start >= last_hour - interval '720' hour
        -- the newest hour may not be over
        and hour_start < last_hour

),

pairs as (

    select
        base.id,
        other.id as other_id,
        max(base.last_symbol) as symbol,
        max(other.last_symbol) as other_symbol,
        count(*) as hours_compared,
        stddev_samp(base.hourly_return) * stddev_samp(other.hourly_return) as deviations,
        corr(base.hourly_return, other.hourly_return) as correlation
    from hours as base
    inner join hours as other
        on
            base.hour_start = other.hour_start
            and base.id < other.id
            and base.hourly_return is not null
            and other.hourly_return is not null
    group by base.id, other.id

),

final as (

    select
        id,
        other_id,
        symbol,
        other_symbol,
        cast(hours_compared as bigint) as hours_compared,
        -- a price that does not move has no correlation
        case when hours_compared >= 168 and deviations > 0 then correlation end as return_correlation_30d
    from pairs

)

select * from final
