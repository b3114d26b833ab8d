{#-
    The content of the bucket, for the test that compares it with bronze.

    It opens files one by one, so it checks hours where other tests check days. It begins at `landed_check_start`: the
    variable `landed_check_hours` before bronze's newest record. Once a day, when the other tests check every row, the
    variable is `landed_check_daily_hours`.
-#}

{# A UTC datetime, used to the second as in paths. #}
{% macro landed_check_start(bronze) -%}
    {%- if not execute -%}
        {{- return(run_started_at.replace(tzinfo=none)) -}}
    {%- endif -%}
    {%- set newest -%}
        select cast(max(kafka_timestamp) as varchar) from {{ bronze }} where loaded_at >= {{ test_window_start() }}
    {%- endset -%}
    {%- set end = run_query(newest).rows[0][0] or run_started_at.strftime("%Y-%m-%d %H:%M:%S") -%}
    {%- set hours = var('landed_check_daily_hours' if var('test_window_days') is none else 'landed_check_hours') -%}
    {{- return(
        modules.datetime.datetime.strptime(end[:19], "%Y-%m-%d %H:%M:%S") - modules.datetime.timedelta(hours=hours)
    ) -}}
{%- endmacro %}


{# The folder of data files. #}
{% macro landed_data_folder() -%}
    {{- return(landing_folder(env_var('S3_DATA_PREFIX', 'crypto_data/'))) -}}
{%- endmacro %}


{# The first path to check, as a literal. #}
{% macro landed_check_path(start) -%}
    '{{ first_path(landed_data_folder(), 'crypto_data_', start) }}'
{%- endmacro %}


{# Landed data files with records and their number: `source_file`, `record_count`. #}
{% macro landed_record_counts(table, start) -%}
    {{ return(adapter.dispatch('landed_record_counts')(table, start)) }}
{%- endmacro %}

{% macro default__landed_record_counts(table, start) -%}
    select
        "$path" as source_file,
        count(*) as record_count
    from {{ table }}
    where
        dt >= '{{ start.strftime("%Y/%m/%d") }}'
        and "$path" >= {{ landed_check_path(start) }}
        and substr(line, 1, 1) = '{'
    group by "$path"
{%- endmacro %}

{% macro duckdb__landed_record_counts(table, start) -%}
    {%- set to_check -%}
        select file
        from glob({{ day_patterns(landed_data_folder(), 'crypto_data_', [{'start': start, 'end': none}]) }})
        where file >= {{ landed_check_path(start) }}
    {%- endset -%}
    {%- set paths = run_query(to_check).columns[0].values() if execute else [] -%}
    {%- if paths -%}
        select
            filename as source_file,
            count(*) as record_count
        from read_json_objects(['{{ paths | join("', '") }}'], format = 'auto', filename = true)
        group by filename
    {%- else -%}
        select
            cast(null as varchar) as source_file,
            cast(null as bigint) as record_count
        where 1 = 0
    {%- endif -%}
{%- endmacro %}
