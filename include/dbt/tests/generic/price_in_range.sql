{#
    A price outside [min_price, max_price], in US dollars, or text that is no number.
    Null passes: that is not_null's business.
#}
{% test price_in_range(model, column_name, min_price, max_price) %}

select
    *,
    '{{ column_name }} ' || cast({{ column_name }} as varchar)
    || ' is not between {{ min_price }} and {{ max_price }}' as problem
from {{ model }}
where
    {{ column_name }} is not null
    and coalesce(try_cast({{ column_name }} as double) not between {{ min_price }} and {{ max_price }}, true)

{% endtest %}
