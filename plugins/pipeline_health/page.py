"""The page's web app: reads the state objects from S3 and renders them; it changes nothing.

Airflow shows the page in a sandboxed frame, which may neither open a window nor leave the frame. So the
JavaScript in page.html lets the document around the frame follow the links. Outside a frame the
page works without it.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from pathlib import Path

from airflow.api_fastapi.auth.managers.models.resource_details import AccessView
from airflow.api_fastapi.core_api.security import requires_access_view
from airflow.sdk import Variable
from fastapi import Depends, FastAPI
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from include.instants import ago, old, span, to_second
from include.monitoring.checks.thresholds import VARIABLE
from include.monitoring.page import PipelineHealth, collect, without_settings
from include.on_airflow import connections
from include.reasons import without_secrets
from include.settings import AlertSettings, SettingsError, load
from plugins.pipeline_health import metrics

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)
TEMPLATES.filters |= {
    "span": span,
    "ago": ago,
    "old": old,
    "time": to_second,
    "number": lambda value: f"{value:,}",
    "public": without_secrets,
}


def render(health: PipelineHealth, settings: AlertSettings, nonce: str = "") -> str:
    """The page. Its style and its script carry `nonce`, which the content security policy names."""
    return TEMPLATES.get_template("page.html").render(
        health=health, runbooks=settings.runbook_url, airflow=settings.airflow_url.rstrip("/"), nonce=nonce
    )


def headers(nonce: str) -> dict[str, str]:
    """The page runs its own script and nothing else, loads nothing but itself, and is shown in Airflow's frame only."""
    policy = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    )
    return {
        "Cache-Control": "no-store",
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
    }


def read(now: datetime) -> tuple[PipelineHealth, AlertSettings]:
    """Everything to show. When the settings cannot be used, the links are those of the defaults."""
    try:
        settings = load()
    except SettingsError as error:
        return without_settings(error, now), AlertSettings.model_construct()
    health = collect(connections.page_s3_client, settings, lambda: Variable.get(VARIABLE, default=None), now)
    return health, settings.alert


def create_app() -> FastAPI:
    """An app with one page, for every user who may see the Airflow UI."""
    app = FastAPI(title="Pipeline Health", docs_url=None, redoc_url=None, openapi_url=None)

    @app.api_route("/", methods=["GET", "HEAD"], dependencies=[Depends(requires_access_view(AccessView.WEBSITE))])
    def page() -> HTMLResponse:  # not a coroutine: FastAPI runs it beside the event loop, because it waits for S3
        # Always 200: a proxy may replace the page of an error with its own, and this page has the reasons.
        nonce = secrets.token_urlsafe(16)
        return HTMLResponse(render(*read(datetime.now(UTC)), nonce), headers=headers(nonce))

    app.include_router(metrics.router)
    return app
