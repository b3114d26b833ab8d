"""Makes the HTML: of a page that loads its style and script beside it, or of one file that holds everything."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from include.instants import ago, old, span, to_second
from include.monitoring.page import chart, latency, prices, quality
from include.monitoring.page.view import View
from include.reasons import without_secrets
from include.settings import AlertSettings

FOLDER = Path(__file__).parent
STATIC = FOLDER / "static"
STYLE, SCRIPT = "page.css", "page.js"
TEMPLATES = Environment(
    loader=FileSystemLoader(FOLDER / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
TEMPLATES.filters |= {
    "span": span,
    "ago": ago,
    "old": old,
    "time": to_second,
    "number": lambda value: f"{value:,}",
    "public": without_secrets,
    "strip": quality.strip,
    "history": quality.history,
}
TEMPLATES.globals |= {"W": chart.WIDTH, "H": chart.HEIGHT, "LEFT": chart.LEFT, "RIGHT": chart.RIGHT}
TEMPLATES.globals |= {"PRICES": (prices.WIDTH, prices.HEIGHT), "HOURS": (latency.WIDTH, latency.HEIGHT)}


@dataclass(frozen=True, slots=True)
class Links:
    """Where the page's links lead: the folder of the runbooks, Airflow, and the data dictionary (empty without one)."""

    runbooks: str
    airflow: str
    dictionary: str = ""

    @classmethod
    def of(cls, settings: AlertSettings, dictionary: str = "") -> Self:
        """The addresses of the settings."""
        return cls(settings.runbook_url, settings.airflow_url.rstrip("/"), dictionary)


def page(view: View, links: Links) -> str:
    """The page in the Airflow UI."""
    return _render(view, links, {})


def report(view: View, links: Links) -> str:
    """The same as one file: style and script are in it, and its own policy forbids every request."""
    style, script = (STATIC / STYLE).read_text(), (STATIC / SCRIPT).read_text()
    policy = f"default-src 'none'; style-src 'sha256-{_hash(style)}'; script-src 'sha256-{_hash(script)}'"
    inline = {"style": Markup(style), "script": Markup(script), "policy": policy}  # noqa: S704 (our files)
    return _render(view, links, inline)


def _render(view: View, links: Links, inline: Mapping[str, str]) -> str:
    now = view.health.at

    def when(moment: datetime, age: bool = True) -> Markup:
        """A relative time; the exact one on hover and for programs."""
        exact = to_second(moment)
        text = ago(now - moment) if age else exact
        return Markup('<time datetime="{0}" title="{0}">{1}</time>').format(exact, escape(text))

    return TEMPLATES.get_template("page.html").render(
        view=view,
        health=view.health,
        when=when,
        runbooks=links.runbooks,
        airflow=links.airflow,
        dictionary=links.dictionary,
        inline=inline,
    )


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
