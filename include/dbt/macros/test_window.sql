{#-
    Data tests look at a window, so that their cost stays flat: in a test's `where`,
    `__window_start__` stands for the start of the window (variable `test_window_days`; null: no window).
    Overrides dbt's own macro of this name.
-#}
{% macro get_where_subquery(relation) -%}
    {%- set where = config.get('where') -%}
    {%- if where -%}
        (select * from {{ relation }} where {{ where | replace('__window_start__', test_window_start()) }}) as dbt_subquery
    {%- else -%}
        {{ relation }}
    {%- endif -%}
{%- endmacro %}


{% macro test_window_start() -%}
    {%- if var('test_window_days') is none -%}
        timestamp '1970-01-01 00:00:00'
    {%- else -%}
        {{ timestamp_literal(run_started_at - modules.datetime.timedelta(days=var('test_window_days'))) }}
    {%- endif -%}
{%- endmacro %}
