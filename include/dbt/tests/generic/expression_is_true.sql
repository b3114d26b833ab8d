{# Rows for which an SQL expression is false or unknown. #}
{% test expression_is_true(model, expression) %}

select
    *,
    '{{ expression | replace("'", "''") }} is not true' as problem
from {{ model }}
where not coalesce({{ expression }}, false)

{% endtest %}
