"""The text of a chat message."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from include.monitoring.alerts import chat
from include.monitoring.alerts.chat import SLACK, TEAMS, Dialect, Message
from include.monitoring.alerts.model import Effect, Notice, OpenAlert
from include.settings import AlertSettings

NOW = datetime(2026, 11, 23, 14, 30, tzinfo=UTC)
SETTINGS = AlertSettings(airflow_url="http://airflow.test/", runbook_url="https://docs.test/runbooks/")
LAG = OpenAlert(
    key="kafka_lag",
    condition="kafka_lag",
    severity="error",
    title="Kafka lag is high",
    since=NOW - timedelta(minutes=25),
    notified_at=NOW,
    value="2,345",
    threshold="> 1,000, catalogue",
    details=("slowest partition 2,000 messages",),
    run_url="http://airflow.test/dags/pipeline_monitor/runs/x",
)


def message(*alerts: OpenAlert, dialect: Dialect = SLACK, subject: str = "[lake] new") -> Message:
    return chat.render(
        [Notice(str(n), "start", alert, NOW) for n, alert in enumerate(alerts)], subject, SETTINGS, dialect
    )


def whole(shown: Message) -> str:
    return "\n".join([shown.title, *shown.entries])


def test_an_entry_has_value_threshold_time_and_links() -> None:
    shown = message(LAG)
    assert shown.title == "*[lake] new*"
    assert shown.entries == (
        "New, *error: Kafka lag is high*\n"
        "2,345 (alarms when &gt; 1,000), since 2026-11-23T14:05:00Z\n"
        "slowest partition 2,000 messages\n"
        "<https://docs.test/runbooks/kafka_lag.md|Runbook>, "
        "<http://airflow.test/dags/pipeline_monitor/runs/x|Run in Airflow>",
    )


def test_teams_gets_markdown() -> None:
    (entry,) = message(replace(LAG, details=("a_b _c *d*",)), dialect=TEAMS).entries
    assert "**error: Kafka lag is high**" in entry
    assert "[Runbook](https://docs.test/runbooks/kafka_lag.md)" in entry
    assert r"a_b \_c \*d\*" in entry


def test_entries_that_do_not_fit_are_counted() -> None:
    shown = message(*(replace(LAG, key=str(n), details=("A fact. " * 30,)) for n in range(60)))
    assert len(whole(shown)) <= chat.LONGEST
    match = re.fullmatch(
        r"and (\d+) more, see <http://airflow.test/plugin/pipeline-health\|Pipeline Health>", shown.entries[-1]
    )
    assert match is not None
    assert int(match[1]) + len(shown.entries) - 1 == 60


def test_a_long_detail_ends_with_a_whole_sentence() -> None:
    (entry,) = message(replace(LAG, details=("One fact. " * 60, "second", "third"))).entries
    lines = entry.splitlines()
    assert lines[2].endswith("One fact.")
    assert lines[3] == "the rest of the details is in the mail"
    (entry,) = message(replace(LAG, details=("x" * 5000,))).entries
    assert "x" not in entry.splitlines()[2].replace("the rest of the details is in the mail", "")


def test_secrets_are_not_shown() -> None:
    assert "hunter2" not in whole(message(replace(LAG, details=("password=hunter2",), value="token=hunter2")))


def test_consequences_are_named_and_counted() -> None:
    effects = tuple(Effect(str(n), "error", f"effect {n}", "", NOW) for n in range(8))
    (entry,) = message(replace(LAG, effects=effects)).entries
    assert "Consequence: effect 4\nand 3 more consequences" in entry


@pytest.mark.parametrize("dialect", [SLACK, TEAMS], ids=["Slack", "Teams"])
@given(st.lists(st.text(max_size=400), max_size=12))
def test_any_text_fits_and_keeps_its_links(dialect: Dialect, texts: list[str]) -> None:
    alerts = [replace(LAG, title=text or "t", details=(text, text), value=text) for text in texts] or [LAG]
    shown = message(*alerts, dialect=dialect, subject=" ".join(texts))
    assert len(whole(shown)) <= chat.LONGEST + 100
    for entry in shown.entries:
        assert "Runbook" in entry or entry.startswith("and ")
