{#-
    The newest value of a timestamp column of the table being built, as a literal, so that the engine
    can prune by it. Use inside `{% if is_incremental() %}`. On an empty table: 1970.
-#}
{% macro newest_loaded(column='loaded_at') -%}
    {%- if execute -%}
        {%- set found = run_query("select cast(max(" ~ column ~ ") as varchar) from " ~ this).rows[0][0] -%}
    {%- endif -%}
    timestamp '{{ found or "1970-01-01 00:00:00" }}'
{%- endmacro %}
