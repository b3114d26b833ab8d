-- How each data test fares: pass rate, since when it has been failing, and whether it flickers.
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
        lag(failed) over (partition by node_id order by executed_at, invocation_id) as failed_before,
        row_number() over (partition by node_id order by executed_at desc, invocation_id desc) as age
    from runs

),

last_passes as (

    select
        node_id,
        max(executed_at) as last_pass_at
    from runs
    where failed = 0
    group by node_id

),

tests as (

    select
        compared.node_id,
        max_by(compared.name, compared.executed_at) as name,
        max_by(compared.layer, compared.executed_at) as layer,
        max_by(compared.model, compared.executed_at) as model,
        max_by(compared.severity, compared.executed_at) as severity,
        max(case when compared.age = 1 then compared.status end) as last_status,
        max(compared.executed_at) as last_run_at,
        max(last_passes.last_pass_at) as last_pass_at,
        min(
            case
                when compared.failed = 1
                    and (last_passes.last_pass_at is null or compared.executed_at > last_passes.last_pass_at)
                    then compared.executed_at
            end
        ) as failing_since,
        count(*) as runs,
        1 - avg(cast(compared.failed as double)) as pass_rate,
        sum(case when compared.age <= 20 and compared.failed <> compared.failed_before then 1 else 0 end) as changes,
        avg(compared.execution_seconds) as average_seconds
    from compared
    left join last_passes on compared.node_id = last_passes.node_id
    group by compared.node_id

),

final as (

    select
        node_id,
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
