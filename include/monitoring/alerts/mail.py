"""The text of a mail: what users notice, what to do first, value against threshold, since when, where to look.

One mail contains all notices that wait. Its plain text and its HTML have the same content. The HTML is a column of
tables with inline styles, which Outlook and Gmail show, narrow enough for a phone; a style sheet adds dark colours.
Texts of other programs (errors, test messages, rows) are escaped, and secrets in them are replaced.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape

from msgspec import UNSET

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

SUBJECTS: dict[NoticeKind, str] = {"start": "", "reminder": "still ", "recovery": "over: "}
"""The same in a subject, before the severity and the title."""

FIRST_STEP, COMMAND = "First step", "Command"
"""Labels of the first step and of its command."""


@dataclass(frozen=True, slots=True)
class Mail:
    """A message ready to be sent. `id` is the same in each attempt, so that a mail server can recognise a repeat.

    `replies_to` has the ids of the mails about the starts of what this one continues. A mail about a start is no reply.
    """

    subject: str
    text: str
    html: str
    id: str = ""
    replies_to: tuple[str, ...] = ()


def render(
    notices: Sequence[Notice],
    settings: AlertSettings,
    environment: str,
    now: datetime,
    histories: Mapping[str, str] | None = None,
) -> Mail:
    """One mail about all `notices` (at least one). `histories`: a line about the last hours by condition."""
    groups = {kind: [notice for notice in notices if notice.kind == kind] for kind in HEADINGS}
    texts, htmls = [], []
    for kind, members in groups.items():
        if members:
            texts.append(f"{HEADINGS[kind].upper()}\n")
            htmls.append(f'<p style="{HEADING}">{HEADINGS[kind]}</p>')
        for notice in members:
            history = (histories or {}).get(notice.alert.condition, "")
            facts = _facts(notice, settings, now, history, environment)
            texts.append(_as_text(notice.alert, facts))
            htmls.append(_as_html(notice, facts))
    links = {title: f"{settings.airflow_url.rstrip('/')}{path}" for title, path in PLACES.items()}
    texts.append("".join(f"{title}: {link}\n" for title, link in links.items()))
    anchors = [f'<a href="{escape(link)}">{title}</a>' for title, link in links.items()]
    htmls.append(f'<p style="{FOOT}">{" &nbsp; ".join(anchors)}</p>')
    return Mail(
        _subject(notices, environment),
        "\n".join(texts),
        _page("\n".join(htmls)),
        notices[0].batch or "",
        _replies_to(notices),
    )


def _replies_to(notices: Sequence[Notice]) -> tuple[str, ...]:
    if any(notice.kind == "start" for notice in notices):
        return ()
    threads = (notice.alert.thread for notice in notices if notice.alert.thread is not UNSET)
    return tuple(dict.fromkeys(threads))


def _subject(notices: Sequence[Notice], environment: str) -> str:
    """The subject of a message about `notices` (at least one)."""
    ordered = in_order(notices)
    prefix = f"[crypto-lakehouse {environment}]"
    alert, kind = ordered[0].alert, ordered[0].kind
    first = " ".join(alert.heading.split())  # a header is one line
    if kind != "recovery":
        first = f"{alert.severity}: {first}"
    if len(ordered) == 1:
        return f"{prefix} {SUBJECTS[kind]}{first}"
    words = {"start": "new", "reminder": "still open", "recovery": "over"}
    numbers = {kind: sum(notice.kind == kind for notice in ordered) for kind in HEADINGS}
    counts = ", ".join(f"{number} {words[kind]}" for kind, number in numbers.items() if number)
    return f"{prefix} {counts}: {first}, ..."


def in_order(notices: Sequence[Notice]) -> list[Notice]:
    """The notices with the starts first."""
    return [notice for kind in HEADINGS for notice in notices if notice.kind == kind]


def _facts(
    notice: Notice, settings: AlertSettings, now: datetime, history: str, environment: str
) -> list[tuple[str, str]]:
    """Labels and values, in the order in which a reader needs them. A value that is a link begins with http."""
    alert, condition = notice.alert, CONDITIONS[notice.alert.condition]
    over = notice.kind == "recovery"
    facts = [] if over else [("Users notice", condition.notice), *_first_step(alert, environment)]
    facts += _times(notice, now)
    if over and condition.keeps_records:
        facts.append(("Lost", "nothing: each record is landed, or still in Kafka"))
    facts += [(label, value) for label, value in (("Value", alert.value), ("Alarms when", alert.limit)) if value]
    if history:
        facts.append(("Course", history))
    facts += [("Detail", _shortened(detail)) for detail in alert.details[:MOST_DETAILS]]
    if len(alert.details) > MOST_DETAILS:
        facts.append(("Detail", f"and {len(alert.details) - MOST_DETAILS} more in the task's log"))
    effects = sorted(alert.effects or (), key=lambda effect: effect.began_at)
    facts += [(relation(alert, effect), consequence(effect)) for effect in effects]
    if alert.silenced:
        facts.append(("Silenced", alert.silenced))
    facts.append(("What it means", condition.meaning))
    facts.append(("Runbook", f"{settings.runbook_url}{condition.runbook}"))
    if alert.run_url:
        facts.append(("Run in Airflow", alert.run_url))
    return [(label, without_secrets(value)) for label, value in facts]


def _first_step(alert: OpenAlert, environment: str) -> list[tuple[str, str]]:
    step = CONDITIONS[alert.condition].first_step
    return [(FIRST_STEP, step.text), (COMMAND, alert.command(environment))]


def _times(notice: Notice, now: datetime) -> list[tuple[str, str]]:
    alert, over = notice.alert, notice.kind == "recovery"
    since, duration = to_second(alert.begin_at), (notice.at if over else now) - alert.begin_at
    times = [("Since", since if duration < JUST_NOW else f"{since} ({span(duration)})")]
    times.append(("Detected", to_second(alert.since)))
    if over:
        times.append(("Over at", to_second(notice.at)))
    return times


def relation(alert: OpenAlert, effect: Effect) -> str:
    """The label of an effect; one of the same condition began with it and is no consequence of it."""
    return "Also" if effect.condition == alert.condition else "Consequence"


def consequence(effect: Effect) -> str:
    """One line about a consequence of an alert."""
    over = f", over at {to_second(effect.ended_at)}" if effect.ended_at else ""
    value = f": {effect.value}" if effect.value else ""
    return f"{effect.severity}: {effect.title}{value}, since {to_second(effect.began_at)}{over}"


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_DETAIL else f"{text[:LONGEST_DETAIL]} ... ({len(text):,} characters)"


def _as_text(alert: OpenAlert, facts: Sequence[tuple[str, str]]) -> str:
    lines = [f"{alert.severity}: {alert.heading}"]
    lines += [f"  {label}: " + value.replace("\n", "\n    ") for label, value in facts]
    return "\n".join(lines) + "\n"


FONT = "font-family: -apple-system, Segoe UI, Helvetica, Arial, sans-serif"
HEADING = "margin: 16px 0 4px; font-size: 13px; letter-spacing: 1px; text-transform: uppercase; color: #6b7280"
FOOT = "margin: 16px 0; font-size: 14px"
CARD = (
    "width: 100%; max-width: 640px; border: 1px solid #d1d5db; border-left: 6px solid; border-collapse: collapse; "
    "margin: 0 0 12px"
)
BLOCK = "padding: 10px 14px 0; font-size: 15px; line-height: 1.45"
TITLE = "padding: 12px 14px 0; font-size: 18px; line-height: 1.3; font-weight: bold"
LEFT = "padding: 5px 8px 0 14px; font-size: 13px; line-height: 1.45; color: #6b7280; white-space: nowrap"
RIGHT = "padding: 4px 14px 0 0; font-size: 15px; line-height: 1.45"
CODE = (
    "display: block; margin: 0; padding: 8px 10px; background: #f3f4f6; color: #111827; font-size: 13px; "
    "font-family: Consolas, Menlo, monospace; white-space: pre-wrap; overflow-wrap: anywhere; word-break: break-word"
)
WRAP = "white-space: pre-wrap; overflow-wrap: anywhere; word-break: break-word"
COLOURS = {"error": "#b91c1c", "warning": "#b45309", "over": "#15803d"}
"""Colour of the bar beside an alert. The severity is in the title, too."""
STYLE = (
    ":root { color-scheme: light dark } @media (prefers-color-scheme: dark) { "
    "body { background: #111827 !important; color: #e5e7eb !important } "
    ".card { border-top-color: #374151 !important; border-right-color: #374151 !important; "
    "border-bottom-color: #374151 !important } .label { color: #9ca3af !important } "
    ".code { background: #1f2937 !important; color: #e5e7eb !important } a { color: #93c5fd !important } }"
)
"""Mail programs without style sheets keep the light colours of the inline styles."""
SPACE = '<tr><td colspan="2" style="height: 12px"></td></tr>'


def _as_html(notice: Notice, facts: Sequence[tuple[str, str]]) -> str:
    alert = notice.alert
    colour = COLOURS["over" if notice.kind == "recovery" else alert.severity]
    title = f'<td colspan="2" style="{TITLE}">{escape(alert.severity)}: {escape(alert.heading)}</td>'
    rows = [f"<tr>{title}</tr>", *(_row(label, value) for label, value in facts), SPACE]
    attributes = 'role="presentation" class="card" cellpadding="0" cellspacing="0"'
    return f'<table {attributes} style="{CARD}; border-left-color: {colour}">{"".join(rows)}</table>'


def _row(label: str, value: str) -> str:
    """The first facts have the whole width and no label; the others have their label beside them."""
    text = f'<span style="{WRAP}">{escape(value)}</span>'
    if label == COMMAND:
        text = f'<code class="code" style="{CODE}">{escape(value)}</code>'
    if label == FIRST_STEP:
        text = f'<span style="{WRAP}">First: {escape(value[0].lower() + value[1:])}</span>'
    if label in {"Users notice", FIRST_STEP, COMMAND, "Course"}:
        return f'<tr><td colspan="2" style="{BLOCK}">{text}</td></tr>'
    if re.fullmatch(r"https?://\S+", value):
        return f'<tr><td colspan="2" style="{BLOCK}"><a href="{escape(value)}">{escape(label)}</a></td></tr>'
    heading = f'<td class="label" valign="top" style="{LEFT}">{escape(label)}</td>'
    return f'<tr>{heading}<td valign="top" width="99%" style="{RIGHT}">{text}</td></tr>'


def _page(body: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><style>{STYLE}</style></head>'
        f'<body style="margin: 0; padding: 4px 12px; {FONT}">\n{body}\n</body></html>'
    )
