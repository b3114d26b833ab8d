"""The judge of the scoreboard `python -m tests.incidents`, and its shorter times."""

from __future__ import annotations

import importlib.util
from datetime import UTC, datetime, timedelta

import pytest

from include.catalogue import CONDITIONS
from include.monitoring.alerts import mail
from include.monitoring.alerts.model import Notice, NoticeKind, OpenAlert
from include.settings import PROJECT_ROOT, AlertSettings
from tests.incidents.incidents import INCIDENTS
from tests.incidents.judge import Observed, SeenMail, line_of, table, title_of
from tests.incidents.short_times.sitecustomize import SHORTER, shortened

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


def seconds(number: float) -> datetime:
    return NOON + timedelta(seconds=number)


def notice(kind: NoticeKind, cause: str) -> Notice:
    name, _, subject = cause.partition(":")
    alert = OpenAlert.begin(CONDITIONS[name], NOON, subject, value="1", threshold="> 0", details=())
    return Notice("id", kind, alert, NOON)


def seen(at: float, kind: NoticeKind, *causes: str) -> SeenMail:
    """A mail of the product about these alerts."""
    rendered = mail.render([notice(kind, cause) for cause in causes], AlertSettings(), "demo")
    return SeenMail(seconds(at), rendered.subject, rendered.text)


def observed(*mails: SeenMail, cause: str = "consumer_stalled") -> Observed:
    return Observed(
        name="consumer killed",
        cause=cause,
        broken_at=NOON,
        evidence_at=seconds(24),
        mended_at=seconds(100),
        mails=mails,
        ticks=[seconds(number) for number in range(0, 200, 20)],
        quiet_at=seconds(150),
    )


def test_one_mail_at_each_side_with_the_cause_first_is_good() -> None:
    line = line_of(observed(seen(60, "start", "consumer_stalled"), seen(140, "recovery", "consumer_stalled")))
    assert line.good
    assert (line.seconds_to_mail, line.ticks, line.seconds_to_end) == (60, 1, 40)
    assert "| consumer killed | `consumer_stalled` | 60 | 1 | 1 + 1 | yes | 40 |" in table([line])


@pytest.mark.parametrize(
    "mails",
    [
        [],
        [seen(60, "start", "stale_gold"), seen(140, "recovery", "stale_gold")],
        [seen(60, "start", "stale_gold", "consumer_stalled"), seen(140, "recovery", "consumer_stalled")],
        [seen(60, "start", "consumer_stalled")],
        [seen(90, "start", "consumer_stalled"), seen(140, "recovery", "consumer_stalled")],
        [seen(n, "start", "consumer_stalled") for n in (60, 70)] + [seen(140, "recovery", "consumer_stalled")],
    ],
    ids=["no mail", "another cause", "the cause comes second", "no end", "late", "two starts"],
)
def test_any_other_course_is_not_good(mails: list[SeenMail]) -> None:
    assert not line_of(observed(*mails)).good


def test_a_cause_with_a_subject_is_named_with_it() -> None:
    mails = [seen(60, "start", "dag_unhealthy:other"), seen(140, "recovery", "dag_unhealthy:other")]
    assert line_of(observed(*mails, cause="dag_unhealthy:other")).cause_first
    assert not line_of(observed(*mails, cause="dag_unhealthy:dead_letter_replay")).cause_first


def test_an_incident_without_a_mail_has_no_seconds() -> None:
    assert line_of(observed()).cells()[2:6] == ("-", "-", "0 + 0", "no")


def test_each_incident_names_a_cause_of_the_catalogue() -> None:
    assert len(INCIDENTS) == len({incident.name for incident in INCIDENTS}) == 12
    assert all(title_of(incident.cause) for incident in INCIDENTS)


@pytest.mark.parametrize("module", sorted(SHORTER))
def test_each_shortened_line_is_in_the_product(module: str) -> None:
    """The scoreboard would not start otherwise."""
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    assert spec.origin.startswith(str(PROJECT_ROOT))
    with open(spec.origin) as file:  # noqa: PTH123
        assert shortened(module, file.read())
