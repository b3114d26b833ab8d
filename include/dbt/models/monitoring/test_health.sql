-- The results of each data test in each DAG: pass rate, start of the present failure, flakiness. The DAGs are separate
-- because they check different rows: crypto_transform checks a window, lakehouse_maintenance every row.
{{ config(materialized='view') }}

with

runs as (

    select
        *,
        case when status = 'pass' then 0 else 1 end as failed
    from {{ ref('test_run') }}
    where status <> 'skipped'

),

compared as (

    select
        *,
        lag(failed) over (partition by node_id, dag_id order by executed_at, invocation_id) as failed_before,
        row_number() over (partition by node_id, dag_id order by executed_at desc, invocation_id desc) as age,
        max(case when failed = 0 then executed_at end) over (partition by node_id, dag_id) as last_pass_at
    from runs

),

tests as (

    select
        node_id,
        dag_id,
        max_by(name, executed_at) as name,
        max_by(layer, executed_at) as layer,
        max_by(model, executed_at) as model,
        max_by(severity, executed_at) as severity,
        max(case when age = 1 then status end) as last_status,
        max(executed_at) as last_run_at,
        max(last_pass_at) as last_pass_at,
        min(
            case when failed = 1 and (last_pass_at is null or executed_at > last_pass_at) then executed_at end
        ) as failing_since,
        count(*) as runs,
        1 - avg(cast(failed as double)) as pass_rate,
        sum(case when age <= 20 and failed <> failed_before then 1 else 0 end) as changes,
        avg(execution_seconds) as average_seconds
    from compared
    group by node_id, dag_id

),

final as (

    select
        node_id,
        dag_id,
        name,
        layer,
        model,
        severity,
        last_status,
        last_run_at,
        last_pass_at,
        failing_since,
        cast(runs as bigint) as runs,
        pass_rate,
        cast(changes as bigint) as changes,
        changes >= 4 as is_flaky,
        average_seconds
    from tests

)

select * from final
