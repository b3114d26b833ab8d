{# Text that is missing, empty or only white space. #}
{% test not_empty_string(model, column_name) %}

select
    *,
    '{{ column_name }} is empty' as problem
from {{ model }}
where {{ is_blank('cast(' ~ column_name ~ ' as varchar)') }}

{% endtest %}
