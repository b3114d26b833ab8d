{#
    The newest value of a timestamp column is older than `days` plus `hours`, or there is no value. Values that are a
    further month older are ignored, so that the cost stays constant. Other tests use the window of load times for this,
    but it would hide the newest value when nothing was loaded in it.
#}
{% test recency_check(model, column_name, days=none, hours=none) %}

{%- if days is none and hours is none -%}
    {{ exceptions.raise_compiler_error("recency_check on " ~ column_name ~ ": give days or hours") }}
{%- endif -%}
{%- set age = modules.datetime.timedelta(days=days or 0, hours=hours or 0) %}
{%- set searched = age + modules.datetime.timedelta(days=30) %}

with

newest as (

    select
        max({{ column_name }}) as newest_value,
        count(*) as row_count
    from {{ model }}
    where {{ column_name }} >= {{ timestamp_literal(run_started_at - searched) }}

)

select
    newest_value,
    row_count,
    case
        when row_count = 0 then 'no rows of the last {{ searched.days }} days'
        else 'the newest {{ column_name }} is older than {{ age }}'
    end as problem
from newest
where coalesce(newest_value < {{ timestamp_literal(run_started_at - age) }}, true)

{% endtest %}
