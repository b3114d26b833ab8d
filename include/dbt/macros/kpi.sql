{#-
    The KPIs that a view shows to dashboards and the state object `state/kpis.json` to Pipeline Health. The view reads
    all of gold; the state's query reads its newest days only, so the SQL takes the hours as an argument. The files
    models/gold/kpi_*.yml define each KPI.
-#}

{#
    The rows of gold, each with `hourly_return`: the close against the close of the hour before, as a share. Null if the
    hour before has no quote.
#}
{% macro hourly_returns(hours) -%}
    select
        *,
        case
            when lag(hour_start) over (partition by id order by hour_start) = hour_start - interval '1' hour
                then
                    cast(close_price as double)
                    / nullif(cast(lag(close_price) over (partition by id order by hour_start) as double), 0)
                    - 1
        end as hourly_return
    from {{ hours }}
{%- endmacro %}


{# The columns of kpi_latest_price, one row for each coin, from rows of gold. #}
{% macro latest_price_kpis(hours) -%}
    with

    hours as (

        {{ hourly_returns(hours) }}

    ),

    latest as (

        select
            id,
            max_by(symbol, hour_start) as symbol,
            max_by(name, hour_start) as name,
            max_by(close_price, hour_start) as price,
            max(last_quote_at) as last_quote_at,
            max(hour_start) as last_hour,
            min(hour_start) as first_hour
        from hours
        group by id

    ),

    windows as (

        select
            latest.id,
            {{ newest_close_before("'1' hour", "'3' hour") }} as price_1h_before,
            {{ newest_close_before("'24' hour", "'26' hour") }} as price_day_before,
            max(hours.last_quote_at) filter (
                where {{ quoted_before("'24' hour", "'26' hour") }}
            ) as price_day_before_at,
            {{ newest_close_before("'168' hour", "'170' hour") }} as price_7d_before,
            {{ newest_close_before("'720' hour", "'722' hour") }} as price_30d_before,
            max(hours.high_price) filter (where {{ in_last_hours(24) }}) as high_price_24h,
            min(hours.low_price) filter (where {{ in_last_hours(24) }}) as low_price_24h,
            sum(hours.quote_count) filter (where {{ in_last_hours(24) }}) as quote_count_24h,
            max(hours.high_price) filter (where {{ in_last_hours(720) }}) as high_price_30d,
            -- the newest hour may not be over
            count(hours.hourly_return) filter (where {{ in_hours_before(168) }}) as returns_7d,
            stddev_samp(hours.hourly_return) filter (where {{ in_hours_before(168) }}) as deviation_7d
        from latest
        inner join hours on latest.id = hours.id
        group by latest.id

    )

    select
        latest.symbol,
        latest.name,
        latest.price,
        latest.last_quote_at,
        windows.price_day_before,
        windows.price_day_before_at,
        {{ percent_change('latest.price', 'windows.price_day_before') }} as change_percent_24h,
        latest.id,
        {{ percent_change('latest.price', 'windows.price_1h_before') }} as change_percent_1h,
        {{ percent_change('latest.price', 'windows.price_7d_before') }} as change_percent_7d,
        {{ percent_change('latest.price', 'windows.price_30d_before') }} as change_percent_30d,
        case when {{ has_history_before(24) }} then windows.high_price_24h end as high_price_24h,
        case when {{ has_history_before(24) }} then windows.low_price_24h end as low_price_24h,
        cast(windows.quote_count_24h as bigint) as quote_count_24h,
        case when windows.returns_7d >= 126 then windows.deviation_7d * sqrt(8760) * 100 end as volatility_percent_7d,
        case
            when {{ has_history_before(720) }} then {{ percent_change('latest.price', 'windows.high_price_30d') }}
        end as drawdown_percent_30d
    from latest
    inner join windows on latest.id = windows.id
{%- endmacro %}


{# The change from one price to a later one in percent of the first; null if the first is null or zero. #}
{% macro percent_change(later, earlier) -%}
    cast({{ later }} - {{ earlier }} as double) / nullif(cast({{ earlier }} as double), 0) * 100
{%- endmacro %}


{#- The following conditions are on a row of `hours` beside the coin's row of `latest`. -#}

{% macro quoted_before(least, most) -%}
    hours.last_quote_at <= latest.last_quote_at - interval {{ least }}
    and hours.last_quote_at > latest.last_quote_at - interval {{ most }}
{%- endmacro %}

{% macro newest_close_before(least, most) -%}
    max_by(hours.close_price, hours.last_quote_at) filter (where {{ quoted_before(least, most) }})
{%- endmacro %}

{% macro in_last_hours(count) -%}
    hours.hour_start > latest.last_hour - interval '{{ count }}' hour
{%- endmacro %}

{% macro in_hours_before(count) -%}
    hours.hour_start >= latest.last_hour - interval '{{ count }}' hour and hours.hour_start < latest.last_hour
{%- endmacro %}

{% macro has_history_before(count) -%}
    latest.first_hour <= latest.last_hour - interval '{{ count }}' hour
{%- endmacro %}


{#
    What `state/kpis.json` keeps (include/transform/kpi_query.py): for each coin its KPIs, repeated in one row for each
    of its hours with quotes among the 48 up to its newest. It reads the partitions of 35 days: the longest KPI needs 30
    days and two hours, and a coin may have been silent for some days.
#}
{% macro kpi_state() -%}
    with

    recent as (

        select * from {{ ref('crypto_curated') }}
        where hour_start >= {{ timestamp_literal(run_started_at - modules.datetime.timedelta(days=35)) }}

    ),

    kpis as (

        {{ latest_price_kpis('recent') }}

    )

    select
        kpis.*,
        {{ epoch_ms('kpis.last_quote_at') }} as last_quote_ms,
        {{ epoch_ms('recent.hour_start') }} as hour_start_ms,
        recent.close_price
    from kpis
    inner join recent
        on
            kpis.id = recent.id
            and recent.hour_start > date_trunc('hour', kpis.last_quote_at) - interval '48' hour
    order by kpis.id, recent.hour_start
{%- endmacro %}


{# The window of a coin's 30 days up to a row's day, in kpi_daily. #}
{% macro last_30_days() -%}
    partition by id order by quote_date range between interval '29' day preceding and current row
{%- endmacro %}
