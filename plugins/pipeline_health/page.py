"""The page's web app: reads the sources through the shared cache and renders them; it changes nothing.

Airflow shows the page in a sandboxed frame, which may neither open a window nor leave the frame. So the
script lets the document around the frame follow the links. Outside a frame the page works without it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from airflow.api_fastapi.auth.managers.models.resource_details import AccessView
from airflow.api_fastapi.core_api.security import requires_access_view
from fastapi import APIRouter, Depends, FastAPI, Header, Query
from fastapi.responses import FileResponse, Response

from include.monitoring.page import render, status, view
from include.monitoring.page.cache import SingleFlight
from include.monitoring.page.health import without_settings
from include.monitoring.page.read_model import Reader, ReadModel, State, TrendState
from include.monitoring.page.render import Links
from include.monitoring.page.trends import DEFAULT_RANGE, RANGES
from include.monitoring.page.view import View
from include.on_airflow import health_page
from include.settings import AlertSettings, SettingsError, load
from plugins.pipeline_health import metrics

RangeName = Annotated[str, Query(alias="range")]
Known = Annotated[str, Header(alias="If-None-Match")]
METHODS = ["GET", "HEAD"]
RENDERED_SECONDS = 5.0
"""Pages that are opened at the same moment share one rendering. The ages in it are at most so old."""
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'"
)
HEADERS = {
    "Cache-Control": "private, no-cache",
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}
"""The page runs its own script and nothing else, loads nothing but its own files, and is shown in no foreign frame.

A browser asks each time whether its copy is still the newest, so no copy is shown to a user who has logged out.
"""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A page, and the tag by which a browser that has it already asks for a newer one."""

    body: bytes
    tag: str


class Page:
    """What all requests of one process share. The settings are read when the first reader comes."""

    def __init__(self) -> None:
        self._reader: Reader | None = None
        self._links = Links.of(AlertSettings.model_construct())
        self._rendered = SingleFlight[Rendered](lambda chosen, _: self._render(chosen), RENDERED_SECONDS)

    def html(self, chosen: str) -> Rendered:
        """The page with the trends of one range; an unknown range is as none."""
        return self._rendered.get(chosen if chosen in RANGES else "")

    def _render(self, chosen: str) -> Rendered:
        shown = self.read(chosen)
        body = render.page(shown, self._links).encode()
        return Rendered(body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')

    def read(self, chosen: str) -> View:
        """Everything to show. When the settings cannot be used, the links are those of the defaults."""
        try:
            model = self._connected().read(chosen or DEFAULT_RANGE)
        except SettingsError as error:
            now = datetime.now(UTC)
            model = ReadModel(now, State(without_settings(error, now), away_since=None), TrendState(fault=str(error)))
        return view.of(model, chosen)

    def _connected(self) -> Reader:
        if self._reader is None:
            settings = load()
            self._links = health_page.links(settings.alert)
            self._reader = Reader(health_page.sources(settings))
        return self._reader


def routes(page: Page) -> APIRouter:
    """The page, its style and script, and the same as JSON.

    The functions are no coroutines: FastAPI runs them beside the event loop, because they wait for S3. The status is
    always 200: a proxy may replace the page of an error with its own, and this page has the reasons.
    """
    router = APIRouter()

    @router.api_route("/", methods=METHODS)
    def show(range_name: RangeName = "", known: Known = "") -> Response:
        rendered = page.html(range_name)
        headers = HEADERS | {"ETag": rendered.tag}
        if rendered.tag in known:
            return Response(status_code=304, headers=headers)
        return Response(rendered.body, headers=headers, media_type="text/html")

    @router.api_route("/status.json", methods=METHODS)
    def show_status() -> Response:
        return Response(status.as_json(page.read("")), headers=HEADERS, media_type="application/json")

    @router.api_route(f"/{render.STYLE}", methods=METHODS)
    def show_style() -> FileResponse:
        return FileResponse(render.STATIC / render.STYLE, headers=HEADERS)

    @router.api_route(f"/{render.SCRIPT}", methods=METHODS)
    def show_script() -> FileResponse:
        return FileResponse(render.STATIC / render.SCRIPT, headers=HEADERS)

    return router


def create_app() -> FastAPI:
    """An app for every user who may see the Airflow UI; the others are refused on each of its routes."""
    app = FastAPI(
        title="Pipeline Health",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        dependencies=[Depends(requires_access_view(AccessView.WEBSITE))],
    )
    for router in (routes(Page()), metrics.router):
        app.include_router(router)
    return app
