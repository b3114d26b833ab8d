{#-
    Builds a seed, a snapshot or a view only if something changed. crypto_transform names the unchanged nodes in the
    environment variable WAREHOUSE_UNCHANGED (include/transform/companions.py). A node that the warehouse lacks is built
    in any case. A dbt command without the variable builds everything.
-#}
{% macro build_if_changed(materialize) -%}
    {%- set existing = load_cached_relation(this) -%}
    {%- if existing is none or model.name not in env_var('WAREHOUSE_UNCHANGED', '').split() -%}
        {{- return(materialize()) -}}
    {%- endif -%}
    {%- if model.resource_type == 'seed' -%}  {#- dbt reads this result of each seed -#}
        {%- do store_result('agate_table', response='OK', agate_table=load_agate_table()) -%}
    {%- endif -%}
    {%- call noop_statement('main', 'unchanged') -%}{%- endcall -%}
    {{- return({'relations': [existing]}) -}}
{%- endmacro %}


{% materialization seed, default %}
    {{- return(build_if_changed(dbt.materialization_seed_default)) -}}
{% endmaterialization %}


{% materialization snapshot, adapter='duckdb' %}
    {{- return(build_if_changed(dbt.materialization_snapshot_default)) -}}
{% endmaterialization %}


{% materialization snapshot, adapter='athena' %}
    {{- return(build_if_changed(dbt.materialization_snapshot_athena)) -}}
{% endmaterialization %}


{% materialization view, adapter='duckdb' %}
    {{- return(build_if_changed(dbt.materialization_view_default)) -}}
{% endmaterialization %}


{% materialization view, adapter='athena' %}
    {{- return(build_if_changed(dbt.materialization_view_athena)) -}}
{% endmaterialization %}
