"""Lets the task of a table build its companions: seed, snapshot and views without a task of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from include.on_airflow import run_parameters
from include.on_airflow.layer_record import table_of
from include.settings import StorageSettings, load_group
from include.transform import companions

if TYPE_CHECKING:
    from cosmos import DbtTaskGroup

DIGESTS = "companion_digests"
"""Key in the task's context: the digests to store after a successful build of all companions."""


def select(group: DbtTaskGroup) -> None:
    """Add its companions to the selection of each dbt task of the group."""
    for child in group.children.values():
        task: Any = child
        task.select = " ".join([task.select, *companions.of(table_of(task.task_id))])


def apply(context: Any, operator: Any) -> None:
    """Cosmos interceptor: name to dbt the companions that need not be built.

    With a selection the run's parameters have chosen among them, and each chosen one is built.

    Raises:
        ClientError, BotoCoreError: S3 refused or could not be reached.
    """
    from include.on_airflow.connections import s3_client

    table, parameters = table_of(context["ti"].task_id), run_parameters.of_run(context)
    if not companions.of(table) or parameters.select:
        return
    unchanged = [] if parameters.full_refresh else companions.unchanged(s3_client(), load_group(StorageSettings), table)
    operator.env = (operator.env or {}) | {companions.VARIABLE: " ".join(unchanged)}
    if set(companions.REFERENCE.get(table, ())) & set(unchanged):
        operator.exclude = f"{operator.exclude} {companions.REFERENCE_TESTS}"
    if set(unchanged) != set(companions.of(table)):
        context[DIGESTS] = companions.digests(table)


def after(context: Mapping[str, Any], *, succeeded: bool) -> None:
    """Store the digests of what was built.

    Raises:
        ClientError, BotoCoreError: S3 refused or could not be reached.
    """
    from include.on_airflow.connections import s3_client

    if succeeded and DIGESTS in context:
        table = table_of(context["ti"].task_id)
        companions.write(s3_client(), load_group(StorageSettings), table, context[DIGESTS])
