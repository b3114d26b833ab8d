{#-
    The data-quality check of a row: the name of the first rule that the row breaks, or null.

    `rules` is an ordered list of {name, broken_when}. A rule may assume that the row passes the rules before it.

        {{ data_quality_check([
            {"name": "missing_price", "broken_when": "price is null"},
            {"name": "price_not_positive", "broken_when": "price <= 0"},
        ]) }} as broken_rule
-#}
{% macro data_quality_check(rules) -%}
    case
        {%- for rule in rules %}
        when {{ rule.broken_when }} then '{{ rule.name }}'
        {%- endfor %}
    end
{%- endmacro %}


{# True for null, the empty string and ASCII white space. #}
{% macro is_blank(expression) -%}
    coalesce({{ trimmed(expression) }}, '') = ''
{%- endmacro %}
