"""Parameters of one run of `crypto_transform`: full refresh, a selection, a day to do again.

The task `new_data` checks them, so that a mistake ends the run before anything is built. The task
pushes the selected dbt nodes as an XCom. Cosmos calls `apply` before each dbt command. `apply` passes
the parameters to dbt or skips the task.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Self

from include.on_airflow.refusal import RunParameterError
from include.settings import DBT_PROJECT
from include.transform import companions, dbt_connection
from include.transform.manifest import work_folder

if TYPE_CHECKING:
    from airflow.sdk import Context

GATE = "new_data"
"""Id of the task that checks the parameters."""
CHOSEN = "chosen"
"""XCom key of that task: unique ids of the selected dbt nodes. A run without a selection has no such XCom."""
CROSS_LAYER = "tag:cross_layer"

SELECTION = r"^[A-Za-z0-9_+@*][A-Za-z0-9_+@*.,:/ -]*$"
"""dbt selectors: names, methods (`tag:gold`), graph operators, unions by space, intersections by comma."""


@dataclass(frozen=True, slots=True)
class RunParameters:
    """The parameters of one run; a scheduled run has no parameter."""

    full_refresh: bool = False
    select: str | None = None
    target_date: date | None = None

    @classmethod
    def of(cls, params: Mapping[str, Any], today: date) -> Self:
        """The parameters in a run's `params`. `today` is the UTC day.

        Raises:
            RunParameterError: a value cannot be used, or two exclude each other.
        """
        text = params.get("target_date") or None
        try:
            day = date.fromisoformat(text) if text else None
        except ValueError:
            raise RunParameterError(f"target_date is {text!r}: write it as 2026-11-23") from None
        if day and day > today:
            raise RunParameterError(f"target_date is {day}, which is after today ({today}, UTC): no data exists yet")
        full_refresh = bool(params.get("full_refresh"))
        if full_refresh and day:
            raise RunParameterError(
                "full_refresh and target_date exclude each other: a full refresh does every day again. Remove one"
            )
        return cls(full_refresh, (params.get("select") or "").strip() or None, day)

    @property
    def by_hand(self) -> bool:
        """Whether a person started the run with a parameter: such a run continues without new data, too."""
        return self != RunParameters()

    def dbt_vars(self, today: date) -> dict[str, Any]:
        """Variables for dbt. The tests' window reaches back to the target date."""
        if self.target_date is None:
            return {}
        day = self.target_date.isoformat()
        return {
            "target_date": day,
            "landing_since": day,
            "test_window_days": (today - self.target_date).days + 1,
        }


def of_run(context: Context | Mapping[str, Any]) -> RunParameters:
    """The parameters of the run of a task.

    Raises:
        RunParameterError: see `RunParameters.of`.
    """
    return RunParameters.of(context["params"], datetime.now(UTC).date())


def chosen_nodes(select: str) -> list[str]:
    """Unique ids of the nodes that dbt selects, without tests of one model, which run with their model.

    Raises:
        RunParameterError: dbt does not understand the selection, or nothing is selected.
    """
    from dbt.cli.main import dbtRunner  # late: importing dbt takes more than a second

    kinds = ["model", "seed", "snapshot", "test"]
    # Without --no-write-json dbt overwrites the manifest while other processes may parse the DAG.
    command = ["--quiet", "--log-level-file", "none", "--no-write-json", "ls", "--select", select, "--output", "json"]
    command += ["--output-keys", "unique_id", "resource_type", "tags"]
    command += [argument for kind in kinds for argument in ("--resource-type", kind)]
    command += ["--project-dir", str(DBT_PROJECT), "--target-path", str(work_folder()), *dbt_connection.arguments()]
    response = dbtRunner().invoke(command)
    if not response.success:
        raise RunParameterError(f"select is {select!r}, which dbt does not understand: {response.exception}")
    lines: Any = response.result or []
    listed = [json.loads(line) for line in lines]
    nodes = [node["unique_id"] for node in listed if node["resource_type"] != "test" or "cross_layer" in node["tags"]]
    if not nodes:
        raise RunParameterError(
            f"select is {select!r}, which matches no model, seed, snapshot or cross-layer test: "
            "try it with `dbt ls --select ...` (docs/dbt-tests.md)"
        )
    return nodes


def apply(context: Mapping[str, Any], operator: Any) -> None:
    """Cosmos interceptor: put the run's parameters into the dbt command of one task.

    Raises:
        AirflowSkipException: the task's node was not selected.
    """
    from airflow.sdk.exceptions import AirflowSkipException

    parameters = of_run(context)
    if parameters.select:
        selected = selection_of(operator.select, operator.extra_context, chosen_of(context))
        if selected is None:
            raise AirflowSkipException(f"not in the selection {parameters.select!r}")
        operator.select = selected
    if parameters.target_date:
        operator.vars = (operator.vars or {}) | parameters.dbt_vars(datetime.now(UTC).date())
    if parameters.full_refresh and operator.base_cmd == ["build"]:
        operator.dbt_cmd_flags = [*operator.dbt_cmd_flags, "--full-refresh"]


def chosen_of(context: Mapping[str, Any]) -> Sequence[str]:
    """Unique ids of the nodes that the run's `select` names."""
    return context["ti"].xcom_pull(task_ids=GATE, key=CHOSEN) or []


def selection_of(select: str, extra_context: Mapping[str, Any], chosen: Sequence[str]) -> str | None:
    """The selection of one task when only `chosen` run; None: the task has nothing to run.

    The task of a table has the table's unique id in `extra_context`, and names the table first, then its companions.
    The task of the cross-layer tests has no such id.
    """
    node = extra_context.get("dbt_node_config", {}).get("unique_id")
    if node:
        table, *_ = select.split()
        others = [name for name in companions.of(node.split(".")[2]) if any(one.endswith(f".{name}") for one in chosen)]
        return " ".join([table] * (node in chosen) + others) or None
    tests = [unique_id.split(".")[2] for unique_id in chosen if unique_id.startswith("test.")]
    return " ".join(tests) or None
