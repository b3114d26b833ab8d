{#-
    Logs sample rows of the tables of failed tests, for the mail (include/transform/failing_rows.py). Each table has one
    log line: JSON with `table` and `rows`, a list of {column: text}.
-#}
{% macro failing_rows(tables, max_rows) -%}
    {%- for table in tables -%}
        {%- set sample = run_query("select * from " ~ table ~ " limit " ~ max_rows) -%}
        {%- set rows = [] -%}
        {%- for row in sample.rows -%}
            {%- set texts = {} -%}
            {%- for column in sample.column_names -%}
                {%- do texts.update({column: none if row[column] is none else row[column] | string}) -%}
            {%- endfor -%}
            {%- do rows.append(texts) -%}
        {%- endfor -%}
        {%- do log("failing rows: " ~ tojson({"table": table, "rows": rows}), info=true) -%}
    {%- endfor -%}
{%- endmacro %}
