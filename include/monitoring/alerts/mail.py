"""The text of a mail: what happened, value against threshold, since when, what to do, where to look.

One mail contains all notices that wait. Its plain text and its HTML have the same content. Texts
of other programs (errors, test messages, rows) are escaped, and secrets in them are replaced.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape

from include.catalogue import CONDITIONS
from include.instants import span, to_second
from include.monitoring.alerts.model import Effect, Notice, NoticeKind, OpenAlert
from include.reasons import without_secrets
from include.settings import AlertSettings

LONGEST_DETAIL = 2_000
MOST_DETAILS = 25
JUST_NOW = timedelta(minutes=1)
PLACES = {"Alert board": "/dags/pipeline_monitor", "Pipeline Health": "/plugin/pipeline-health"}
"""Pages of the Airflow UI that every mail links to."""

HEADINGS: dict[NoticeKind, str] = {"start": "New", "reminder": "Still open", "recovery": "Over"}
"""Kinds of notices in their order, with the word above them."""


@dataclass(frozen=True, slots=True)
class Mail:
    """A message ready to be sent. `id` is the same in each attempt, so that a mail server can recognise a repeat."""

    subject: str
    text: str
    html: str
    id: str = ""


def render(notices: Sequence[Notice], settings: AlertSettings, environment: str, now: datetime) -> Mail:
    """One mail about all `notices` (at least one)."""
    groups = {kind: [notice for notice in notices if notice.kind == kind] for kind in HEADINGS}
    texts, htmls = [], []
    for kind, members in groups.items():
        if members:
            texts.append(f"{HEADINGS[kind].upper()}\n")
            htmls.append(f"<h2>{HEADINGS[kind]}</h2>")
        for notice in members:
            facts = _facts(notice, settings, now)
            texts.append(_as_text(notice.alert, facts))
            htmls.append(_as_html(notice.alert, facts))
    links = {title: f"{settings.airflow_url.rstrip('/')}{path}" for title, path in PLACES.items()}
    texts.append("".join(f"{title}: {link}\n" for title, link in links.items()))
    htmls += [f'<p><a href="{escape(link)}">{title}</a></p>' for title, link in links.items()]
    return Mail(_subject(notices, environment), "\n".join(texts), _page("\n".join(htmls)), notices[0].batch or "")


def _subject(notices: Sequence[Notice], environment: str) -> str:
    """The subject of a message about `notices` (at least one)."""
    ordered = in_order(notices)
    prefix = f"[crypto-lakehouse {environment}]"
    first = " ".join(ordered[0].alert.title.split())  # a header is one line
    if len(ordered) == 1:
        word = {"start": "", "reminder": "still: ", "recovery": "over: "}[ordered[0].kind]
        return f"{prefix} {word}{first}"
    words = {"start": "new", "reminder": "still open", "recovery": "over"}
    numbers = {kind: sum(notice.kind == kind for notice in ordered) for kind in HEADINGS}
    counts = ", ".join(f"{number} {words[kind]}" for kind, number in numbers.items() if number)
    return f"{prefix} {counts}: {first}, ..."


def in_order(notices: Sequence[Notice]) -> list[Notice]:
    """The notices with the starts first."""
    return [notice for kind in HEADINGS for notice in notices if notice.kind == kind]


def _facts(notice: Notice, settings: AlertSettings, now: datetime) -> list[tuple[str, str]]:
    """Labels and values, in the order in which a reader needs them. A value that is a link begins with http."""
    alert, condition = notice.alert, CONDITIONS[notice.alert.condition]
    facts = [("What it means", condition.meaning)]
    if alert.value:
        facts.append(("Value", alert.value))
    if alert.threshold:
        facts.append(("Alarms when", alert.threshold))
    end = notice.at if notice.kind == "recovery" else now
    since, duration = to_second(alert.begin_at), end - alert.begin_at
    facts.append(("Since", since if duration < JUST_NOW else f"{since} ({span(duration)})"))
    facts.append(("Detected", to_second(alert.since)))
    if notice.kind == "recovery":
        facts.append(("Over at", to_second(notice.at)))
    facts += [("Detail", _shortened(detail)) for detail in alert.details[:MOST_DETAILS]]
    if len(alert.details) > MOST_DETAILS:
        facts.append(("Detail", f"and {len(alert.details) - MOST_DETAILS} more in the task's log"))
    facts += [("Consequence", consequence(effect)) for effect in alert.effects or ()]
    facts.append(("What to do", f"{settings.runbook_url}{condition.runbook}"))
    if alert.run_url:
        facts.append(("Run", alert.run_url))
    return [(label, without_secrets(value)) for label, value in facts]


def consequence(effect: Effect) -> str:
    """One line about a consequence of an alert."""
    over = f", over at {to_second(effect.ended_at)}" if effect.ended_at else ""
    value = f": {effect.value}" if effect.value else ""
    return f"{effect.severity}: {effect.title}{value}, since {to_second(effect.began_at)}{over}"


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_DETAIL else f"{text[:LONGEST_DETAIL]} ... ({len(text):,} characters)"


def _as_text(alert: OpenAlert, facts: Sequence[tuple[str, str]]) -> str:
    lines = [f"{alert.severity}: {alert.title}"]
    lines += [f"  {label}: " + value.replace("\n", "\n    ") for label, value in facts]
    return "\n".join(lines) + "\n"


def _as_html(alert: OpenAlert, facts: Sequence[tuple[str, str]]) -> str:
    rows = "".join(
        f'<tr><th align="left" valign="top">{escape(label)}</th><td>{_cell(value)}</td></tr>' for label, value in facts
    )
    return f"<h3>{escape(alert.severity)}: {escape(alert.title)}</h3><table>{rows}</table>"


def _cell(value: str) -> str:
    if re.fullmatch(r"https?://\S+", value):
        return f'<a href="{escape(value)}">{escape(value)}</a>'
    return f'<span style="white-space: pre-wrap">{escape(value)}</span>'


def _page(body: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"></head>'
        f'<body style="font-family: sans-serif; font-size: 14px">\n{body}\n</body></html>'
    )
