{#-
    Some rows of the tables in which failed tests keep what they found, one log line a table: JSON with `table`
    and `rows` (a list of {column: text}). For the mail of a failed test; see include/transform/failing_rows.py.
-#}
{% macro failing_rows(tables, most) -%}
    {%- for table in tables -%}
        {%- set found = run_query("select * from " ~ table ~ " limit " ~ most) -%}
        {%- set rows = [] -%}
        {%- for row in found.rows -%}
            {%- set texts = {} -%}
            {%- for column in found.column_names -%}
                {%- do texts.update({column: none if row[column] is none else row[column] | string}) -%}
            {%- endfor -%}
            {%- do rows.append(texts) -%}
        {%- endfor -%}
        {%- do log("failing rows: " ~ tojson({"table": table, "rows": rows}), info=true) -%}
    {%- endfor -%}
{%- endmacro %}
