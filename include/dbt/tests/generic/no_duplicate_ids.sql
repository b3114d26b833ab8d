{#
    Ids that occur more than once. `columns` make the id. With `time_column` and `window_hours`, only the rows of that
    number of hours before the newest are compared.
#}
{% test no_duplicate_ids(model, columns, time_column=none, window_hours=none) %}

with

records as (

    select * from {{ model }}

),

window_rows as (

    select * from records
    {% if time_column and window_hours -%}
    where {{ time_column }} >= (select max({{ time_column }}) from records) - interval '{{ window_hours }}' hour
    {%- endif -%}

)

select
    {{ columns | join(', ') }},
    count(*) as occurrences,
    '{{ columns | join(", ") }}: the same id more than once' as problem
from window_rows
group by {{ columns | join(', ') }}
having count(*) > 1

{% endtest %}
