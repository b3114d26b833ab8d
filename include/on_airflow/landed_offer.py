"""Hands the gate's offer to bronze: the hours in which unread files lie.

The offer is an environment variable, not a dbt variable: with other variables than those of the saved parse, dbt parses
the whole project again (seconds).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from include.on_airflow.run_parameters import GATE

HOURS = "hours"
"""XCom key of the gate: the offered hours, as `include.transform.gate.ranges` writes them."""
VARIABLE = "WAREHOUSE_LANDED_HOURS"


def apply(context: Mapping[str, Any], operator: Any) -> None:
    """Cosmos interceptor of bronze's tasks. Without an offer, bronze looks for new files itself."""
    hours = context["ti"].xcom_pull(task_ids=GATE, key=HOURS)
    if hours:
        operator.env = (operator.env or {}) | {VARIABLE: hours}
