{#
    Rows and newest quote of a layer's main model, for the layer state that monitor and status screen read
    (include/transform/layer_query.py). In bronze the time of a quote is unchecked text, so the time of its arrival in
    Kafka is taken instead. Silver also counts the rows that the last day's runs accepted, and those that a business rule
    refused, and lists these by day and rule. A duplicate is no refusal: a quote that is sent twice is normal.

    Bronze also lists the fields of the records loaded after `looked_until` (macros/record_fields.sql). The last columns
    are for the latency (macros/latency.sql). `since` is the last load that was measured before, and `counts_from` the
    Kafka time from which on records count. All three are texts of UTC timestamps.
#}
{% macro layer_count(model, since=none, counts_from=none, looked_until=none) -%}
    {%- set newest_quote = {
        'crypto_raw': 'kafka_timestamp',
        'crypto_stage': 'last_updated',
        'crypto_curated': 'last_quote_at',
    }[model] -%}
    select
        count(*) as row_count,
        {{ epoch_ms('max(' ~ newest_quote ~ ')') }} as newest_quote_ms,
        {{ recent_rows(ref('crypto_stage')) if model == 'crypto_stage' else 'cast(null as bigint)' }} as accepted_rows,
        {{ recent_rows(ref('crypto_quarantine'), "broken_rule <> 'duplicate'") if model == 'crypto_stage' else 'cast(null as bigint)' }}
            as quarantined_rows,
        {{ refused_by_rule() if model == 'crypto_stage' else 'cast(null as varchar)' }} as quarantined_by_rule,
        {{ record_fields(ref('crypto_raw'), looked_until) if model == 'crypto_raw' else 'cast(null as varchar)' }} as record_fields,
        cast(max(loaded_at) as varchar) as last_load,
        {{ has_load(model, since) }} as has_measured_load,
        {{ arrivals(model, since, counts_from) }} as arrivals
    from {{ ref(model) }}
{%- endmacro %}


{# Number of rows that the last day's runs loaded; null for a table that was never built. #}
{% macro recent_rows(table, condition='true') -%}
    {%- if not execute or load_relation(table) is none -%}
        cast(null as bigint)
    {%- else -%}
        (
            select count(*) from {{ table }}
            where
                loaded_at >= {{ timestamp_literal(run_started_at - modules.datetime.timedelta(days=1)) }}
                and {{ condition }}
        )
    {%- endif -%}
{%- endmacro %}


{#
    Text: a line for each day and rule of the last seven days' runs, `2026-11-30 price_in_range 3`; null without a row or
    table.
#}
{% macro refused_by_rule() -%}
    {%- if not execute or load_relation(ref('crypto_quarantine')) is none -%}
        cast(null as varchar)
    {%- else -%}
        (
            select {{ joined("refused_on || ' ' || broken_rule || ' ' || cast(refused as varchar)", 'chr(10)') }}
            from (
                select cast(cast(loaded_at as date) as varchar) as refused_on, broken_rule, count(*) as refused
                from {{ ref('crypto_quarantine') }}
                where
                    loaded_at >= {{ timestamp_literal(run_started_at - modules.datetime.timedelta(days=7)) }}
                    and broken_rule <> 'duplicate'
                group by 1, 2
            ) as refused_rows
        )
    {%- endif -%}
{%- endmacro %}
