{#-
    The fields of bronze's new records, for the condition `schema_drift` (include/transform/schema_drift.py), and the
    fields that silver takes out of `record`.

    Two variables name the fields beyond the contract of the message. `promoted_fields` are columns of silver.
    `known_fields` are kept in bronze only. Every other field is drift.
-#}

{#
    JSON text: the known fields with their JSON type, and one entry for each set of field names and types in the records
    loaded after `since` (a UTC text; none: those of the last day). An entry is a list of texts: the set (a JSON list of
    `type:name`), the number of its records, the place of the first one, and the values of that one (a JSON list of
    [name, JSON text]). The number of records of all sets and the newest load follow. Every part is bounded.
#}
{% macro record_fields(records, since=none) -%}
    {%- set after = "timestamp '" ~ since ~ "'" if since else timestamp_literal(run_started_at - modules.datetime.timedelta(days=1)) -%}
    {%- set place = "lpad(cast(" ~ epoch_ms('kafka_timestamp') ~ " as varchar), 15, '0') || '/' || "
        ~ "lpad(cast(kafka_partition as varchar), 10, '0') || '/' || lpad(cast(kafka_offset as varchar), 19, '0')" -%}
    '{"known": {{ tojson(known_field_types()) | replace("'", "''") }}, "sets": ' || coalesce((
        select {{ json_of_array('array_agg(entry)') }}
        from (
            select
                array[
                    field_set, cast(count(*) as varchar), min(place), min_by(examples, place),
                    cast(sum(count(*)) over () as varchar), cast(max(max(loaded_at)) over () as varchar)
                ] as entry
            from (
                select
                    place,
                    loaded_at,
                    {{ json_of_array("array_sort(" ~ each_element('members', json_type_of('e[2]') ~ " || ':' || substr(e[1], 1, 100)") ~ ")") }}
                        as field_set,
                    {{ json_of_array(each_element('members', 'array[substr(e[1], 1, 100), substr(e[2], 1, 40)]')) }} as examples
                from (
                    select
                        {{ place }} as place,
                        loaded_at,
                        {{ json_members('record', 100) }} as members
                    from {{ records }}
                    where loaded_at > {{ after }}
                    limit {{ var('drift_most_records') }}
                ) as new_records
            ) as described
            group by field_set
            order by count(*) desc, field_set
            limit 50
        ) as entries
    ), '[]') || '}'
{%- endmacro %}


{# The JSON type of a value from its JSON text. #}
{% macro json_type_of(text) -%}
    case substr({{ text }}, 1, 1) when '"' then 'string' when '{' then 'object' when '[' then 'array' when 't' then 'boolean' when 'f' then 'boolean' when 'n' then 'null' else 'number' end
{%- endmacro %}


{# Field -> JSON type (`any`: each) of the variables `promoted_fields` and `known_fields`. #}
{% macro known_field_types() -%}
    {%- set types = {} -%}
    {%- do types.update(var('known_fields') or {}) -%}
    {%- for field, type in promoted_fields().items() -%}
        {%- do types.update({field: promotable_types()[type.split('(')[0]]}) -%}
    {%- endfor -%}
    {{- return(types) -}}
{%- endmacro %}


{# SQL type of a promoted field -> the JSON type of its values. #}
{% macro promotable_types() -%}
    {{- return({
        'varchar': 'string', 'timestamp': 'string', 'boolean': 'boolean',
        'bigint': 'number', 'double': 'number', 'decimal': 'number',
    }) -}}
{%- endmacro %}


{# The variable `promoted_fields`, checked: field -> SQL type. #}
{% macro promoted_fields() -%}
    {%- set fields = var('promoted_fields') or {} -%}
    {%- for field, type in fields.items() -%}
        {%- if not modules.re.fullmatch('[a-z][a-z0-9_]*', field) or field in ['id', 'symbol', 'name', 'price', 'last_updated', 'delay_seconds', 'quote_id', 'record_id', 'record', 'broken_rule', 'source_file', 'loaded_at'] or field.startswith('kafka_') -%}
            {%- do exceptions.raise_compiler_error(
                "promoted_fields: " ~ field ~ " cannot be a column: take a name of lower-case letters, digits and _ that silver "
                ~ "does not have"
            ) -%}
        {%- endif -%}
        {%- if type.split('(')[0] not in promotable_types() -%}
            {%- do exceptions.raise_compiler_error(
                "promoted_fields: " ~ field ~ " has the type " ~ type ~ "; take one of " ~ promotable_types() | join(', ')
            ) -%}
        {%- endif -%}
    {%- endfor -%}
    {{- return(fields) -}}
{%- endmacro %}


{#
    The value of a promoted field in `record`; null if it is absent or not of the type. The engines' own casts of text
    differ: DuckDB rounds 1.5 to a whole number, and they take different words as booleans.
#}
{% macro promoted_value(field, type) -%}
    {%- set text = json_scalar('record', field) -%}
    {%- if type == 'timestamp' -%}
        {{- timestamp_from_iso(text) -}}
    {%- elif type == 'boolean' -%}
        case {{ text }} when 'true' then true when 'false' then false end
    {%- elif type == 'bigint' -%}
        case when {{ regexp_like(text, '^-?[0-9]+$') }} then try_cast({{ text }} as bigint) end
    {%- else -%}
        try_cast({{ text }} as {{ type }})
    {%- endif -%}
{%- endmacro %}
