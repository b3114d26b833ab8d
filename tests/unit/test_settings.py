"""A wrong setting is refused with its name, its value and what is allowed."""

from __future__ import annotations

import re

import pytest
from pydantic_settings import BaseSettings

from include import settings, settings_reference


@pytest.mark.parametrize(
    ("variable", "value", "group", "says"),
    [
        (
            "CONSUMER_BATCH_RECORDS",
            "0",
            settings.ConsumerSettings,
            "CONSUMER_BATCH_RECORDS='0': .*greater than or equal",
        ),
        ("CONSUMER_COMPRESSION", "zip", settings.ConsumerSettings, "CONSUMER_COMPRESSION='zip': .*'none' or 'gzip'"),
        ("S3_DATA_PREFIX", "crypto_data", settings.StorageSettings, "S3_DATA_PREFIX='crypto_data': must end with '/'"),
        ("KAFKA_SECURITY_PROTOCOL", "SASL_SSL", settings.KafkaSettings, "needs KAFKA_SASL_MECHANISM"),
        ("LOCAL_AIRFLOW_PORT", "80", settings.LocalSettings, "LOCAL_AIRFLOW_PORT='80'"),
    ],
)
def test_wrong_value_is_named(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, group: type[BaseSettings], says: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(settings.SettingsError, match=says):
        settings.load_group(group)


def test_password_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    monkeypatch.setenv("KAFKA_SASL_PASSWORD", "hunter2-hunter2")
    with pytest.raises(settings.SettingsError) as caught:
        settings.load_group(settings.KafkaSettings)
    assert "hunter2" not in str(caught.value)
    monkeypatch.setenv("KAFKA_SASL_MECHANISM", "PLAIN")
    monkeypatch.setenv("KAFKA_SASL_USERNAME", "lakehouse")
    kafka = settings.load_group(settings.KafkaSettings)
    assert "hunter2" not in repr(kafka)
    assert kafka.client_config()["sasl.password"] == "hunter2-hunter2"


@pytest.mark.parametrize(
    "value",
    [
        '["ssl.key.password=hunter2"]',
        '{"ssl.key.password": ["hunter2"]}',
        '{"ssl.key.password=hunter2": null}',
        '"hunter2"',
        "{hunter2",
    ],
)
def test_wrong_options_are_refused_by_name_and_never_shown(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("KAFKA_OPTIONS", value)
    with pytest.raises(settings.SettingsError) as caught:
        settings.load_group(settings.KafkaSettings)
    assert re.match("KAFKA_OPTIONS: .*JSON object", str(caught.value))
    assert "hunter2" not in str(caught.value).lower()
    assert str(caught.value).count("KAFKA_OPTIONS") == 1
    assert caught.value.__suppress_context__, "the cause shows the value"


def test_right_options_are_not_shown_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_OPTIONS", '{"ssl.key.password": "hunter2"}')
    assert "hunter2" not in repr(settings.load_group(settings.KafkaSettings))


def test_list_that_is_no_json_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALERT_EMAILS", "me@example.com")
    with pytest.raises(settings.SettingsError, match=r"^ALERT_EMAILS: not JSON \(JSON list of addresses"):
        settings.load_group(settings.AlertSettings)


def test_librdkafka_options_come_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_OPTIONS", '{"client.id": "lake", "bootstrap.servers": "elsewhere:9092"}')
    config = settings.load_group(settings.KafkaSettings).client_config()
    assert config["client.id"] == "lake"
    assert config["bootstrap.servers"] == "elsewhere:9092"


def test_every_setting_is_described_and_ends_in_a_full_stop() -> None:
    groups = [value for value in vars(settings).values() if isinstance(value, type) and issubclass(value, BaseSettings)]
    undescribed = [
        f"{group.__name__}.{name}"
        for group in groups
        for name, field in group.model_fields.items()
        if not re.search(r"\.$", field.description or "")
    ]
    assert undescribed == []


def test_reference_is_up_to_date() -> None:
    assert settings_reference.PAGE.read_text() == settings_reference.page(), "run make settings-reference"
