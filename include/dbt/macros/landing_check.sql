{#-
    What lies in the bucket, for tests of bronze that do not rely on what bronze has read.

    Athena opens a file even to tell its path, so these tests look at hours where the others look at days: from
    `landed_check_start` on, so many hours before bronze's newest record (variable `landed_check_hours`; where the
    others look at everything, which is once a day, `landed_check_daily_hours`).
-#}

{# A UTC datetime; paths carry it to the second. #}
{% macro landed_check_start(bronze) -%}
    {%- if not execute -%}
        {{- return(run_started_at.replace(tzinfo=none)) -}}
    {%- endif -%}
    {%- set newest -%}
        select cast(max(kafka_timestamp) as varchar) from {{ bronze }} where loaded_at >= {{ test_window_start() }}
    {%- endset -%}
    {%- set found = run_query(newest).rows[0][0] or run_started_at.strftime("%Y-%m-%d %H:%M:%S") -%}
    {%- set hours = var('landed_check_daily_hours' if var('test_window_days') is none else 'landed_check_hours') -%}
    {{- return(
        modules.datetime.datetime.strptime(found[:19], "%Y-%m-%d %H:%M:%S") - modules.datetime.timedelta(hours=hours)
    ) -}}
{%- endmacro %}


{# Folder of the data files. #}
{% macro landed_data_folder() -%}
    {{- return(landing_folder(env_var('S3_DATA_PREFIX', 'crypto_data/'))) -}}
{%- endmacro %}


{# The first path looked at, as a literal. #}
{% macro landed_check_path(start) -%}
    '{{ first_path(landed_data_folder(), 'crypto_data_', start) }}'
{%- endmacro %}


{# Paths of landed data files: `source_file`. #}
{% macro landed_paths(table, start) -%}
    {{ return(adapter.dispatch('landed_paths')(table, start)) }}
{%- endmacro %}

{% macro default__landed_paths(table, start) -%}
    select distinct "$path" as source_file
    from {{ table }}
    where {{ landed_files_looked_at(start) }}
{%- endmacro %}

{% macro duckdb__landed_paths(table, start) -%}
    select file as source_file
    from glob({{ day_patterns(landed_data_folder(), 'crypto_data_', start) }})
    where file >= {{ landed_check_path(start) }}
{%- endmacro %}

{% macro landed_files_looked_at(start) -%}
    dt >= '{{ start.strftime("%Y/%m/%d") }}' and "$path" >= {{ landed_check_path(start) }}
{%- endmacro %}


{# Landed data files that hold records, with how many: `source_file`, `record_count`. #}
{% macro landed_record_counts(table, start) -%}
    {{ return(adapter.dispatch('landed_record_counts')(table, start)) }}
{%- endmacro %}

{% macro default__landed_record_counts(table, start) -%}
    select
        "$path" as source_file,
        count(*) as record_count
    from {{ table }}
    where
        {{ landed_files_looked_at(start) }}
        and substr(line, 1, 1) = '{'
    group by "$path"
{%- endmacro %}

{% macro duckdb__landed_record_counts(table, start) -%}
    {%- set paths = run_query(landed_paths(table, start)).columns[0].values() if execute else [] -%}
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
