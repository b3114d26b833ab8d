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
        timestamp '{{ no_load() }}'
    {%- else -%}
        {{ timestamp_literal(run_started_at - modules.datetime.timedelta(days=var('test_window_days'))) }}
    {%- endif -%}
{%- endmacro %}


{#-
    The oldest value of a timestamp column among the rows of the window, as a literal. Tests that also need rows loaded
    before the window, since these belong to the same hours or offsets, read on from there instead of whole tables.
-#}
{% macro oldest_in_test_window(column, tables) -%}
    {%- if not execute or var('test_window_days') is none -%}
        {{- return(test_window_start()) -}}
    {%- endif -%}
    {%- set oldest -%}
        select cast(min(oldest) as varchar)
        from (
            {%- for table in tables %}
            select min({{ column }}) as oldest from {{ table }} where loaded_at >= {{ test_window_start() }}
            {%- if not loop.last %} union all {% endif -%}
            {%- endfor %}
        ) as tables
    {%- endset -%}
    {%- set found = run_query(oldest).rows[0][0] -%}
    {{- return("timestamp '" ~ found ~ "'" if found else timestamp_literal(run_started_at)) -}}
{%- endmacro %}
