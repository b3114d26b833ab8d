{#-
    Where a model lives: schema `<database>_<layer>`, the same on every target, so that SQL written
    on the laptop runs on Athena, and rights can be given layer by layer (policy `BiReaderPolicy` of
    include/aws/template.yaml leaves out bronze).
    Overrides dbt's own macro of this name.
-#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {%- if custom_schema_name is none -%}
        {{ target.schema }}
    {%- else -%}
        {{ target.schema }}_{{ custom_schema_name | trim }}
    {%- endif -%}
{%- endmacro %}
