{#-
    Overrides dbt-athena's macro, which drops a seed's table and creates it again on each run; its readers fail
    meanwhile. The table is made again only if the file or the types of its columns changed since. A view of one row
    (`<seed>_seeded`) has their checksum. It is written after the table, so a run that dies makes the table again.
-#}
{% macro athena__reset_csv_table(model, full_refresh, old_relation, agate_table) -%}
    {%- set checksum = local_md5(model.checksum.checksum ~ config.get('column_types') | string) -%}
    {%- set identifier = model.alias ~ '_seeded' -%}
    {%- set known = adapter.get_relation(database=model.database, schema=model.schema, identifier=identifier) -%}
    {%- if known is not none and run_query("select checksum from " ~ known).rows[0][0] == checksum -%}
        {{- return("select 1") -}}
    {%- endif -%}
    {%- set sql = default__reset_csv_table(model, full_refresh, old_relation, agate_table) -%}
    {%- set view = api.Relation.create(
        database=model.database, schema=model.schema, identifier=identifier, type='view'
    ) -%}
    {%- do run_query("create or replace view " ~ view ~ " as select '" ~ checksum ~ "' as checksum") -%}
    {{- return(sql) -}}
{%- endmacro %}
