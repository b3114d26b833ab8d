"""The page's web app: reads the sources through the shared cache and renders them; it changes nothing.

Airflow shows the page in a sandboxed frame, which may neither open a window nor leave the frame. So the
script lets the document around the frame follow the links. Outside a frame the page works without it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from airflow.api_fastapi.auth.managers.models.resource_details import AccessView
from airflow.api_fastapi.core_api.security import requires_access_view
from airflow.sdk import Variable
from fastapi import Depends, FastAPI, Query
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse

from include.monitoring.checks.thresholds import VARIABLE
from include.monitoring.page import render, view
from include.monitoring.page.health import without_settings
from include.monitoring.page.read_model import Reader, ReadModel, Sources, State, TrendState
from include.monitoring.page.trends import DEFAULT_RANGE, RANGES
from include.monitoring.page.view import View
from include.on_airflow import connections
from include.settings import AlertSettings, SettingsError, load

RangeName = Annotated[str, Query(alias="range")]
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'"
)
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}
"""The page runs its own script and nothing else, loads nothing but its own files, and is shown in no foreign frame."""


class Page:
    """What all requests of one process share. The settings are read when the first reader comes."""

    def __init__(self) -> None:
        self._reader: Reader | None = None
        self._alert = AlertSettings.model_construct()

    def read(self, chosen: str) -> tuple[View, AlertSettings]:
        """Everything to show. When the settings cannot be used, the links are those of the defaults."""
        range_name = chosen if chosen in RANGES else DEFAULT_RANGE
        try:
            model = self._connected().read(range_name)
        except SettingsError as error:
            now = datetime.now(UTC)
            model = ReadModel(now, State(without_settings(error, now)), TrendState(fault=str(error)))
        return view.of(model, range_name), self._alert

    def _connected(self) -> Reader:
        if self._reader is None:
            settings = load()
            self._alert = settings.alert
            self._reader = Reader(
                Sources(
                    settings,
                    connections.page_s3_client,
                    connections.page_cloudwatch_client,
                    lambda: Variable.get(VARIABLE, default=None),
                    lambda: datetime.now(UTC),
                )
            )
        return self._reader


def create_app() -> FastAPI:
    """An app for every user who may see the Airflow UI: the page, its style and script, and the same as JSON."""
    app = FastAPI(
        title="Pipeline Health",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        dependencies=[Depends(requires_access_view(AccessView.WEBSITE))],
    )
    page = Page()
    methods = ["GET", "HEAD"]

    # Not coroutines: FastAPI runs them beside the event loop, because they wait for S3. Always 200: a proxy may replace
    # the page of an error with its own, and this page has the reasons.
    @app.api_route("/", methods=methods)
    def show(range_name: RangeName = DEFAULT_RANGE) -> HTMLResponse:
        return HTMLResponse(render.page(*page.read(range_name)), headers=HEADERS)

    @app.api_route("/status.json", methods=methods)
    def status() -> JSONResponse:
        return JSONResponse(view.status(page.read(DEFAULT_RANGE)[0]), headers=HEADERS)

    @app.api_route(f"/{render.STYLE}", methods=methods)
    def style() -> FileResponse:
        return FileResponse(render.STATIC / render.STYLE, headers=HEADERS)

    @app.api_route(f"/{render.SCRIPT}", methods=methods)
    def script() -> FileResponse:
        return FileResponse(render.STATIC / render.SCRIPT, headers=HEADERS)

    return app
