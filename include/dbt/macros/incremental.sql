{#-
    Which loads of bronze an incremental model still has to process.

    A silver model needs a watermark: the `loaded_at` of the last load of bronze that it has processed. max(loaded_at)
    of its own table is no watermark, because a load that contributed no row is not in it. (crypto_quarantine is
    empty as long as no record is refused.) Each finished run therefore writes the watermark into a view `<model>_taken`
    beside the table: one row with `taken_until`. On Athena a view is replaced atomically, has no file and is read
    without a scan.

    A run that dies before it writes the watermark processes the same loads again, which changes nothing. Without the
    view, the newest row counts. Before a table is rebuilt the watermark is reset, and before bronze is rebuilt those of
    silver: a rebuild of bronze in several attempts has loads that are older than a watermark of silver.

    In the model:   where {{ new_loads(ref('crypto_checked')) }}
    and its hooks:  pre_hook={'sql': '{{ reset_watermark() }}', 'transaction': false}
                    post_hook='{{ write_watermark() }}'
    The first hook commits by itself. On DuckDB its effect therefore survives a rebuild that dies, as on Athena.
-#}

{# An instant before every load. #}
{% macro unix_epoch() -%}
    {{- return('1970-01-01 00:00:00') -}}
{%- endmacro %}


{#
    A condition on `loaded_at`: later than this model's watermark, and not later than the newest load of `upstream`, or,
    with `processed_by`, than the watermark of that model. `may_be_rebuilt`: the model can process all loads again.
#}
{% macro new_loads(upstream, processed_by=none, may_be_rebuilt=false) -%}
    {%- if not execute or adapter.get_relation(upstream.database, upstream.schema, upstream.identifier) is none -%}
        1 = 1
    {%- else -%}
        {%- set since = read_watermark(this) if is_incremental() else unix_epoch() -%}
        {%- if is_incremental() and not may_be_rebuilt -%}
            {%- do require_watermark(upstream, since) -%}
        {%- endif -%}
        {%- if processed_by is not none -%}
            {%- set until = read_watermark(processed_by) -%}
        {%- else -%}
            {%- set until = newest_load(upstream, since) -%}
        {%- endif -%}
        {#- The hook is rendered apart from the model: it must write this value, not a newer one. -#}
        {%- do graph.nodes[model.unique_id].update({'taken_until': until}) -%}
        loaded_at > timestamp '{{ since }}' and loaded_at <= timestamp '{{ until }}'
    {%- endif -%}
{%- endmacro %}


{#
    Raises a compiler error when bronze lacks every load up to the watermark: bronze was rebuilt. All its rows then
    belong to a new load, so the rows that this table has would be processed again and become duplicates.
#}
{% macro require_watermark(upstream, since) -%}
    {#- a table may have rows although its watermark was reset #}
    {%- set watermark = newest_load(this, unix_epoch()) if since == unix_epoch() else since -%}
    {%- if watermark != unix_epoch() -%}
        {%- set kept -%}
            select 1 from {{ upstream }} where loaded_at <= timestamp '{{ watermark }}' limit 1
        {%- endset -%}
        {%- if run_query(kept).rows | length == 0 -%}
            {%- do exceptions.raise_compiler_error(
                "build silver with --full-refresh: bronze was rebuilt and has no load that " ~ this.identifier
                ~ " has processed (until " ~ watermark ~ ")"
            ) -%}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}


{# A model's watermark; 1970 if it has processed no load. #}
{% macro read_watermark(table) -%}
    {%- set view = adapter.get_relation(table.database, table.schema, table.identifier ~ '_taken') -%}
    {%- if view is none -%}
        {{- return(newest_load(table, unix_epoch())) -}}
    {%- endif -%}
    {{- return(run_query("select taken_until from " ~ view).rows[0][0]) -}}
{%- endmacro %}


{# The newest load that has a row in a table, if it is later than `since`; else `since`. #}
{% macro newest_load(table, since) -%}
    {%- set newest -%}
        select cast(max(loaded_at) as varchar) from {{ table }} where loaded_at > timestamp '{{ since }}'
    {%- endset -%}
    {{- return(run_query(newest).rows[0][0] or since) -}}
{%- endmacro %}


{# Hook before a table is rebuilt: no load is processed. #}
{% macro reset_watermark() -%}
    {%- if execute and not is_incremental() -%}
        {{ watermark_view(this, unix_epoch()) }}
    {%- endif -%}
{%- endmacro %}


{#
    Hook before a table is rebuilt: the model `name`, which reads it, has processed no load of it. Its next run computes
    everything again. A rebuild keeps the time of bronze's loads, so that run would find no new load.
#}
{% macro reset_watermark_of(name) -%}
    {%- if execute and not is_incremental() -%}
        {%- set node = graph.nodes.values() | selectattr("name", "equalto", name) | first -%}
        {%- set table = adapter.get_relation(node.database, node.schema, node.alias) -%}
        {%- if table is not none -%}
            {{ watermark_view(table, unix_epoch()) }}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}


{# Hook before gold, when its watermark was reset: delete the hours that `quotes` does not have any more. #}
{% macro delete_hours_without_quotes(quotes) -%}
    {%- if execute and is_incremental() and read_watermark(this) == unix_epoch() -%}
        delete from {{ this }}
        where (id, hour_start) not in (
            select
                id,
                cast(date_trunc('hour', last_updated) as timestamp(6))
            from {{ quotes }}
        )
    {%- endif -%}
{%- endmacro %}


{# Hook after the table was written: the loads of `new_loads` are processed. #}
{% macro write_watermark() -%}
    {%- if execute -%}
        {{ watermark_view(this, graph.nodes[model.unique_id].taken_until) }}
    {%- endif -%}
{%- endmacro %}


{% macro watermark_view(table, until) -%}
    {%- set view = api.Relation.create(
        database=table.database, schema=table.schema, identifier=table.identifier ~ '_taken', type='view'
    ) -%}
    {%- do adapter.cache_added(view) -%}
    create or replace view {{ view }} as
    select '{{ until }}' as taken_until
{%- endmacro %}
