"""What a mail says about an incident, and the line of the scoreboard. Pure: no clock, no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage

from include.catalogue import CONDITIONS

FIRST_LINES = 3
"""A reader sees about so many lines of a mail's text in a notification: heading, title, what users notice."""
MOST_TICKS = 2


@dataclass(frozen=True, slots=True)
class SeenMail:
    """One mail: when it arrived, its subject and its plain text."""

    at: datetime
    subject: str
    text: str

    @classmethod
    def of(cls, message: EmailMessage, at: datetime) -> SeenMail:
        """The mail of a message with a plain-text part."""
        body = message.get_body(("plain",))
        assert body is not None
        lines = body.get_content().splitlines()  # SMTP ends a line with two characters
        return cls(at, " ".join(str(message["Subject"]).split()), "\n".join(lines).strip())

    @property
    def is_end(self) -> bool:
        """Whether it only says that something is over."""
        return self.text.splitlines()[0] == "OVER"

    def names_first(self, cause: str) -> bool:
        """Whether subject and first lines name the alert with the key `cause` before any other one."""
        title = title_of(cause)
        lines = [line.strip() for line in self.text.splitlines() if line.strip()][:FIRST_LINES]
        first_condition = self.subject.partition(": ")[2].removeprefix("error: ").removeprefix("warning: ")
        named = first_condition.startswith(title) and any(line.partition(": ")[2].startswith(title) for line in lines)
        return named and not any(other in self.subject for other in _other_titles(cause))


def title_of(cause: str) -> str:
    """The title of an alert with this key (`condition` or `condition:subject`)."""
    name, _, subject = cause.partition(":")
    return f"{CONDITIONS[name].title}: {subject}" if subject else CONDITIONS[name].title


def _other_titles(cause: str) -> list[str]:
    return [condition.title for name, condition in CONDITIONS.items() if name != cause.partition(":")[0]]


@dataclass(frozen=True, slots=True)
class Observed:
    """One incident as it went. Times are those of this machine's clock; None: it did not happen.

    `evidence_at`: when the pipeline could know it at the earliest, by its settings. `ticks`: when each run of the
    monitor began.
    """

    name: str
    cause: str
    broken_at: datetime
    evidence_at: datetime
    mended_at: datetime
    mails: Sequence[SeenMail]
    ticks: Sequence[datetime]
    quiet_at: datetime | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the scoreboard. Seconds are None without that mail. `ticks` is None when no monitor could mail."""

    name: str
    cause: str
    seconds_to_mail: float | None
    ticks: int | None
    starts: int
    ends: int
    cause_first: bool
    seconds_to_end: float | None
    note: str

    @property
    def good(self) -> bool:
        """One mail at the start and one at the end, the cause first, and in time."""
        in_time = self.ticks is not None and self.ticks <= MOST_TICKS
        return self.cause_first and (self.starts, self.ends) == (1, 1) and in_time

    def cells(self) -> tuple[str, ...]:
        """The cells of its row."""
        return (
            self.name,
            f"`{self.cause}`" if self.cause else "none",
            _seconds(self.seconds_to_mail),
            "-" if self.ticks is None else str(self.ticks),
            f"{self.starts} + {self.ends}",
            "yes" if self.cause_first else "no",
            _seconds(self.seconds_to_end),
            self.note,
        )


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def line_of(observed: Observed) -> Line:
    """The scoreboard's line about an incident. Mails that only end something are ends, all others starts."""
    starts = [mail for mail in observed.mails if not mail.is_end]
    ends = [mail for mail in observed.mails if mail.is_end]
    first = starts[0] if starts else None
    return Line(
        name=observed.name,
        cause=observed.cause,
        seconds_to_mail=(first.at - observed.broken_at).total_seconds() if first else None,
        ticks=sum(observed.evidence_at <= tick < first.at for tick in observed.ticks) if first else None,
        starts=len(starts),
        ends=len(ends),
        cause_first=bool(observed.cause) and first is not None and first.names_first(observed.cause),
        seconds_to_end=(ends[-1].at - observed.mended_at).total_seconds() if ends and observed.quiet_at else None,
        note=observed.note,
    )


HEADINGS = (
    "what broke", "cause that the mail must name", "s to the mail", "ticks", "mails", "cause first", "s to the end", "",
)  # fmt: skip


def table(lines: Sequence[Line]) -> str:
    """The scoreboard in Markdown."""
    rows = [HEADINGS, ("---",) * len(HEADINGS), *(line.cells() for line in lines)]
    return "\n".join("| " + " | ".join(row).strip() + " |" for row in rows)
