{#-
    All SQL that differs between Athena (Trino) and DuckDB, and nothing else. The prefix `default__` is Athena's form.
-#}

{# The text of a top-level field of a JSON object in text; null if the field is absent or the text is not JSON. #}
{% macro json_text(expression, field) -%}
    {{ return(adapter.dispatch('json_text')(expression, field)) }}
{%- endmacro %}

{% macro default__json_text(expression, field) -%}
    json_extract_scalar({{ expression }}, '$.{{ field }}')
{%- endmacro %}

{% macro duckdb__json_text(expression, field) -%}
    case when json_valid({{ expression }}) then json_extract_string({{ expression }}, '$.{{ field }}') end
{%- endmacro %}


{# Like `json_text`, but null for an object or a list. #}
{% macro json_scalar(expression, field) -%}
    {{ return(adapter.dispatch('json_scalar')(expression, field)) }}
{%- endmacro %}

{% macro default__json_scalar(expression, field) -%}
    {{ json_text(expression, field) }}
{%- endmacro %}

{# DuckDB's `json_value` leaves out objects and lists, but quotes texts. #}
{% macro duckdb__json_scalar(expression, field) -%}
    case
        when json_valid({{ expression }}) and json_value({{ expression }}, '$.{{ field }}') is not null
            then json_extract_string({{ expression }}, '$.{{ field }}')
    end
{%- endmacro %}


{#
    The first `most` fields of a JSON object in text: a list of [name, JSON text of the value]. Null if the text is no
    object, or has a name twice.
#}
{% macro json_members(expression, most) -%}
    {{ return(adapter.dispatch('json_members')(expression, most)) }}
{%- endmacro %}

{% macro default__json_members(expression, most) -%}
    slice(
        try(transform(
            map_entries(cast(json_parse({{ expression }}) as map(varchar, json))),
            e -> array[e[1], coalesce(json_format(e[2]), 'null')]
        )),
        1, {{ most }}
    )
{%- endmacro %}

{% macro duckdb__json_members(expression, most) -%}
    try(list_transform(
        map_entries(cast(cast({{ expression }} as json) as map(varchar, json))),
        lambda e: [e.key, coalesce(cast(e.value as varchar), 'null')]
    ))[1:{{ most }}]
{%- endmacro %}


{# A list with each element `e` replaced by an expression of it. #}
{% macro each_element(elements, expression) -%}
    {{ return(adapter.dispatch('each_element')(elements, expression)) }}
{%- endmacro %}

{% macro default__each_element(elements, expression) -%}
    transform({{ elements }}, e -> {{ expression }})
{%- endmacro %}

{% macro duckdb__each_element(elements, expression) -%}
    list_transform({{ elements }}, lambda e: {{ expression }})
{%- endmacro %}


{# A list as JSON text. #}
{% macro json_of_array(elements) -%}
    {{ return(adapter.dispatch('json_of_array')(elements)) }}
{%- endmacro %}

{% macro default__json_of_array(elements) -%}
    json_format(cast({{ elements }} as json))
{%- endmacro %}

{% macro duckdb__json_of_array(elements) -%}
    cast(to_json({{ elements }}) as varchar)
{%- endmacro %}


{#
    The rows of a query with further columns: fields of the JSON object in column `json`, each as `json_text` returns
    it. `fields` is {column: field}. DuckDB parses the object once, not once for each field.
#}
{% macro json_fields(rows, json, fields) -%}
    {{ return(adapter.dispatch('json_fields')(rows, json, fields)) }}
{%- endmacro %}

{% macro default__json_fields(rows, json, fields) -%}
    select
        *
        {%- for column, field in fields.items() %},
        {{ json_text(json, field) }} as {{ column }}
        {%- endfor %}
    from ({{ rows }}) as documents
{%- endmacro %}

{% macro duckdb__json_fields(rows, json, fields) -%}
    select
        * exclude (texts)
        {%- for column in fields %},
        texts[{{ loop.index }}] as {{ column }}
        {%- endfor %}
    from (
        select
            *,
            try(json_extract_string({{ json }}, ['$.{{ fields.values() | join("', '$.") }}'])) as texts
        from ({{ rows }}) as documents
    ) as parsed
{%- endmacro %}


{# Text without trailing commas and blanks. #}
{% macro without_trailing_comma(expression) -%}
    {{ return(adapter.dispatch('without_trailing_comma')(expression)) }}
{%- endmacro %}

{% macro default__without_trailing_comma(expression) -%}
    trim(trailing ', ' from {{ expression }})
{%- endmacro %}

{#
    DuckDB's JSON reader leaves the commas out, so most texts have none. Trimming all of them takes a quarter of
    bronze's CPU.
#}
{% macro duckdb__without_trailing_comma(expression) -%}
    case when ends_with({{ expression }}, '}') then {{ expression }} else rtrim({{ expression }}, ', ') end
{%- endmacro %}


{#
    Text without ASCII white space at both ends. The engines' own `trim` differs: Athena's removes more, DuckDB's only
    spaces.
#}
{% macro trimmed(expression) -%}
    {{ return(adapter.dispatch('trimmed')(expression)) }}
{%- endmacro %}

{% macro default__trimmed(expression) -%}
    trim(both {{ white_space() }} from {{ expression }})
{%- endmacro %}

{# Most texts have no white space, and DuckDB's trim with a list of characters takes twice as long as one without. #}
{% macro duckdb__trimmed(expression) -%}
    case
        when ({{ expression }})[1] <= ' ' or ({{ expression }})[-1] <= ' '
            then trim(both {{ white_space() }} from {{ expression }})
        else {{ expression }}
    end
{%- endmacro %}

{% macro white_space() -%}
    ' ' || chr(9) || chr(10) || chr(11) || chr(12) || chr(13)
{%- endmacro %}


{#
    Milliseconds since 1970 to a UTC timestamp. A producer may set any number as time. One beyond what the engine can
    show becomes the nearest that it can, so that one record does not end the run.
#}
{% macro timestamp_from_ms(expression) -%}
    {{ return(adapter.dispatch('timestamp_from_ms')(expression)) }}
{%- endmacro %}

{% macro default__timestamp_from_ms(expression) -%}
    cast(from_unixtime_nanos(({{ clamped_ms(expression, 9223372036854) }}) * 1000000) at time zone 'UTC' as timestamp(6))
{%- endmacro %}

{% macro duckdb__timestamp_from_ms(expression) -%}
    cast(epoch_ms({{ clamped_ms(expression, 253402300799999) }}) as timestamp)
{%- endmacro %}

{% macro clamped_ms(expression, most) -%}
    case when {{ expression }} > {{ most }} then {{ most }} when {{ expression }} < 0 then 0 else {{ expression }} end
{%- endmacro %}


{# A UTC timestamp to milliseconds since 1970; digits after them are cut off, not rounded. #}
{% macro epoch_ms(expression) -%}
    {{ return(adapter.dispatch('epoch_ms')(expression)) }}
{%- endmacro %}

{% macro default__epoch_ms(expression) -%}
    date_diff('millisecond', timestamp '1970-01-01 00:00:00', {{ expression }})
{%- endmacro %}

{% macro duckdb__epoch_ms(expression) -%}
    epoch_ms({{ expression }})
{%- endmacro %}


{#
    ISO 8601 text with zone to a UTC timestamp; null if the text is not of that form. It reads every time that the
    consumer accepts (`last_updated` in docs/landing-contract.md; a test generates such times). The engines' own readers
    take fewer forms, and not the same ones, so this reads the local time and adds the zone's offset. Digits after the
    millisecond are cut off.
#}
{% macro timestamp_from_iso(expression) -%}
    case
        when {{ regexp_like(expression, iso_8601_pattern()) }}
            then {{ add_minutes(iso_8601_local_time(expression), iso_8601_minutes_to_utc(expression)) }}
    end
{%- endmacro %}

{# A date, one of T, t and a blank, a time of day with or without a fraction, and Z, z or an offset below 24 hours. #}
{% macro iso_8601_pattern() -%}
    {#- >>> time_pattern (make generate, from include/ingest/quote.py) -#}
^([1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])[Tt ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]+)?([Zz]|[+-]([01][0-9]|2[0-3]):?[0-5][0-9])$
    {#- <<< time_pattern -#}
{%- endmacro %}

{% macro iso_8601_local_time(expression) -%}
    try_cast(
        substr({{ expression }}, 1, 10) || ' ' || substr({{ expression }}, 12, 8)
        || coalesce(regexp_extract({{ expression }}, '[.][0-9]{1,3}'), '') as timestamp(6)
    )
{%- endmacro %}

{# The offset is at the end of the text, with or without a colon. Without an offset nothing is added. #}
{% macro iso_8601_minutes_to_utc(expression) -%}
    {%- set offset = "regexp_extract(" ~ expression ~ ", '[+-][0-9]{2}:?[0-9]{2}$')" -%}
    coalesce(
        (60 * try_cast(substr({{ offset }}, 2, 2) as integer) + try_cast(substr({{ offset }}, -2) as integer))
        * case when substr({{ offset }}, 1, 1) = '+' then -1 else 1 end,
        0
    )
{%- endmacro %}


{# Whether a part of the text matches the pattern. #}
{% macro regexp_like(expression, pattern) -%}
    {{ return(adapter.dispatch('regexp_like')(expression, pattern)) }}
{%- endmacro %}

{% macro default__regexp_like(expression, pattern) -%}
    regexp_like({{ expression }}, '{{ pattern }}')
{%- endmacro %}

{% macro duckdb__regexp_like(expression, pattern) -%}
    regexp_matches({{ expression }}, '{{ pattern }}')
{%- endmacro %}


{# A timestamp and a number of minutes later. #}
{% macro add_minutes(timestamp, minutes) -%}
    {{ return(adapter.dispatch('add_minutes')(timestamp, minutes)) }}
{%- endmacro %}

{% macro default__add_minutes(timestamp, minutes) -%}
    date_add('minute', {{ minutes }}, {{ timestamp }})
{%- endmacro %}

{% macro duckdb__add_minutes(timestamp, minutes) -%}
    {{ timestamp }} + to_minutes({{ minutes }})
{%- endmacro %}


{# Seconds from one timestamp to a later one, as a double, to the millisecond. #}
{% macro seconds_between(earlier, later) -%}
    ({{ epoch_ms(later) }} - {{ epoch_ms(earlier) }}) / 1e3
{%- endmacro %}


{# Lower-case hex md5 of a text. #}
{% macro md5_hex(expression) -%}
    {{ return(adapter.dispatch('md5_hex')(expression)) }}
{%- endmacro %}

{% macro default__md5_hex(expression) -%}
    lower(to_hex(md5(to_utf8({{ expression }}))))
{%- endmacro %}

{% macro duckdb__md5_hex(expression) -%}
    md5({{ expression }})
{%- endmacro %}


{# A Python datetime (UTC) as a timestamp literal, by which the engine can prune. #}
{% macro timestamp_literal(moment) -%}
    timestamp '{{ moment.strftime("%Y-%m-%d %H:%M:%S.%f") }}'
{%- endmacro %}


{# A configuration value for Athena only; none on DuckDB. #}
{% macro on_athena(value) -%}
    {{ return(value if target.type == 'athena' else none) }}
{%- endmacro %}


{# The texts of a group, joined in any order; null without rows. #}
{% macro joined(expression, separator) -%}
    {{ return(adapter.dispatch('joined')(expression, separator)) }}
{%- endmacro %}

{% macro default__joined(expression, separator) -%}
    array_join(array_agg({{ expression }}), {{ separator }})
{%- endmacro %}

{% macro duckdb__joined(expression, separator) -%}
    string_agg({{ expression }}, {{ separator }})
{%- endmacro %}


{# The median of a group; approximate on Athena. #}
{% macro median(expression) -%}
    {{ return(adapter.dispatch('median')(expression)) }}
{%- endmacro %}

{% macro default__median(expression) -%}
    approx_percentile({{ expression }}, 0.5)
{%- endmacro %}

{% macro duckdb__median(expression) -%}
    median({{ expression }})
{%- endmacro %}
