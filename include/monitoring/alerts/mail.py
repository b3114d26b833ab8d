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
from include.monitoring.alerts.model import Notice, NoticeKind, OpenAlert
from include.reasons import without_secrets
from include.settings import AlertSettings

LONGEST_DETAIL = 2_000
MOST_DETAILS = 25
JUST_NOW = timedelta(minutes=1)
PLACES = {"Alert board": "/dags/pipeline_monitor", "Pipeline Health": "/plugin/pipeline-health"}
"""Pages of the Airflow UI that every mail links to."""

_HEADINGS: dict[NoticeKind, str] = {"start": "New", "reminder": "Still open", "recovery": "Over"}


@dataclass(frozen=True, slots=True)
class Mail:
    """A message ready to be sent."""

    subject: str
    text: str
    html: str


def render(notices: Sequence[Notice], settings: AlertSettings, environment: str, now: datetime) -> Mail:
    """One mail about all `notices` (at least one)."""
    groups = {kind: [notice for notice in notices if notice.kind == kind] for kind in _HEADINGS}
    texts, htmls = [], []
    for kind, members in groups.items():
        if members:
            texts.append(f"{_HEADINGS[kind].upper()}\n")
            htmls.append(f"<h2>{_HEADINGS[kind]}</h2>")
        for notice in members:
            facts = _facts(notice, settings, now)
            texts.append(_as_text(notice.alert, facts))
            htmls.append(_as_html(notice.alert, facts))
    links = {title: f"{settings.airflow_url.rstrip('/')}{path}" for title, path in PLACES.items()}
    texts.append("".join(f"{title}: {link}\n" for title, link in links.items()))
    htmls += [f'<p><a href="{escape(link)}">{title}</a></p>' for title, link in links.items()]
    return Mail(_subject(groups, environment), "\n".join(texts), _page("\n".join(htmls)))


def _subject(groups: dict[NoticeKind, list[Notice]], environment: str) -> str:
    notices = [notice for members in groups.values() for notice in members]
    prefix = f"[crypto-lakehouse {environment}]"
    first = " ".join(notices[0].alert.title.split())  # a header is one line
    if len(notices) == 1:
        word = {"start": "", "reminder": "still: ", "recovery": "over: "}[notices[0].kind]
        return f"{prefix} {word}{first}"
    words = {"start": "new", "reminder": "still open", "recovery": "over"}
    counts = ", ".join(f"{len(members)} {words[kind]}" for kind, members in groups.items() if members)
    return f"{prefix} {counts}: {first}, ..."


def _facts(notice: Notice, settings: AlertSettings, now: datetime) -> list[tuple[str, str]]:
    """Labels and values, in the order in which a reader needs them. A value that is a link begins with http."""
    alert, condition = notice.alert, CONDITIONS[notice.alert.condition]
    facts = [("What it means", condition.meaning)]
    if alert.value:
        facts.append(("Value", alert.value))
    if alert.threshold:
        facts.append(("Alarms when", alert.threshold))
    end = notice.at if notice.kind == "recovery" else now
    since, duration = to_second(alert.since), end - alert.since
    facts.append(("Since", since if duration < JUST_NOW else f"{since} ({span(duration)})"))
    if notice.kind == "recovery":
        facts.append(("Over at", to_second(notice.at)))
    facts += [("Detail", _shortened(detail)) for detail in alert.details[:MOST_DETAILS]]
    if len(alert.details) > MOST_DETAILS:
        facts.append(("Detail", f"and {len(alert.details) - MOST_DETAILS} more in the task's log"))
    facts.append(("What to do", f"{settings.runbook_url}{condition.runbook}"))
    if alert.run_url:
        facts.append(("Run", alert.run_url))
    return [(label, without_secrets(value)) for label, value in facts]


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
