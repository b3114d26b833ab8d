"""The calls that the demo makes to Airflow's public REST API."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import httpx

ATTEMPTS = 4
"""A busy SQLite answers some calls with a server error ("database is locked"); the next attempt succeeds."""


class AirflowApiError(RuntimeError):
    """Airflow did not answer, or refused; the text names the request."""


@dataclass(frozen=True, slots=True)
class DagRun:
    """One DAG run; `state` is Airflow's word (queued, running, success, failed)."""

    run_id: str
    state: str
    started_at: str | None
    ended_at: str | None

    @classmethod
    def from_json(cls, run: dict[str, Any]) -> DagRun:
        """A run as the API returns it."""
        return cls(run["dag_run_id"], run["state"], run["start_date"], run["end_date"])


class AirflowApi:
    """A client for an Airflow that needs no login (simple auth manager, all admins)."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self._http = httpx.Client(base_url=base_url, timeout=30, trust_env=False)

    def wait_until_ready(self, seconds: float) -> None:
        """Return when the API server answers.

        Raises:
            AirflowApiError: the API server did not answer within `seconds`.
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
        """One request to the public API; `path` is below /api/v2.

        Raises:
            AirflowApiError: Airflow did not answer, or refused.
        """
        if "Authorization" not in self._http.headers:
            try:
                token = self._http.get("/auth/token").raise_for_status().json()["access_token"]
            except httpx.HTTPError as error:
                raise AirflowApiError(f"no token from Airflow at {self.base_url}: {error}") from error
            self._http.headers["Authorization"] = f"Bearer {token}"
        for attempts_left in reversed(range(ATTEMPTS)):
            try:
                response = self._http.request(method, f"/api/v2{path}", json=body)
            except httpx.TransportError as error:
                if attempts_left and method == "GET" and isinstance(error, httpx.ReadTimeout):
                    continue  # a repeated GET is harmless; any other request may have taken effect
                raise AirflowApiError(f"{method} {path}: {error}") from error
            if not response.is_server_error or not attempts_left:
                break
            time.sleep(1)
        if response.is_error:
            raise AirflowApiError(f"{method} {path}: {response.status_code} {response.text[:300]}")
        return response

    def wait_for_dag(self, dag_id: str, seconds: float) -> None:
        """Return when the DAG processor has stored the DAG.

        Raises:
            AirflowApiError: the DAG is missing after `seconds`; the text has the import errors.
        """
        deadline = time.monotonic() + seconds
        while True:
            try:
                self.call("GET", f"/dags/{dag_id}")
                return
            except AirflowApiError as error:
                if time.monotonic() > deadline:
                    problems = self.call("GET", "/importErrors").json()["import_errors"]
                    text = "\n".join(f"{problem['filename']}: {problem['stack_trace']}" for problem in problems)
                    raise AirflowApiError(f"DAG {dag_id} did not appear within {seconds:.0f} s. {text}") from error
            time.sleep(0.3)

    def unpause(self, dag_id: str) -> None:
        """Let the scheduler run the DAG."""
        self.call("PATCH", f"/dags/{dag_id}", {"is_paused": False})

    def parse(self, dag_id: str) -> None:
        """Have the DAG's file parsed now. Only a parse gives the trigger of a DAG that was paused to the triggerer."""
        token = self.call("GET", f"/dags/{dag_id}").json()["file_token"]
        self.call("PUT", f"/parseDagFile/{token}")

    def trigger(self, dag_id: str, conf: dict[str, object] | None = None) -> str:
        """Start a manual run now; returns its run id."""
        body: dict[str, object] = {"logical_date": None, "conf": conf or {}}
        return str(self.call("POST", f"/dags/{dag_id}/dagRuns", body).json()["dag_run_id"])

    def runs(self, dag_id: str, limit: int = 1) -> list[DagRun]:
        """The newest runs, newest first."""
        path = f"/dags/{dag_id}/dagRuns?order_by=-run_after&limit={limit}"
        return [DagRun.from_json(run) for run in self.call("GET", path).json()["dag_runs"]]

    def run(self, dag_id: str, run_id: str) -> DagRun:
        """One run."""
        return DagRun.from_json(self.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}").json())

    def task_states(self, dag_id: str, run_id: str) -> dict[str, str | None]:
        """State of each task of one run."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances?limit=200"
        return {task["task_id"]: task["state"] for task in self.call("GET", path).json()["task_instances"]}
