"""A dbt task that Airflow ends cancels its queries."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from dbt.adapters.factory import FACTORY

from include.on_airflow import landed_offer, query_cancel


@pytest.fixture
def adapter(monkeypatch: pytest.MonkeyPatch) -> Mock:
    adapter = Mock()
    adapter.connections.cancel_open.return_value = ["model.crypto_lakehouse.crypto_raw"]
    monkeypatch.setattr(FACTORY, "adapters", {"athena": adapter})
    return adapter


def test_an_ended_task_cancels_the_open_queries(adapter: Mock, caplog: pytest.LogCaptureFixture) -> None:
    operator: Any = SimpleNamespace(on_kill=None)
    query_cancel.apply({}, operator)
    operator.on_kill()
    adapter.connections.cancel_open.assert_called_once_with()
    assert "crypto_raw" in caplog.text


def test_a_refused_cancellation_does_not_hide_the_end(adapter: Mock, caplog: pytest.LogCaptureFixture) -> None:
    adapter.connections.cancel_open.side_effect = RuntimeError("Athena is away")
    query_cancel.cancel_open_queries()
    assert "Athena is away" in caplog.text


def test_bronze_gets_the_hours_that_the_gate_offers() -> None:
    operator: Any = SimpleNamespace(env=None)
    for offer, expected in (("", None), ("a..b", {"WAREHOUSE_LANDED_HOURS": "a..b"})):
        context = {"ti": SimpleNamespace(xcom_pull=lambda offer=offer, **_: offer)}
        landed_offer.apply(context, operator)
        assert operator.env == expected
