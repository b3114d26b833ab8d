"""Cancels the queries of a dbt task that Airflow ends.

Airflow calls the operator's `on_kill` on SIGTERM (a run that is ended by hand or by its time limit, a worker that shuts
down) and after the task's own time limit. Cosmos does nothing there while dbt runs in the task's process. On Athena the
query would go on, cost money, and write its result. A process that gets SIGKILL cancels nothing. Its query then ends by
itself, and the next attempt loads nothing twice (docs/data-quality.md).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

log = logging.getLogger(__name__)


def apply(_context: Mapping[str, Any], operator: Any) -> None:
    """Cosmos interceptor of every dbt task."""
    operator.on_kill = cancel_open_queries


def cancel_open_queries() -> None:
    """Cancel what dbt's adapters of this process are running. A failure is only logged: the task ends anyway."""
    from dbt.adapters.factory import FACTORY  # late: importing dbt takes more than a second

    for adapter in FACTORY.adapters.values():
        try:
            cancelled = list(adapter.connections.cancel_open())
        except Exception:  # each adapter raises errors of its own
            log.exception("queries of dbt cannot be cancelled: they end by themselves")
        else:
            log.warning("the task is ended: cancelled the queries of %s", ", ".join(cancelled) or "no connection")
