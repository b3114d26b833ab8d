{#-
    Athena: a full refresh of an incremental model builds a table beside the old one. Readers see the old table until
    the last step, which changes one entry in Glue. dbt-athena would drop the old table first.

    The SQL of a model that reads landed files (macros/landing.sql) says so in `landed`. Such a table is loaded day by
    day, each day with the MERGE of an ordinary run. The new table is itself the mark of how far the load is, so a
    rebuild that ended goes on there. Its name has a digest of the model's SQL: another SQL starts again.
    docs/data-quality.md, "Loading bronze again", has the argument that no file is left out or loaded twice.

    DuckDB needs none of this: there dbt rebuilds a table in one transaction.
-#}
{% materialization incremental, adapter='athena' %}
    {%- if not should_full_refresh() or load_relation(this) is none -%}
        {{- return(dbt.materialization_incremental_athena()) -}}
    {%- endif -%}
    {%- set landed = graph.nodes[model.unique_id].get('landed') -%}
    {%- set beside = table_beside() -%}
    {%- do drop_rebuilds(none if landed is none else beside) -%}
    {%- if landed is none -%}
        {%- do safe_create_table_as(False, beside, model.compiled_code) -%}
    {%- else -%}
        {%- do load_by_day(beside, landed) -%}
    {%- endif -%}

    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}
    {%- do replace_table(beside) -%}
    {%- call noop_statement('main', 'OK') -%}{%- endcall -%}
    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {{ run_hooks(post_hooks, inside_transaction=False) }}

    {%- set target_relation = this.incorporate(type='table') -%}
    {%- do persist_docs(target_relation, model) -%}
    {%- do adapter.expire_glue_table_versions(target_relation, 1, False) -%}
    {{- return({'relations': [target_relation]}) -}}
{% endmaterialization %}


