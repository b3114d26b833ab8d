"""An Airflow that is not there yet is told in the client's own words, which the status screen knows."""

from __future__ import annotations

import httpx
import pytest

from include.local.airflow_api import ATTEMPTS, AirflowApi, AirflowApiError
from tests.servers import free_port


def answers(*outcomes: httpx.Response | httpx.TransportError) -> tuple[AirflowApi, list[str]]:
    """A client whose requests end like this, one after the other; and what it asked."""
    asked: list[str] = []
    left = iter(outcomes)

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request.method)
        outcome = next(left)
        if isinstance(outcome, httpx.TransportError):
            raise outcome
        return outcome

    api = AirflowApi("http://airflow.test")
    api._http = httpx.Client(base_url=api.base_url, transport=httpx.MockTransport(handle))
    api._http.headers["Authorization"] = "Bearer known"
    return api, asked


def test_a_reading_that_got_no_answer_in_time_is_asked_again() -> None:
    api, asked = answers(httpx.ReadTimeout("busy"), httpx.Response(200, json={"dag_runs": []}))
    assert api.runs("crypto_transform") == []
    assert asked == ["GET", "GET"]


def test_a_change_that_got_no_answer_is_not_made_again() -> None:
    api, asked = answers(httpx.ReadTimeout("busy"), httpx.Response(200, json={}))
    with pytest.raises(AirflowApiError, match="POST /dags/crypto_transform/dagRuns: busy"):
        api.trigger("crypto_transform")
    assert asked == ["POST"]


def test_a_reading_is_given_up_in_the_end() -> None:
    api, asked = answers(*[httpx.ReadTimeout("busy")] * ATTEMPTS)
    with pytest.raises(AirflowApiError, match="busy"):
        api.runs("crypto_transform")
    assert len(asked) == ATTEMPTS


def test_no_airflow_is_an_error_of_the_clients_own() -> None:
    with pytest.raises(AirflowApiError, match="no token from Airflow"):
        AirflowApi(f"http://127.0.0.1:{free_port()}").runs("crypto_transform")
