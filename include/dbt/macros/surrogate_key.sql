{#-
    A text key made of several columns: the md5, in lower-case hex, of the values joined by `|`. Null and the empty
    string differ. Pass timestamps through `epoch_ms()`, since their text differs between the engines.
-#}
{% macro surrogate_key(expressions) -%}
    {%- set parts = [] -%}
    {%- for expression in expressions -%}
        {%- do parts.append("coalesce(cast(" ~ expression ~ " as varchar), '<null>')") -%}
    {%- endfor -%}
    {{ md5_hex(parts | join(" || '|' || ")) }}
{%- endmacro %}
