{# Rows for which an SQL condition is false or unknown. #}
{% test holds(model, condition) %}

select
    *,
    '{{ condition | replace("'", "''") }} does not hold' as problem
from {{ model }}
where not coalesce({{ condition }}, false)

{% endtest %}
