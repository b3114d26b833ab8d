{#-
    The schema of a model: `<database>_<layer>`, the same on every target. SQL written on the laptop therefore runs on
    Athena, and permissions can be granted by layer (`BiReaderPolicy` of include/aws/template.yaml leaves out bronze).
    This overrides dbt's own macro of the same name.
-#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {%- if custom_schema_name is none -%}
        {{ target.schema }}
    {%- else -%}
        {{ target.schema }}_{{ custom_schema_name | trim }}
    {%- endif -%}
{%- endmacro %}
