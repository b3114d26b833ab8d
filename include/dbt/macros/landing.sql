{#-
    Selects the landed lines that a run has to load.

    A run loads every file that its table lacks, in whatever order files land, and its cost grows with the new files
    only. It looks at spans of Kafka's time, which is in a file's name (`landing_spans`), and leaves out the files whose
    path its table has. docs/data-quality.md has the argument that no file is skipped or loaded twice.

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
        {%- set bounded = is_incremental() or (name_start is not none and var('landing_until') is not none) -%}
        {%- set spans = landing_spans(name_start, time_column, writer_column, paced_by) if bounded else none -%}
        {{- adapter.dispatch('landed_lines')(table, folder, name_start, spans) -}}
    {%- endif -%}
{%- endmacro %}


{#
    Athena: the table is partitioned by day. A condition on "$path" with literal paths keeps files from being opened.
    With a subquery instead, each known file of the spans would be opened again and then left out.
#}
{% macro default__landed_lines(table, folder, name_start, spans) -%}
    {%- set conditions = [] -%}
    {%- if spans is not none -%}
        {%- if spans[0].start is not none -%}
            {%- do conditions.append(days_of(spans)) -%}
            {%- do conditions.append(paths_of(spans, '"$path"', folder, name_start)) -%}
        {%- endif -%}
        {%- if is_incremental() -%}
            {%- do conditions.append(not_loaded(table, folder, name_start, spans, conditions | join(" and "))) -%}
        {%- endif -%}
    {%- elif name_start is not none -%}
        {#- a rebuild puts the files of a day in place of this condition (macros/rebuild.sql) -#}
        {%- do conditions.append(every_file()) -%}
        {%- do graph.nodes[model.unique_id].update(
            {'landed': {'table': table, 'folder': folder, 'name_start': name_start}}
        ) -%}
    {%- endif -%}
    select
        line,
        "$path" as source_file
    from {{ table }}
    {%- if conditions %}
    where {{ conditions | join("\n        and ") }}
    {%- endif -%}
{%- endmacro %}


{# A condition that is true for each line. #}
{% macro every_file() -%}
    {{- return('"$path" is not null') -}}
{%- endmacro %}


{#
    A condition on "$path" that leaves out the known files of the spans. It names them while the SQL stays below
    `landing_most_bytes`. Otherwise it names the new files, as ranges without a known file between them. To find these
    the known files are named in parts, one query each, which opens the new files only. If even the ranges are too long,
    the known files are opened again.
#}
{% macro not_loaded(table, folder, name_start, spans, conditions) -%}
    {%- set known = known_files(folder, name_start, spans) -%}
    {%- set most = var('landing_most_bytes') - conditions.encode() | length -%}
    {%- if spans[0].start is none -%}
        {{- return('"$path" not in (' ~ known ~ ")") -}}
    {%- endif -%}
    {%- set paths = run_query("select distinct source_file from (" ~ known ~ ") as known order by 1").columns[0].values()
        | list -%}
    {%- set slices = path_slices(paths, most) -%}
    {%- if slices | length == 1 -%}
        {{- return(unless_empty('"$path" not in (', slices[0].paths)) -}}
    {%- endif -%}
    {%- set new_paths = [] -%}
    {%- for slice in slices -%}
        {%- set listing -%}
            select distinct "$path" from {{ table }}
            where {{ [conditions, part_of(slice, folder), unless_empty('"$path" not in (', slice.paths)] | join(" and ") }}
        {%- endset -%}
        {%- do new_paths.extend(run_query(listing).columns[0].values()) -%}
    {%- endfor -%}
    {%- set ranges = new_ranges(paths, new_paths) -%}
    {{- return(ranges if ranges.encode() | length <= most else '"$path" not in (' ~ known ~ ")") -}}
{%- endmacro %}


{% macro unless_empty(start, paths) -%}
    {{- return(start ~ "'" ~ paths | join("', '") ~ "')" if paths else "1 = 1") -}}
{%- endmacro %}


{# Sorted paths cut into parts of at most `most` bytes of SQL: `after` (none: the first part), `paths`, `last`. #}
{% macro path_slices(paths, most) -%}
    {%- set slices = [{'after': none, 'paths': [], 'last': none}] -%}
    {%- set size = namespace(bytes=0) -%}
    {%- for path in paths -%}
        {%- set bytes = path.encode() | length + 4 -%}
        {%- if size.bytes + bytes > most and slices[-1].paths -%}
            {%- do slices[-1].update({'last': slices[-1].paths[-1]}) -%}
            {%- do slices.append({'after': slices[-1].last, 'paths': [], 'last': none}) -%}
            {%- set size.bytes = 0 -%}
        {%- endif -%}
        {%- do slices[-1].paths.append(path) -%}
        {%- set size.bytes = size.bytes + bytes -%}
    {%- endfor -%}
    {{- return(slices) -}}
{%- endmacro %}


{# The paths of a slice: after the last path of the slice before it, up to its own last path. #}
{% macro part_of(slice, folder) -%}
    {%- set conditions = ["1 = 1"] -%}
    {%- if slice.after is not none -%}
        {%- do conditions.append("dt >= '" ~ slice.after[folder | length:][:10] ~ "'") -%}
        {%- do conditions.append("\"$path\" > '" ~ slice.after ~ "'") -%}
    {%- endif -%}
    {%- if slice.last is not none -%}
        {%- do conditions.append("dt <= '" ~ slice.last[folder | length:][:10] ~ "'") -%}
        {%- do conditions.append("\"$path\" <= '" ~ slice.last ~ "'") -%}
    {%- endif -%}
    {{- return(conditions | join(" and ")) -}}
{%- endmacro %}


{#
    A condition on "$path": the new paths as ranges, none of which has a known path in it. A file that lands in a range
    meanwhile is loaded too.
#}
{% macro new_ranges(known, new) -%}
    {%- set ranges = [] -%}
    {%- set state = namespace(open=false) -%}
    {%- set is_new = {} -%}
    {%- for path in known -%}{%- do is_new.update({path: false}) -%}{%- endfor -%}
    {%- for path in new -%}{%- do is_new.update({path: true}) -%}{%- endfor -%}
    {%- for path in is_new | sort -%}
        {%- if is_new[path] and state.open -%}
            {%- do ranges[-1].update({'last': path}) -%}
        {%- elif is_new[path] -%}
            {%- do ranges.append({'first': path, 'last': path}) -%}
        {%- endif -%}
        {%- set state.open = is_new[path] -%}
    {%- endfor -%}
    {%- set conditions = ["1 = 0"] -%}
    {%- for range in ranges -%}
        {%- do conditions.append("\"$path\" between '" ~ range.first ~ "' and '" ~ range.last ~ "'") -%}
    {%- endfor -%}
    {{- return("(" ~ conditions | join(" or ") ~ ")") -}}
{%- endmacro %}


{# DuckDB: list first, then read the new files by name. #}
{% macro duckdb__landed_lines(table, folder, name_start, spans) -%}
    {%- set new_files -%}
        select file
        from glob({{ day_patterns(folder, name_start, spans) }})
        {%- if spans is not none %}
        where
            {{ "file not in (" ~ known_files(folder, name_start, spans) ~ ")" if is_incremental() else "1 = 1" }}
            {%- if spans[0].start is not none %}
            and {{ paths_of(spans, 'file', folder, name_start) }}
            {%- endif %}
        {%- endif %}
        order by file
    {%- endset -%}
    {%- set files = run_query(new_files).columns[0].values() -%}
    {%- set start = spans[0].start if spans else none -%}
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
    The spans of Kafka's time that an incremental run looks at: `start` and `end` (after the last instant), UTC; none is
    open. They are the hours that the gate offers (include/transform/gate.py), or without a gate one span from
    `landing_start` on. With `landing_since`, everything from that day on, and what was offered before it; with
    `landing_until`, only what is before that day.
#}
{% macro landing_spans(name_start, time_column, writer_column, paced_by) -%}
    {%- set datetime, timedelta = modules.datetime.datetime, modules.datetime.timedelta -%}
    {%- set spans = [] -%}
    {%- if name_start is not none -%}
        {%- for range in env_var('WAREHOUSE_LANDED_HOURS', '').split() -%}
            {%- set first, last = range.split("..") -%}
            {%- do spans.append({
                'start': datetime.strptime(first, "%Y/%m/%d/%H"),
                'end': datetime.strptime(last, "%Y/%m/%d/%H") + timedelta(hours=1),
            }) -%}
        {%- endfor -%}
    {%- endif -%}
    {%- if var('landing_since') is not none -%}
        {%- set since = datetime.strptime(var('landing_since') | string, "%Y-%m-%d") -%}
        {%- set until = datetime.strptime(var('landing_until') | string, "%Y-%m-%d") if var('landing_until') else none -%}
        {{- return([{'start': [since, spans[0].start if spans else since] | min, 'end': until}]) -}}
    {%- endif -%}
    {{- return(spans or [{'start': landing_start(time_column, writer_column, paced_by), 'end': none}]) -}}
{%- endmacro %}


{#
    The UTC datetime of the first file that a run without a gate looks at; none when no row is recent enough: then the
    run looks at every file.

    On DuckDB it is the first instant of which a record can still land: names are listed without opening files. Athena
    opens the files that it lists. There it is the progress of the slowest writer, minus the lookback, except at the
    first load of a UTC day, and after a load that brought a new writer.
#}
{% macro landing_start(time_column, writer_column, paced_by) -%}
    {%- set datetime, timedelta = modules.datetime.datetime, modules.datetime.timedelta -%}
    {%- set now = run_started_at.replace(tzinfo=none) -%}
    {%- set sweep_start = now - timedelta(days=var('landing_sweep_days')) -%}
    {%- set since_sweep = time_column ~ " >= " ~ timestamp_literal(sweep_start) -%}
    {%- set slowest, last_load, new_writer = slowest_writer(this, time_column, writer_column, since_sweep) -%}
    {%- if slowest is none -%}
        {{- return(none) -}}
    {%- endif -%}
    {%- if target.type == 'duckdb' or new_writer or last_load[:10] < now.strftime("%Y-%m-%d") -%}
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


{#
    Among the rows of a condition: the newest time of the slowest writer and the last load, as texts, and whether that
    load brought a writer that no load before it had.

    A time after its load is not progress: a broker's clock was ahead, and later files have earlier times.
#}
{% macro slowest_writer(table, time_column, writer_column, condition) -%}
    {%- set progress -%}
        select
            cast(min(newest) as varchar) as slowest_writer,
            cast(max(last_load) as varchar) as last_load,
            max(first_load) = max(last_load) and min(first_load) < max(last_load) as has_new_writer
        from (
            select
                {{ writer_column }},
                max(case when {{ time_column }} <= loaded_at then {{ time_column }} else loaded_at end) as newest,
                min(loaded_at) as first_load,
                max(loaded_at) as last_load
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


{# A condition on the partition column `dt`: the days of the spans. #}
{% macro days_of(spans) -%}
    {%- set conditions = [] -%}
    {%- for span in spans -%}
        {%- do conditions.append("dt >= '" ~ span.start.strftime("%Y/%m/%d") ~ "'"
            ~ (" and dt <= '" ~ span.end.strftime("%Y/%m/%d") ~ "'" if span.end is not none else "")) -%}
    {%- endfor -%}
    {{- return("(" ~ conditions | join(" or ") ~ ")") -}}
{%- endmacro %}


{# A condition on a column of paths: those of the spans. #}
{% macro paths_of(spans, column, folder, name_start) -%}
    {%- set conditions = [] -%}
    {%- for span in spans -%}
        {%- do conditions.append(column ~ " >= '" ~ first_path(folder, name_start, span.start) ~ "'"
            ~ (" and " ~ column ~ " < '" ~ first_path(folder, name_start, span.end) ~ "'" if span.end is not none else ""))
        -%}
    {%- endfor -%}
    {{- return("(" ~ conditions | join(" or ") ~ ")") -}}
{%- endmacro %}


{#
    Paths in the table being built that lie in the spans.

    The condition on `loaded_at` lets Iceberg skip data files of older loads. It cannot skip them by path: it keeps only
    the first 16 characters of the least and the greatest text, and all paths share those. The external tables show no
    day after tomorrow, so a file is loaded at most two days before its time. The third day covers the time between a
    run's start and its query.
#}
{% macro known_files(folder, name_start, spans) -%}
    select source_file from {{ this }}
    {%- if spans[0].start is not none %} where {{ paths_of(spans, 'source_file', folder, name_start) }}
        and loaded_at >= {{ timestamp_literal(spans[0].start - modules.datetime.timedelta(days=3)) }}
    {%- endif -%}
{%- endmacro %}


{# Glob patterns, one for each day of the spans, at most until tomorrow; without a start, one pattern for all days. #}
{% macro day_patterns(folder, name_start, spans) -%}
    {%- set patterns = {} -%}
    {%- set last_day = run_started_at.replace(tzinfo=none) + modules.datetime.timedelta(days=2) -%}
    {%- for span in spans or [{'start': none}] -%}
        {%- if span.start is none -%}
            {%- do patterns.update({folder ~ "*/*/*/" ~ (name_start or "") ~ "*.json*": true}) -%}
        {%- else -%}
            {%- set end = [span.end or last_day, last_day] | min -%}
            {%- for day in range([(end - span.start).days, 0] | max + 2) -%}
                {%- set date = span.start + modules.datetime.timedelta(days=day) -%}
                {%- do patterns.update({folder ~ date.strftime("%Y/%m/%d") ~ "/" ~ (name_start or "") ~ "*.json*": true}) -%}
            {%- endfor -%}
        {%- endif -%}
    {%- endfor -%}
    ['{{ patterns | join("', '") }}']
{%- endmacro %}


{#
    A condition on the time of loading: rows that an attempt of the present run can have written (Athena ends a query
    after 30 minutes, Airflow a run after two hours). Iceberg can skip older data files.
#}
{% macro loaded_lately(column) -%}
    {{- return(column ~ " >= cast(current_timestamp at time zone 'UTC' as timestamp(6)) - interval '1' day") -}}
{%- endmacro %}
