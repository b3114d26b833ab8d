{#-
    Data tests check the rows of a window, so that their cost stays constant. In a test's `where`, `__window_start__` is
    replaced by the start of the window (variable `test_window_days`; null: no window). This overrides dbt's own macro
    of the same name. A model may lack the column of the `where`, as views of KPIs lack `loaded_at`. Its tests then look
    at all its rows.
-#}
{% macro get_where_subquery(relation) -%}
    {%- set where = config.get('where') -%}
    {%- if where and not ('__window_start__' in where and lacks_column(model.attached_node, where.split()[0])) -%}
        (select * from {{ relation }} where {{ where | replace('__window_start__', test_window_start()) }}) as dbt_subquery
    {%- else -%}
        {{ relation }}
    {%- endif -%}
{%- endmacro %}


{#- Whether the description of a tested model names its columns and not this one among them. -#}
{% macro lacks_column(node_id, column) -%}
    {%- set columns = graph.nodes[node_id].columns if execute and node_id in graph.nodes else {} -%}
    {{- return(columns | length > 0 and column not in columns) -}}
{%- endmacro %}


{% macro test_window_start() -%}
    {%- if var('test_window_days') is none -%}
        timestamp '{{ unix_epoch() }}'
    {%- else -%}
        {{ timestamp_literal(run_started_at - modules.datetime.timedelta(days=var('test_window_days'))) }}
    {%- endif -%}
{%- endmacro %}


{#-
    The oldest value of a timestamp column among the rows of the window, as a literal. Some tests also need rows that
    were loaded before the window but belong to the same hours or offsets. They read from this value on, not whole
    tables.
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
    {%- set value = run_query(oldest).rows[0][0] -%}
    {{- return("timestamp '" ~ value ~ "'" if value else timestamp_literal(run_started_at)) -}}
{%- endmacro %}
