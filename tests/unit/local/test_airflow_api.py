"""An Airflow that does not answer yet is an error of the client's own type, which the status screen handles."""

from __future__ import annotations

import httpx
import pytest

from include.local.airflow_api import ATTEMPTS, AirflowApi, AirflowApiError
from tests.servers import free_port


def answers(*outcomes: httpx.Response | httpx.TransportError) -> tuple[AirflowApi, list[str]]:
    """A client whose requests have these outcomes, in this order, and the methods of its requests so far."""
    methods: list[str] = []
    remaining = iter(outcomes)

    def handle(request: httpx.Request) -> httpx.Response:
        methods.append(request.method)
        outcome = next(remaining)
        if isinstance(outcome, httpx.TransportError):
            raise outcome
        return outcome

    api = AirflowApi("http://airflow.test")
    api._http = httpx.Client(base_url=api.base_url, transport=httpx.MockTransport(handle))
    api._http.headers["Authorization"] = "Bearer known"
    return api, methods


def test_a_read_without_an_answer_is_repeated() -> None:
    api, methods = answers(httpx.ReadTimeout("busy"), httpx.Response(200, json={"dag_runs": []}))
    assert api.runs("crypto_transform") == []
    assert methods == ["GET", "GET"]


def test_a_change_without_an_answer_is_not_repeated() -> None:
    api, methods = answers(httpx.ReadTimeout("busy"), httpx.Response(200, json={}))
    with pytest.raises(AirflowApiError, match="POST /dags/crypto_transform/dagRuns: ReadTimeout: busy"):
        api.trigger("crypto_transform")
    assert methods == ["POST"]


def test_a_read_fails_after_the_last_attempt() -> None:
    api, methods = answers(*[httpx.ReadTimeout("busy")] * ATTEMPTS)
    with pytest.raises(AirflowApiError, match="busy"):
        api.runs("crypto_transform")
    assert len(methods) == ATTEMPTS


def test_no_airflow_is_an_error_of_the_client() -> None:
    with pytest.raises(AirflowApiError, match="no token from Airflow"):
        AirflowApi(f"http://127.0.0.1:{free_port()}").runs("crypto_transform")
