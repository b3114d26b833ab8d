{#-
    Upkeep of the tables that grow: small files are rewritten as large ones (OPTIMIZE), old snapshots and the
    files that only they need are deleted (VACUUM). Says how many files each table had before and after, and their size.

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
    {%- set before = data_files(table) -%}
    {#- Athena ends both after a part of a large table, with an error that asks for more runs: the adapter makes them -#}
    {%- do adapter.run_operation_with_potential_multiple_runs(
        "optimize " ~ table.render_pure() ~ " rewrite data using bin_pack", "optimize"
    ) -%}
    {%- do adapter.run_operation_with_potential_multiple_runs("vacuum " ~ table.render_pure(), "vacuum") -%}
    {%- do log(table.identifier ~ ": " ~ before ~ " before, " ~ data_files(table) ~ " after", info=true) -%}
{%- endmacro %}


{% macro duckdb__maintain_table(table) -%}
    {%- do log(table.identifier ~ ": DuckDB looks after its own file", info=true) -%}
{%- endmacro %}


{% macro data_files(table) -%}
    {%- set counted = run_query(
        'select count(*), coalesce(sum(file_size_in_bytes), 0) from "' ~ table.schema ~ '"."' ~ table.identifier ~ '$files"'
    ).rows[0] -%}
    {{- return(counted[0] ~ " files of " ~ (counted[1] / 1024) | round | int ~ " KiB") -}}
{%- endmacro %}
