{#-
    Upkeep of the tables that grow: small files are rewritten as large ones (OPTIMIZE), old snapshots and the
    files that only they need are deleted (VACUUM). Says how many files each table had before and after.

        dbt run-operation maintain
-#}
{% macro maintain() -%}
    {%- for node in graph.nodes.values() if node.config.materialized in ['incremental', 'snapshot'] -%}
        {%- set table = adapter.get_relation(node.database, node.schema, node.alias) -%}
        {%- if table is none -%}
            {%- do log(node.alias ~ ": not built yet", info=true) -%}
        {%- else -%}
            {%- do adapter.dispatch('maintain_table')(table) -%}
        {%- endif -%}
    {%- endfor -%}
{%- endmacro %}


{% macro default__maintain_table(table) -%}
    {%- set before = data_file_count(table) -%}
    {%- do run_query("optimize " ~ table.render_pure() ~ " rewrite data using bin_pack") -%}
    {%- do run_query("vacuum " ~ table.render_pure()) -%}
    {%- do log(table.identifier ~ ": " ~ before ~ " files before, " ~ data_file_count(table) ~ " after", info=true) -%}
{%- endmacro %}


{% macro duckdb__maintain_table(table) -%}
    {%- do log(table.identifier ~ ": DuckDB looks after its own file", info=true) -%}
{%- endmacro %}


{% macro data_file_count(table) -%}
    {%- set counted = 'select count(*) from "' ~ table.schema ~ '"."' ~ table.identifier ~ '$files"' -%}
    {{ return(run_query(counted).rows[0][0]) }}
{%- endmacro %}
