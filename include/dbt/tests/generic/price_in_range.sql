{#
    A price that is not between `min_price` and `max_price` (US dollars), or text that is not a number. Without these
    arguments, the bounds are the widest that the row's coin has had (seed `assets` and its history). Null passes: not_null
    reports it.
#}
{% test price_in_range(model, column_name, min_price='assets.min_price', max_price='assets.max_price') %}

with

prices as (

    select * from {{ model }}

)

select
    prices.*,
    '{{ column_name }} ' || cast(prices.{{ column_name }} as varchar) || ' is not between '
    || cast({{ min_price }} as varchar) || ' and ' || cast({{ max_price }} as varchar) as problem
from prices
{%- if min_price == 'assets.min_price' %}
inner join (
    select
        id,
        min(min_price) as min_price,
        max(max_price) as max_price
    from ({{ recorded_versions(ref('assets')) }}) as versions
    group by id
) as assets on prices.id = assets.id
{%- endif %}
where
    prices.{{ column_name }} is not null
    and coalesce(
        try_cast(prices.{{ column_name }} as double) not between {{ min_price }} and {{ max_price }}, true
    )

{% endtest %}
