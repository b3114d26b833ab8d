-- Every data test in every dbt invocation, read from the files that the runs write.
{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        partitioned_by=on_athena(['month(executed_at)']),
    )
}}

with

lines as (

    {{ landed_lines(
        source('landing', 'test_history_data'), env_var('S3_TEST_HISTORY_PREFIX', 'test_history/'),
        time_column='executed_at', writer_column='dag_id'
    ) }}

),

final as (

    select
        {{ json_text('line', 'invocation_id') }} as invocation_id,
        {{ json_text('line', 'dag_id') }} as dag_id,
        {{ json_text('line', 'run_id') }} as run_id,
        {{ timestamp_from_iso(json_text('line', 'executed_at')) }} as executed_at,
        {{ json_text('line', 'layer') }} as layer,
        {{ json_text('line', 'node_id') }} as node_id,
        {{ json_text('line', 'name') }} as name,
        {{ json_text('line', 'model') }} as model,
        {{ json_text('line', 'severity') }} as severity,
        {{ json_text('line', 'status') }} as status,
        cast({{ json_text('line', 'failures') }} as bigint) as failures,
        cast({{ json_text('line', 'execution_seconds') }} as double) as execution_seconds,
        {{ json_text('line', 'message') }} as message,
        source_file,
        {{ timestamp_literal(run_started_at) }} as loaded_at
    from lines
    where substr(line, 1, 1) = '{'

)

select * from final
