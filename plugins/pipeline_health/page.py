"""The page's web app: reads the state objects from S3 and renders them; nothing is changed.

Airflow shows it in a sandboxed frame, which may neither open a window nor leave the frame: the
few lines of JavaScript in page.html have the UI around it follow the links. On its own the
page needs none.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from airflow.api_fastapi.auth.managers.models.resource_details import AccessView
from airflow.api_fastapi.core_api.security import requires_access_view
from airflow.sdk import Variable
from fastapi import Depends, FastAPI
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from include.instants import span, to_text
from include.monitoring.alerts.mail import without_secrets
from include.monitoring.checks.thresholds import VARIABLE
from include.monitoring.page import Health, collect, nothing
from include.on_airflow import connections
from include.settings import AlertSettings, SettingsError, load

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)
TEMPLATES.filters |= {
    "span": span,
    "time": lambda moment: to_text(moment.replace(microsecond=0)),
    "number": lambda value: f"{value:,}",
    "public": without_secrets,
}


def render(health: Health, settings: AlertSettings) -> str:
    """The page."""
    return TEMPLATES.get_template("page.html").render(
        health=health, runbooks=settings.runbook_url, airflow=settings.airflow_url.rstrip("/")
    )


def look(now: datetime) -> tuple[Health, AlertSettings]:
    """What there is to show, also when the settings cannot be used: then with the defaults' links."""
    try:
        settings = load()
    except SettingsError as error:
        return nothing(error, now), AlertSettings.model_construct()
    found = collect(connections.page_s3_client, settings, lambda: Variable.get(VARIABLE, default=None), now)
    return found, settings.alert


def create_app() -> FastAPI:
    """An app with one page; whoever may see the Airflow UI may see it."""
    app = FastAPI(title="Pipeline Health", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/", dependencies=[Depends(requires_access_view(AccessView.WEBSITE))])
    def page() -> HTMLResponse:  # no coroutine: FastAPI runs it beside the event loop, as it waits for S3
        # Always 200: a proxy may put its own page in the place of an error's, and the reasons are on this one.
        return HTMLResponse(render(*look(datetime.now(UTC))), headers={"Cache-Control": "no-store"})

    return app
