{#
    Rows and newest quote of a layer's main model, for the layer state that monitor and
    status screen read (include/transform/layer_query.py).
#}
{% macro layer_count(model) -%}
    {%- set newest_quote = {
        'crypto_raw': timestamp_from_iso('last_updated'),
        'crypto_stage': 'last_updated',
        'crypto_curated': 'last_quote_at',
    }[model] -%}
    select
        count(*) as row_count,
        {{ epoch_ms('max(' ~ newest_quote ~ ')') }} as newest_quote_ms
    from {{ ref(model) }}
{%- endmacro %}
