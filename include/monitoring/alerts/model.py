"""The alert state: which conditions are open, and which notices wait to be delivered.

One object for the whole pipeline (`state/alerts.json`), shared by the monitor and by the
failure callbacks of the other DAGs, so that nobody is told twice. It holds an outbox: a
notice is written here together with the transition that causes it, and leaves when a mail
server has taken it. So a crash or a broken mail server delays a mail, but loses none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal, Self

from include.catalogue import Severity
from include.instants import from_text, to_text

NoticeKind = Literal["start", "reminder", "recovery"]


@dataclass(frozen=True, slots=True)
class OpenAlert:
    """One condition (or one failing test, or one failed task) that is open now.

    `key` is the condition's name, with `:subject` behind it where one condition can be open
    for several things at once. `value` and `threshold` are texts with units, as last seen.
    """

    key: str
    condition: str
    severity: Severity
    title: str
    since: datetime
    notified_at: datetime
    value: str = ""
    threshold: str = ""
    details: tuple[str, ...] = ()
    run_url: str = ""
    raised_by: str = "pipeline_monitor"
    task: str = ""
    """`dag_id/task_id`, the failed task that raised it: the alert is over when it has succeeded again. Of a late run
    the first task: the alert is over, too, when it has succeeded in another run."""
    successes: int | None = None
    """How many instances of that task had succeeded then, those of `run` left out; None: not known yet."""
    run: str = ""
    """`dag_id/run_id` of a run that takes too long: the alert is over when it ends well, and never before it ends."""

    def to_json(self) -> dict[str, Any]:
        """As it stands in the object."""
        content = asdict(self) | {
            "since": to_text(self.since),
            "notified_at": to_text(self.notified_at),
            "details": list(self.details),
        }
        if not self.run:
            del content["run"]  # a process of an earlier release, which does not know it, can read the others
        return content

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        times = {"since": from_text(content["since"]), "notified_at": from_text(content["notified_at"])}
        return cls(**{**content, **times, "details": tuple(content["details"])})


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to tell people about one alert. `claimed_until`: somebody is sending it right now."""

    id: str
    kind: NoticeKind
    alert: OpenAlert
    at: datetime
    attempts: int = 0
    claimed_until: datetime | None = None
    last_error: str = ""

    def to_json(self) -> dict[str, Any]:
        """As it stands in the object."""
        return {
            "id": self.id,
            "kind": self.kind,
            "alert": self.alert.to_json(),
            "at": to_text(self.at),
            "attempts": self.attempts,
            "claimed_until": to_text(self.claimed_until) if self.claimed_until else None,
            "last_error": self.last_error,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        claimed = content["claimed_until"]
        return cls(
            id=content["id"],
            kind=content["kind"],
            alert=OpenAlert.from_json(content["alert"]),
            at=from_text(content["at"]),
            attempts=int(content["attempts"]),
            claimed_until=from_text(claimed) if claimed else None,
            last_error=content["last_error"],
        )


@dataclass(frozen=True, slots=True)
class AlertState:
    """Open alerts by key, and the outbox in the order things happened."""

    open: Mapping[str, OpenAlert] = field(default_factory=dict)
    outbox: tuple[Notice, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The object's content; times are ISO 8601, UTC."""
        return {
            "open": {key: alert.to_json() for key, alert in self.open.items()},
            "outbox": [notice.to_json() for notice in self.outbox],
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`.

        Raises:
            ValueError: the content is not an alert state.
        """
        try:
            return cls(
                open={key: OpenAlert.from_json(alert) for key, alert in content["open"].items()},
                outbox=tuple(Notice.from_json(notice) for notice in content["outbox"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"no alert state ({type(error).__name__}: {error}); delete the object to start afresh"
            ) from error
