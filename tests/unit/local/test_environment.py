"""The demo's environment is complete and private, and has nothing of the developer's own accounts."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.local import environment
from include.local.start import DAGS
from include.on_airflow import watched_dags
from include.settings import LocalSettings, load

NAMES = st.from_regex(r"[A-Z][A-Z0-9_]{0,20}", fullmatch=True)
VALUES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40)


@given(values=st.dictionaries(NAMES, VALUES, max_size=8))
def test_the_file_returns_what_was_written(tmp_path_factory: pytest.TempPathFactory, values: dict[str, str]) -> None:
    path = tmp_path_factory.mktemp("environment") / "environment"
    environment.write(path, values)
    assert environment.read(path) == values
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_accounts_of_the_developer_stay_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("AIRFLOW_HOME", "/home/me/airflow")
    inherited = environment.inherited()
    assert "AWS_PROFILE" not in inherited
    assert "AIRFLOW_HOME" not in inherited


def test_set_values_win_and_the_secret_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SIMULATOR_HISTORY_HOURS", "6")
    monkeypatch.setenv("AIRFLOW_HOME", "/home/me/airflow")
    local = LocalSettings(state=tmp_path)
    first = environment.build(local, "127.0.0.1:1", built_in_broker=False, previous={})
    again = environment.build(local, "127.0.0.1:1", built_in_broker=False, previous=first)
    assert first["SIMULATOR_HISTORY_HOURS"] == "6"
    assert first["AIRFLOW_HOME"] == str(tmp_path / "airflow")
    assert first["AIRFLOW__API_AUTH__JWT_SECRET"] == again["AIRFLOW__API_AUTH__JWT_SECRET"]
    assert len(first["AIRFLOW__API_AUTH__JWT_SECRET"]) == 128
    assert "CONSUMER_ALLOW_CREATE_TIME" not in first


def test_only_the_built_in_broker_relaxes_the_consumer(tmp_path: Path) -> None:
    built = environment.build(LocalSettings(state=tmp_path), "127.0.0.1:1", built_in_broker=True, previous={})
    assert built["CONSUMER_ALLOW_CREATE_TIME"] == built["CONSUMER_ALLOW_MISSING_TOPIC_ID"] == "true"


def test_no_dag_that_stays_paused_in_the_demo_is_a_problem_there(tmp_path: Path) -> None:
    values = environment.build(LocalSettings(state=tmp_path), "127.0.0.1:1", built_in_broker=False, previous={})
    with environment.applied(values):
        paused = set(load().monitor.paused_dags)
        promised = {dag.dag_id for dag in watched_dags.watched() if dag.schedule or dag.starts}
    assert promised - set(DAGS) == paused


def test_the_settings_of_the_running_demo_win_over_this_terminals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_TOPIC", "quotes")
    monkeypatch.setenv("SIMULATOR_SEED", "7")
    local = LocalSettings(state=tmp_path, airflow_port=28123, broker="built-in")
    values = environment.build(local, "127.0.0.1:1", built_in_broker=True, previous={})
    monkeypatch.setenv("KAFKA_TOPIC", "another")
    monkeypatch.setenv("S3_STATE_PREFIX", "another/")
    other_terminal = LocalSettings(state=tmp_path, airflow_port=29999, aws_port=29998)
    assert environment.running_stack(other_terminal, values) == local
    with environment.applied(values):
        settings = load()
    assert (settings.kafka.topic, settings.simulator.seed, settings.storage.state_prefix) == ("quotes", 7, "state/")


def test_an_address_of_kafka_in_the_shell_does_not_replace_the_demos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The default address is taken for the demo's own, also when the demo's broker has another port."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:19092")
    values = environment.build(LocalSettings(state=tmp_path), "127.0.0.1:1", built_in_broker=False, previous={})
    assert values["KAFKA_BOOTSTRAP_SERVERS"] == "127.0.0.1:1"
