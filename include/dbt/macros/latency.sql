{#-
    When the records that a layer got since `since` arrived in Kafka, for their latency (include/transform/latency.py).

    Gold has no rows of single records. A record is in gold when it is in crypto_stage and gold has taken its load: each
    load with a row in crypto_stage changes an hour of gold, so gold's newest `loaded_at` is the last load that it took.
    The condition on `loaded_at` lets Iceberg skip the data files of older loads.
-#}

{# The table with the records of a layer. #}
{% macro records_of(model) -%}
    {{- return(ref('crypto_raw') if model == 'crypto_raw' else ref('crypto_stage')) -}}
{%- endmacro %}


{#
    Whether the layer still has a load that was measured before; false after bronze was rebuilt, as each row is new. Null
    if there was no such load.
#}
{% macro has_load(model, since) -%}
    {%- if since is none or since == unix_epoch() -%}
        cast(null as boolean)
    {%- else -%}
        exists (select 1 from {{ records_of(model) }} where loaded_at <= timestamp '{{ since }}')
    {%- endif -%}
{%- endmacro %}


{#
    Text: a line for each object, `path time:records time:records ...`. The path is that of bronze's `source_file`
    without the folder, and `-` in the other layers. A time is the second of Kafka's timestamp, in seconds since 1970;
    for a record of more than six hours ago it is the minute, so that a long backlog stays small. Records that are older
    than a run looks back by itself are left out: they were loaded by hand.
#}
{% macro arrivals(model, since, counts_from) -%}
    {%- if since is none -%}
        cast(null as varchar)
    {%- else -%}
        {%- set oldest = timestamp_literal(run_started_at - modules.datetime.timedelta(days=var('landing_sweep_days'))) -%}
        {%- set exact_from = timestamp_literal(run_started_at - modules.datetime.timedelta(hours=6)) -%}
        {%- set second = "(" ~ epoch_ms('kafka_timestamp') ~ " - mod(" ~ epoch_ms('kafka_timestamp') ~ ", 1000)) / 1000" -%}
        {%- set folder = landed_data_folder() -%}
        (
            select {{ joined("path || ' ' || times", 'chr(10)') }}
            from (
                select
                    path,
                    {{ joined("cast(arrived as varchar) || ':' || cast(records as varchar)", "' '") }} as times
                from (
                    select
                        path,
                        case when is_exact then arrived else arrived - mod(arrived, 60) end as arrived,
                        count(*) as records
                    from (
                        select
                            {{ "substr(source_file, " ~ (folder | length + 1) ~ ")" if model == 'crypto_raw' else "'-'" }} as path,
                            cast({{ second }} as bigint) as arrived,
                            kafka_timestamp >= {{ exact_from }} as is_exact
                        from {{ records_of(model) }}
                        where
                            loaded_at > timestamp '{{ since }}'
                            and kafka_timestamp > timestamp '{{ counts_from }}'
                            and kafka_timestamp >= {{ oldest }}
                            {%- if model == 'crypto_curated' %}
                            and loaded_at <= (select max(loaded_at) from {{ ref('crypto_curated') }})
                            {%- endif %}
                    ) as new_records
                    group by 1, 2
                ) as counted
                group by path
            ) as objects
        )
    {%- endif -%}
{%- endmacro %}
