"""The text of a chat message: short entries with their links, never cut in the middle of a sentence. Pure.

A chat is read on a phone, beside the mail that has everything. So each notice is one entry: what happened, the value
against the threshold, since when, and the links. Entries that do not fit are counted, with a link to all of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from include.catalogue import CONDITIONS
from include.instants import to_second
from include.monitoring.alerts.mail import HEADINGS, PLACES, in_order, relation
from include.monitoring.alerts.model import Notice
from include.reasons import without_secrets
from include.settings import AlertSettings

LONGEST = 3_000
"""Characters of a message. Slack cuts a text block there, and Teams refuses 28 kB."""
LONGEST_DETAIL = 300
"""A detail is shown as far as its whole sentences fit into this many characters."""
LONGEST_TITLE = 600
MOST_EFFECTS = 5
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n")


@dataclass(frozen=True, slots=True)
class Dialect:
    """The markup of one chat: how it escapes text, and writes bold text and a link (text, address)."""

    escape: Callable[[str], str]
    bold: Callable[[str], str]
    link: Callable[[str, str], str]
    newline: str


@dataclass(frozen=True, slots=True)
class Message:
    """A title and the entries below it, in the markup of the chat."""

    title: str
    entries: tuple[str, ...]


def _for_slack(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _for_teams(text: str) -> str:
    """An underscore inside a word marks nothing."""
    return re.sub(r"[\\*\[\]`]|(?<!\w)_|_(?!\w)", r"\\\g<0>", text)


SLACK = Dialect(_for_slack, lambda text: f"*{text}*", lambda text, url: f"<{_for_slack(url)}|{text}>", "\n")
TEAMS = Dialect(_for_teams, lambda text: f"**{text}**", lambda text, url: f"[{text}]({url})", "\n\n")


def render(notices: Sequence[Notice], subject: str, settings: AlertSettings, dialect: Dialect) -> Message:
    """One message about all `notices`; its title is the subject of the mail about them."""
    title = dialect.bold(dialect.escape(_whole(without_secrets(subject), LONGEST_TITLE) or f"{len(notices)} notices"))
    base = settings.airflow_url.rstrip("/")
    everything = dialect.link("Pipeline Health", f"{base}{PLACES['Pipeline Health']}")
    entries: list[str] = []
    room = LONGEST - len(title) - len(f"and 1,000 more, see {everything}")
    ordered = in_order(notices)
    for notice in ordered:
        entry = _entry(notice, settings, dialect)
        room -= len(entry) + len(dialect.newline) + 1
        if room < 0:
            entries.append(f"and {len(ordered) - len(entries)} more, see {everything}")
            break
        entries.append(entry)
    return Message(title, tuple(entries))


def _entry(notice: Notice, settings: AlertSettings, dialect: Dialect) -> str:
    alert, condition = notice.alert, CONDITIONS[notice.alert.condition]
    name = _whole(" ".join(alert.heading.split()), LONGEST_TITLE) or condition.title
    lines = [f"{HEADINGS[notice.kind]}, {dialect.bold(dialect.escape(without_secrets(f'{alert.severity}: {name}')))}"]
    value = _whole(alert.value, LONGEST_TITLE)
    limit = f" (alarms when {alert.limit})" if alert.limit else ""
    times = f"since {to_second(alert.begin_at)}"
    if notice.kind == "recovery":
        times += f", over at {to_second(notice.at)}"
    texts = [f"{value}{limit}, {times}" if value else times, *_details(alert.details)]
    effects = alert.effects or ()
    texts += [f"{relation(alert, effect)}: {effect.title}" for effect in effects[:MOST_EFFECTS]]
    if len(effects) > MOST_EFFECTS:
        texts.append(f"and {len(effects) - MOST_EFFECTS} more consequences")
    lines += [dialect.escape(without_secrets(text)) for text in texts]
    links = [dialect.link("Runbook", f"{settings.runbook_url}{condition.runbook}")]
    if alert.run_url:
        links.append(dialect.link("Run in Airflow", alert.run_url))
    return dialect.newline.join([*lines, ", ".join(links)])


def _details(details: Sequence[str]) -> list[str]:
    """The first detail, as far as whole sentences fit, and the number of the others."""
    if not details:
        return []
    text = _whole(details[0], LONGEST_DETAIL)
    rest = len(details) - 1
    more = f"{rest} more details are in the mail" if rest > 1 else "one more detail is in the mail" if rest else ""
    if text != details[0]:
        more = "the rest of the details is in the mail"
    return [line for line in (text, more) if line]


def _whole(text: str, longest: int) -> str:
    """The sentences and lines of the text that fit; empty when the first one alone is too long."""
    if len(text) <= longest:
        return text
    kept = ""
    for part in _SENTENCE_END.split(text):
        if len(kept) + len(part) + 1 > longest:
            break
        kept = f"{kept} {part}".strip()
    return kept