{# The relation of the new table. The time of the load is in each run's SQL and does not count. #}
{% macro table_beside() -%}
    {%- set sql = model.compiled_code | replace(timestamp_literal(run_started_at), '') -%}
    {{- return(api.Relation.create(
        database=this.database, schema=this.schema, identifier=this.identifier ~ '__rebuild_' ~ local_md5(sql)[:8],
        s3_path_table_part=this.identifier, type='table'
    )) -}}
{%- endmacro %}


{#
    Drop what earlier rebuilds of this table left, but not `kept`. A rebuild that ended between the change of the entry
    and the removal of its own has the data of the present table.
#}
{% macro drop_rebuilds(kept) -%}
    {%- set location = adapter.get_glue_table_location(this) -%}
    {%- for table in adapter.list_relations_without_caching(this) -%}
        {%- if table.identifier.startswith(this.identifier ~ '__rebuild_') -%}
            {%- if adapter.get_glue_table_location(table) == location -%}
                {%- do adapter.delete_from_glue_catalog(table) -%}
            {%- elif kept is none or table.identifier != kept.identifier -%}
                {%- do drop_relation_glue(table) -%}
            {%- endif -%}
        {%- endif -%}
    {%- endfor -%}
{%- endmacro %}


{#
    Load the landed files into `beside`, in the order of their paths. A span before the newest path was loaded by an
    earlier attempt, unless files could still land in it when that attempt began. Where a span may have been loaded in
    part, the known files are left out. The MERGE guards against the query of a killed attempt that still runs.
#}
{% macro load_by_day(beside, landed) -%}
    {%- set datetime, folder, name_start = modules.datetime.datetime, landed.folder, landed.name_start -%}
    {%- if adapter.get_glue_table(beside) is none -%}
        {%- do run_query(create_table_as(
            False, beside, "select * from (\n" ~ model.compiled_code ~ "\n) as no_file where 1 = 0"
        )) -%}
    {%- endif -%}
    {%- set first_load, newest = run_query(
        "select cast(min(loaded_at) as varchar), max(source_file) from " ~ beside
    ).rows[0].values() -%}
    {%- set begun = datetime.strptime(first_load[:19], "%Y-%m-%d %H:%M:%S") if first_load
        else run_started_at.replace(tzinfo=none) -%}
    {%- set complete_until = begun - modules.datetime.timedelta(days=var('landing_sweep_days')) -%}
    {%- set spans = rebuild_spans(landed) -%}
    {%- for span in spans -%}
        {%- set start, end = first_path(folder, name_start, span.start), first_path(folder, name_start, span.end) -%}
        {%- if newest is none or end > newest or span.end > complete_until -%}
            {%- do end_after_hours(12) -%}
            {%- do log(rebuild_progress(loop.index0, loop.length, span.start), info=true) -%}
            {%- set known = ' and "$path" not in (select source_file from ' ~ beside ~ ")"
                if newest is not none and start <= newest else "" -%}
            {%- do merge_files(beside, files_of(span, folder, name_start) ~ known) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- do log(rebuild_progress(spans | length, spans | length, spans[-1].end), info=true) -%}
{%- endmacro %}


{#
    End a rebuild before rows of its first queries are too old for `loaded_lately`, by which the next attempt recognises
    the rows of a query that still runs. Airflow ends a run earlier.
#}
{% macro end_after_hours(most) -%}
    {%- if modules.datetime.datetime.now(modules.pytz.utc) - run_started_at > modules.datetime.timedelta(hours=most) -%}
        {%- do exceptions.raise_compiler_error(
            this.identifier ~ " is kept: the rebuild has run for " ~ most ~ " hours. Run it again with --full-refresh, and it "
            ~ "goes on"
        ) -%}
    {%- endif -%}
{%- endmacro %}


{# A line of the log; include/on_airflow/rebuild_progress.py reads it. #}
{% macro rebuild_progress(done, of, day) -%}
    {{- return(this.identifier ~ ": rebuild, " ~ done ~ " of " ~ of ~ " queries done, files until "
        ~ day.strftime("%Y-%m-%d %H:%M:%S")) -}}
{%- endmacro %}


{# A condition on the external table: the files of a span, without listing the day after it. #}
{% macro files_of(span, folder, name_start) -%}
    {%- set last = span.end - modules.datetime.timedelta(seconds=1) -%}
    {{- return(days_of([{'start': span.start, 'end': last}]) ~ " and " ~ paths_of([span], '"$path"', folder, name_start)) -}}
{%- endmacro %}


{# One query: the rows of the files of a condition that `beside` lacks. #}
{% macro merge_files(beside, condition) -%}
    {%- set rows = "(\n" ~ model.compiled_code | replace(every_file(), condition) ~ "\n)" -%}
    {%- do iceberg_merge(
        on_schema_change='ignore', tmp_relation=rows, target_relation=beside, existing_relation=beside,
        unique_key=config.get('unique_key'), incremental_predicates=config.get('incremental_predicates'),
        update_condition=config.get('update_condition'), delete_condition=none, insert_condition=none, force_batch=false
    ) -%}
{%- endmacro %}


{#
    What each query of a rebuild reads, as spans of Kafka's time, from the first day of the external table until
    tomorrow. A day of which the old table has rows is a query of its own, or several, if it has more than
    `rebuild_most_records` rows. Other days have no files as a rule, so up to `rebuild_most_days` of them share a query.
#}
{% macro rebuild_spans(landed) -%}
    {%- set day, rows, spans = modules.datetime.timedelta(days=1), rows_by_day(landed.folder), [] -%}
    {%- set range_of_days = adapter.get_glue_table(landed.table).Table.Parameters['projection.dt.range'] -%}
    {%- set first = modules.datetime.datetime.strptime(range_of_days.split(",")[0], "%Y/%m/%d") -%}
    {%- for n in range((run_started_at.replace(tzinfo=none) - first).days + 2) -%}
        {%- set start = first + n * day -%}
        {%- set known = rows.get(start.strftime("%Y/%m/%d")) -%}
        {%- if known -%}
            {%- set parts = [(known / var('rebuild_most_records')) | round(0, 'ceil') | int, 24] | min -%}
            {%- for part in range(parts) -%}
                {%- do spans.append({'start': start + part * day / parts, 'end': start + (part + 1) * day / parts}) -%}
            {%- endfor -%}
        {%- elif spans and spans[-1].others and spans[-1].others < var('rebuild_most_days') -%}
            {%- do spans[-1].update({'end': start + day, 'others': spans[-1].others + 1}) -%}
        {%- else -%}
            {%- do spans.append({'start': start, 'end': start + day, 'others': 1}) -%}
        {%- endif -%}
    {%- endfor -%}
    {{- return(spans) -}}
{%- endmacro %}


{# Number of rows in the present table for each day of its files, by the path: {'2026/11/23': 259200}. #}
{% macro rows_by_day(folder) -%}
    {%- set counts -%}
        select substr(source_file, {{ folder | length + 1 }}, 10), count(*)
        from {{ this }}
        where substr(source_file, 1, {{ folder | length }}) = '{{ folder }}'
        group by 1
    {%- endset -%}
    {%- set rows = {} -%}
    {%- for row in run_query(counts).rows -%}
        {%- do rows.update({row[0]: row[1] | int}) -%}
    {%- endfor -%}
    {{- return(rows) -}}
{%- endmacro %}


{#
    Let the present table be `beside`: one call of Glue gives its entry the other's metadata, so no query finds the
    table missing or half full. Then delete the old data.
#}
{% macro replace_table(beside) -%}
    {%- set old = adapter.get_glue_table_location(this) -%}
    {%- set before, after = row_count(this), row_count(beside) -%}
    {%- do adapter.swap_table(beside, this) -%}
    {%- do adapter.delete_from_glue_catalog(beside) -%}
    {%- do adapter.delete_from_s3(old) -%}
    {%- do log(this.identifier ~ ": " ~ after ~ " rows have replaced " ~ before, info=true) -%}
{%- endmacro %}


{# Rows of an Iceberg table by its metadata. #}
{% macro row_count(table) -%}
    {{- return(run_query(
        'select coalesce(sum(record_count), 0) from "' ~ table.schema ~ '"."' ~ table.identifier ~ '$files"'
    ).rows[0][0]) -}}
{%- endmacro %}
