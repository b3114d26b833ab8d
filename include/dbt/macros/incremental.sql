{#-
    The newest value of a timestamp column of the table being built, as a literal, so that the engine
    can prune by it. Use inside `{% if is_incremental() %}`. On an empty table: 1970.
-#}
{% macro newest_loaded(column='loaded_at') -%}
    {%- if execute -%}
        {%- set found = run_query("select cast(max(" ~ column ~ ") as varchar) from " ~ this).rows[0][0] -%}
    {%- endif -%}
    timestamp '{{ found or no_load() }}'
{%- endmacro %}


{# An instant before every load. #}
{% macro no_load() -%}
    {{- return('1970-01-01 00:00:00') -}}
{%- endmacro %}


{#-
    Which loads of bronze a silver model has to take.

    Its newest row does not tell how far it is: of a load that it keeps nothing of there is no row, and where nothing is
    ever refused crypto_quarantine has none at all. So a run that is through leaves a view `<model>_taken` beside its
    table: one row with `taken_until`, the `loaded_at` of the last load it has taken. (On Athena a view is put in its
    place at once, needs no file and is read without a scan.) A run that dies before that takes the same loads again, which
    changes nothing. Without the view, the newest row counts. Before a table is built anew the view says that nothing is
    taken: on Athena a build that dies may leave a part of the table, which must not pass for the whole.

    In the model:   where {{ new_loads(ref('crypto_checked')) }}
    and its hooks:  pre_hook={'sql': '{{ forget_taken_loads() }}', 'transaction': false}
                    post_hook='{{ remember_taken_loads() }}'
    (The first is committed by itself, so that on DuckDB it stands after a build that dies, as it does on Athena.)
-#}

{#
    A condition on `loaded_at`: later than what this model has taken, and not later than what there is of `upstream`;
    with `taken_by`, not later than what that model has taken.
#}
{% macro new_loads(upstream, taken_by=none) -%}
    {%- if not execute or adapter.get_relation(upstream.database, upstream.schema, upstream.identifier) is none -%}
        1 = 1
    {%- else -%}
        {%- set since = taken_until(this) if is_incremental() else no_load() -%}
        {%- if is_incremental() -%}
            {%- do require_what_was_taken(upstream, since) -%}
        {%- endif -%}
        {%- if taken_by is not none -%}
            {%- set until = taken_until(taken_by) -%}
        {%- else -%}
            {%- set until = newest_load(upstream, since) -%}
        {%- endif -%}
        {#- for the hook, which is rendered apart from the model and must not look a second time -#}
        {%- do graph.nodes[model.unique_id].update({'taken_until': until}) -%}
        loaded_at > timestamp '{{ since }}' and loaded_at <= timestamp '{{ until }}'
    {%- endif -%}
{%- endmacro %}


{#
    Refuses to go on where bronze was built anew: all its rows are of a new load then, so those that the table being built
    has would come again, as duplicates of themselves. Raises a compiler error.
#}
{% macro require_what_was_taken(upstream, since) -%}
    {#- a mark set back to nothing may stand beside an old table #}
    {%- set taken = newest_load(this, no_load()) if since == no_load() else since -%}
    {%- if taken != no_load() -%}
        {%- set kept = run_query("select 1 from " ~ upstream ~ " where loaded_at <= timestamp '" ~ taken ~ "' limit 1") -%}
        {%- if kept.rows | length == 0 -%}
            {%- do exceptions.raise_compiler_error(
                "build silver with --full-refresh: bronze was built anew, it has none of the loads that "
                ~ this.identifier ~ " has taken (until " ~ taken ~ ")"
            ) -%}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}


{# How far a model has taken the loads of bronze; 1970 if it has taken none. #}
{% macro taken_until(table) -%}
    {%- set mark = adapter.get_relation(table.database, table.schema, table.identifier ~ '_taken') -%}
    {%- if mark is none -%}
        {{- return(newest_load(table, no_load())) -}}
    {%- endif -%}
    {{- return(run_query("select taken_until from " ~ mark).rows[0][0]) -}}
{%- endmacro %}


{# The last load of which a table has a row, if there is one after `since`; else `since`. #}
{% macro newest_load(table, since) -%}
    {%- set newest -%}
        select cast(max(loaded_at) as varchar) from {{ table }} where loaded_at > timestamp '{{ since }}'
    {%- endset -%}
    {{- return(run_query(newest).rows[0][0] or since) -}}
{%- endmacro %}


{# Before a table is built anew: says that nothing is taken. #}
{% macro forget_taken_loads() -%}
    {%- if execute and not is_incremental() -%}
        {{ taken_loads_mark(no_load()) }}
    {%- endif -%}
{%- endmacro %}


{# Once the table is written: says how far it is. #}
{% macro remember_taken_loads() -%}
    {%- if execute -%}
        {{ taken_loads_mark(graph.nodes[model.unique_id].taken_until) }}
    {%- endif -%}
{%- endmacro %}


{% macro taken_loads_mark(until) -%}
    {%- set mark = api.Relation.create(
        database=this.database, schema=this.schema, identifier=this.identifier ~ '_taken', type='view'
    ) -%}
    {%- do adapter.cache_added(mark) -%}
    create or replace view {{ mark }} as
    select '{{ until }}' as taken_until
{%- endmacro %}
