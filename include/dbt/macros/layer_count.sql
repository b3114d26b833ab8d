{#
    Rows and newest quote of a layer's main model, for the layer state that monitor and status screen read
    (include/transform/layer_query.py). In bronze the time of a quote is unchecked text, so the time of its arrival in
    Kafka is taken instead.
#}
{% macro layer_count(model) -%}
    {%- set newest_quote = {
        'crypto_raw': 'kafka_timestamp',
        'crypto_stage': 'last_updated',
        'crypto_curated': 'last_quote_at',
    }[model] -%}
    select
        count(*) as row_count,
        {{ epoch_ms('max(' ~ newest_quote ~ ')') }} as newest_quote_ms
    from {{ ref(model) }}
{%- endmacro %}
