"""The few calls the demo makes to Airflow's public REST API."""

from __future__ import annotations

import time
from dataclasses import dataclass

import httpx

ATTEMPTS = 4
"""A busy SQLite answers some calls with a server error ("database is locked"); the next attempt succeeds."""


class AirflowApiError(RuntimeError):
    """Airflow did not answer, or refused; the text says what was asked."""


@dataclass(frozen=True, slots=True)
class Run:
    """One DAG run; `state` in Airflow's words (queued, running, success, failed)."""

    run_id: str
    state: str
    started_at: str | None
    ended_at: str | None


class AirflowApi:
    """A client for an Airflow that needs no login (simple auth manager, all admins)."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self._http = httpx.Client(base_url=base_url, timeout=30, trust_env=False)

    def wait_until_ready(self, seconds: float) -> None:
        """Return when the API server answers.

        Raises:
            AirflowApiError: it did not within `seconds`.
        """
        deadline = time.monotonic() + seconds
        while True:
            try:
                if self._http.get("/api/v2/version", timeout=2).is_success:
                    return
            except httpx.TransportError:
                pass
            if time.monotonic() > deadline:
                raise AirflowApiError(f"Airflow at {self.base_url} did not answer within {seconds:.0f} s")
            time.sleep(0.2)

    def call(self, method: str, path: str, body: dict[str, object] | None = None) -> httpx.Response:
        """One call of the public API (`path` below /api/v2), for what has no method here.

        Raises:
            AirflowApiError: it did not answer, or refused.
        """
        if "Authorization" not in self._http.headers:
            try:
                token = self._http.get("/auth/token").raise_for_status().json()["access_token"]
            except httpx.HTTPError as error:
                raise AirflowApiError(f"no token from Airflow at {self.base_url}: {error}") from error
            self._http.headers["Authorization"] = f"Bearer {token}"
        for left in reversed(range(ATTEMPTS)):
            try:
                answer = self._http.request(method, f"/api/v2{path}", json=body)
            except httpx.TransportError as error:
                if left and method == "GET" and isinstance(error, httpx.ReadTimeout):
                    continue  # asked again it does no harm; what changes something may have been done
                raise AirflowApiError(f"{method} {path}: {error}") from error
            if not answer.is_server_error or not left:
                break
            time.sleep(1)
        if answer.is_error:
            raise AirflowApiError(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        return answer

    def wait_for_dag(self, dag_id: str, seconds: float) -> None:
        """Return when the DAG processor has stored the DAG.

        Raises:
            AirflowApiError: it is not there after `seconds`; import errors are in the text.
        """
        deadline = time.monotonic() + seconds
        while True:
            try:
                self.call("GET", f"/dags/{dag_id}")
                return
            except AirflowApiError as error:
                if time.monotonic() > deadline:
                    problems = self.call("GET", "/importErrors").json()["import_errors"]
                    shown = "\n".join(f"{p['filename']}: {p['stack_trace']}" for p in problems)
                    raise AirflowApiError(f"DAG {dag_id} did not appear within {seconds:.0f} s. {shown}") from error
            time.sleep(0.3)

    def unpause(self, dag_id: str) -> None:
        """Let the scheduler run the DAG."""
        self.call("PATCH", f"/dags/{dag_id}", {"is_paused": False})

    def trigger(self, dag_id: str, conf: dict[str, object] | None = None) -> str:
        """Start a manual run now; returns its run id."""
        body: dict[str, object] = {"logical_date": None, "conf": conf or {}}
        return str(self.call("POST", f"/dags/{dag_id}/dagRuns", body).json()["dag_run_id"])

    def runs(self, dag_id: str, limit: int = 1) -> list[Run]:
        """The newest runs, newest first."""
        query = f"/dags/{dag_id}/dagRuns?order_by=-run_after&limit={limit}"
        found = self.call("GET", query).json()["dag_runs"]
        return [Run(run["dag_run_id"], run["state"], run["start_date"], run["end_date"]) for run in found]

    def run(self, dag_id: str, run_id: str) -> Run:
        """One run."""
        found = self.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}").json()
        return Run(found["dag_run_id"], found["state"], found["start_date"], found["end_date"])

    def task_states(self, dag_id: str, run_id: str) -> dict[str, str | None]:
        """State of each task of one run."""
        found = self.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances?limit=200").json()
        return {task["task_id"]: task["state"] for task in found["task_instances"]}
