"""What Airflow itself refuses to run crypto_transform with; its runs are in tests/integration and tests/scheduler."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG
from airflow.sdk.exceptions import ParamValidationError

from tests.dags.conftest import DAGS


@pytest.fixture
def dag() -> DAG:
    bag = DagBag(str(DAGS / "crypto_transform.py"))
    assert not bag.import_errors
    return bag.dags["crypto_transform"]


@pytest.mark.parametrize("params", [{"select": "--version"}, {"target_date": "today"}, {"full_refresh": "perhaps"}])
def test_values_of_the_wrong_form_are_refused_by_airflow(dag: DAG, params: dict[str, Any]) -> None:
    with pytest.raises(ParamValidationError):  # noqa: PT012 which of the two steps refuses is Airflow's affair
        dag.params.update(params)
        dag.params.validate()
