{#-
    Maintains the tables that grow. OPTIMIZE rewrites small files as large ones; VACUUM deletes old snapshots and the
    files that only they need. The log shows the number and size of each table's files before and after.

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
    {#- On a large table Athena ends both early, with an error that asks for more runs; the adapter makes these. -#}
    {%- do adapter.run_operation_with_potential_multiple_runs(
        "optimize " ~ table.render_pure() ~ " rewrite data using bin_pack", "optimize"
    ) -%}
    {%- do adapter.run_operation_with_potential_multiple_runs("vacuum " ~ table.render_pure(), "vacuum") -%}
    {%- do log(table.identifier ~ ": " ~ before ~ " before, " ~ data_files(table) ~ " after", info=true) -%}
{%- endmacro %}


{% macro duckdb__maintain_table(table) -%}
    {%- do log(table.identifier ~ ": DuckDB maintains its own file", info=true) -%}
{%- endmacro %}


{% macro data_files(table) -%}
    {%- set totals = run_query(
        'select count(*), coalesce(sum(file_size_in_bytes), 0) from "' ~ table.schema ~ '"."' ~ table.identifier ~ '$files"'
    ).rows[0] -%}
    {{- return(totals[0] ~ " files of " ~ (totals[1] / 1024) | round | int ~ " KiB") -}}
{%- endmacro %}
