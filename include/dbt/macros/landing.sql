{#-
    Selects the landed lines that a run has to load.

    A run must load every file that its table lacks, in whatever order files land, and its cost must grow with the new
    files only. It therefore lists the files whose time, which is in their name, is not before `landing_start()`. Then
    it leaves out the files whose path is in the table already.

    `landed_lines` selects (line, source_file) from an external table of lines:

        {{ landed_lines(source('landing', 'crypto_raw_data'), 'crypto_data/', 'crypto_data_') }}

    `name_start` is the beginning of file names, before their time; none if the names have no time. The table being
    built has the columns `source_file` and `loaded_at`, a time column, and a column that identifies the writer. Each
    writer writes in order. An empty bucket is not an error: the run selects no rows and logs a warning.

    `landed_records` does the same for the objects of the consumer. It selects one row for each record, with its place
    in Kafka and, as text, the named `fields` of the record.

    `paced_by` is for a table with too few rows to show the progress of each writer. It names a table of the same
    writers that is built before and has a row of each batch.
-#}
{% macro landed_records(table, prefix, name_start, fields, paced_by=none) -%}
    {%- set coordinates = ['kafka_topic', 'kafka_partition', 'kafka_offset'] -%}
    {%- set records -%}
        {#- the brackets of the array are on lines of their own #}
        select
            {{ without_trailing_comma('line') }} as record,
            source_file
        from ({{ landed_lines(table, prefix, name_start, paced_by=paced_by) }}) as lines
        where substr(line, 1, 1) = '{'
    {%- endset -%}
    {%- set lifted = {'topic': '_topic', 'partition_text': '_partition', 'offset_text': '_offset', 'ms_text': '_timestamp'} -%}
    {%- for field in fields -%}
        {%- do lifted.update({field: field}) -%}
    {%- endfor -%}
    select
        {{ surrogate_key(coordinates) }} as record_id,
        *,
        {{ timestamp_literal(run_started_at) }} as loaded_at
    from (
        select
            topic as kafka_topic,
            cast(partition_text as integer) as kafka_partition,
            cast(offset_text as bigint) as kafka_offset,
            {{ timestamp_from_ms('cast(ms_text as bigint)') }} as kafka_timestamp,
            {%- for field in fields %}
            {{ field }},
            {%- endfor %}
            record,
            source_file
        from ({{ json_fields(records, 'record', lifted) }}) as read_records
    ) as placed
{%- endmacro %}


{% macro landed_lines(
    table, prefix, name_start=none, time_column='kafka_timestamp', writer_column='kafka_partition', paced_by=none
) -%}
    {%- if not execute or table.is_cte -%}
        select line, source_file from {{ table }}
    {%- else -%}
        {%- set folder = landing_folder(prefix) -%}
        {%- set start = landing_start(time_column, writer_column, paced_by) if is_incremental() else none -%}
        {%- set known = known_files(folder, name_start, start) if is_incremental() else none -%}
        {{- adapter.dispatch('landed_lines')(table, folder, name_start, start, known) -}}
    {%- endif -%}
{%- endmacro %}


{#
    Athena: the table is partitioned by day. A condition on "$path" with literal paths keeps files from being opened.
    With a subquery instead, each file of the last hours would be opened again and then left out.
#}
{% macro default__landed_lines(table, folder, name_start, start, known) -%}
    {%- set conditions = [] -%}
    {%- if start is not none -%}
        {%- do conditions.append("dt >= '" ~ start.strftime("%Y/%m/%d") ~ "'") -%}
        {%- do conditions.append('"$path" >= \'' ~ first_path(folder, name_start, start) ~ "'") -%}
        {#-
            The condition on `loaded_at` lets Iceberg skip data files of older loads. It cannot skip them by path: it
            keeps only the first 16 characters of the least and the greatest text, and all paths share those. The
            external tables show no day after tomorrow, so a file is loaded at most two days before `start`. The third
            day covers the time between a run's start and its query.
        -#}
        {%- set known = known ~ " and loaded_at >= "
            ~ timestamp_literal(start - modules.datetime.timedelta(days=3)) -%}
        {%- set paths = run_query("select distinct source_file from (" ~ known ~ ") as known").columns[0].values() -%}
        {%- if paths | length > var('landing_most_paths') -%}
            {%- do conditions.append('"$path" not in (' ~ known ~ ")") -%}
        {%- elif paths -%}
            {%- do conditions.append('"$path" not in (\'' ~ paths | join("', '") ~ "')") -%}
        {%- endif -%}
    {%- elif known is not none -%}
        {%- do conditions.append('"$path" not in (' ~ known ~ ")") -%}
    {%- endif -%}
    select
        line,
        "$path" as source_file
    from {{ table }}
    {%- if conditions %}
    where {{ conditions | join("\n        and ") }}
    {%- endif -%}
{%- endmacro %}


{# DuckDB: list first, then read the new files by name. #}
{% macro duckdb__landed_lines(table, folder, name_start, start, known) -%}
    {%- set new_files -%}
        select file
        from glob({{ day_patterns(folder, name_start, start) }})
        {%- if known is not none %}
        where
            file not in ({{ known }})
            {%- if start is not none %}
            and file >= '{{ first_path(folder, name_start, start) }}'
            {%- endif %}
        {%- endif %}
        order by file
    {%- endset -%}
    {%- set files = run_query(new_files).columns[0].values() -%}
    {%- do log(this.identifier ~ ": " ~ (files | length) ~ " new files under " ~ folder
        ~ (" since " ~ start if start is not none else ""), info=true) -%}
    {%- if files | length == 0 -%}
        {%- if start is none -%}
            {%- do log("WARNING " ~ this.identifier ~ ": nothing has landed under " ~ folder ~ " yet", info=true) -%}
        {%- endif -%}
        select
            cast(null as varchar) as line,
            cast(null as varchar) as source_file
        where 1 = 0
    {%- else -%}
        {#- Returns each record as it is in its file, with a third of the CPU that read_csv takes for a small file. #}
        select
            cast(json as varchar) as line,
            filename as source_file
        from read_json_objects(['{{ files | join("', '") }}'], format = 'auto', filename = true)
    {%- endif -%}
{%- endmacro %}


{#
    The UTC datetime of the first file that an incremental run considers; none when no row is recent enough: then
    the run considers every file.
#}
{% macro landing_start(time_column, writer_column, paced_by) -%}
    {%- set datetime, timedelta = modules.datetime.datetime, modules.datetime.timedelta -%}
    {%- if var('landing_since') is not none -%}
        {{- return(datetime.strptime(var('landing_since') | string, "%Y-%m-%d")) -}}
    {%- endif -%}
    {%- set now = run_started_at.replace(tzinfo=none) -%}
    {%- set sweep_start = now - timedelta(days=var('landing_sweep_days')) -%}
    {%- set since_sweep = time_column ~ " >= " ~ timestamp_literal(sweep_start) -%}
    {%- set slowest, last_load = slowest_writer(this, time_column, writer_column, since_sweep) -%}
    {%- if slowest is none -%}
        {{- return(none) -}}
    {%- endif -%}
    {%- if last_load[:10] < now.strftime("%Y-%m-%d") -%}
        {#- the first load of a day also finds files of new partitions -#}
        {{- return(sweep_start) -}}
    {%- endif -%}
    {%- if paced_by is not none -%}
        {#- the progress of the writers when this table last got rows: a slow writer may have caught up since then -#}
        {%- set paced = slowest_writer(
            paced_by, time_column, writer_column, since_sweep ~ " and loaded_at <= timestamp '" ~ last_load ~ "'"
        )[0] -%}
        {%- set slowest = [slowest, paced or slowest] | min -%}
    {%- endif -%}
    {{- return(
        datetime.strptime(slowest[:19], "%Y-%m-%d %H:%M:%S") - timedelta(hours=var('landing_lookback_hours'))
    ) -}}
{%- endmacro %}


{# Among the rows of a condition, as texts: the newest time of the slowest writer, and the last load. #}
{% macro slowest_writer(table, time_column, writer_column, condition) -%}
    {%- set progress -%}
        select
            cast(min(newest) as varchar) as slowest_writer,
            cast(max(loaded) as varchar) as last_load
        from (
            select
                {{ writer_column }},
                max({{ time_column }}) as newest,
                max(loaded_at) as loaded
            from {{ table }}
            where {{ condition }}
            group by {{ writer_column }}
        ) as writers
    {%- endset -%}
    {{- return(run_query(progress).rows[0].values()) -}}
{%- endmacro %}


{# Address of a folder in the bucket. #}
{% macro landing_folder(prefix) -%}
    {{- return("s3://" ~ env_var('S3_BUCKET', 'gaurav-hudi-data') ~ "/" ~ prefix) -}}
{%- endmacro %}


{% macro first_path(folder, name_start, start) -%}
    {{ folder }}{{ start.strftime("%Y/%m/%d") }}/
    {%- if name_start %}{{ name_start }}{{ start.strftime("%H-%M-%S") }}{% endif -%}
{%- endmacro %}


{# Paths in the table being built; with a start, only those that the run may consider. #}
{% macro known_files(folder, name_start, start) -%}
    select source_file from {{ this }}
    {%- if start is not none %} where source_file >= '{{ first_path(folder, name_start, start) }}'{% endif -%}
{%- endmacro %}


{# Glob patterns, one for each day from the start to tomorrow; without a start, one pattern for all days. #}
{% macro day_patterns(folder, name_start, start) -%}
    {%- set patterns = [] -%}
    {%- if start is none -%}
        {%- do patterns.append(folder ~ "*/*/*/" ~ (name_start or "") ~ "*.json*") -%}
    {%- else -%}
        {%- set today = run_started_at.replace(tzinfo=none) -%}
        {%- for day in range((today - start).days + 3) -%}
            {%- set date = start + modules.datetime.timedelta(days=day) -%}
            {%- do patterns.append(folder ~ date.strftime("%Y/%m/%d") ~ "/" ~ (name_start or "") ~ "*.json*") -%}
        {%- endfor -%}
    {%- endif -%}
    ['{{ patterns | join("', '") }}']
{%- endmacro %}
