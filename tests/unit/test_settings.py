"""A wrong setting is refused with its name, its value and what is allowed."""

from __future__ import annotations

import re
from itertools import permutations

import pytest
from pydantic_settings import BaseSettings

from include import settings, settings_reference
from include.assets import coins


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
        ("CONSUMER_PUT_TIMEOUT_SECONDS", "inf", settings.ConsumerSettings, "_SECONDS='inf': .*finite"),
        ("CONSUMER_PUT_TIMEOUT_SECONDS", "nan", settings.ConsumerSettings, "_SECONDS='nan': .*finite"),
        ("WAREHOUSE_TRANSFORM_DEADLINE_MINUTES", "inf", settings.WarehouseSettings, "_MINUTES='inf': .*finite"),
        ("AWS_DEFAULT_REGION", "us-east-1 ", settings.AwsSettings, "AWS_DEFAULT_REGION='us-east-1 ': .*pattern"),
        ("AWS_ENDPOINT_URL", "http://s3:1\n", settings.AwsSettings, "must be http://"),
        ("AWS_ENDPOINT_URL", "http://s3/\x7f", settings.AwsSettings, "must be http://"),
        *(
            ("AWS_ENDPOINT_URL", address, settings.AwsSettings, f"AWS_ENDPOINT_URL='{address}': must be http://")
            for address in (
                "localhost:14566",
                "s3",
                "ftp://s3",
                "http://",
                "http://s3:99999",
                "http://s3:port",
                "http://a b",
                "http://a..b",
            )
        ),
        ("PRODUCER_COINGECKO_URL", "api.coingecko.com", settings.ProducerSettings, "_URL='api.*': must be http://"),
        ("PRODUCER_COINMARKETCAP_URL", "http://cmc:port", settings.ProducerSettings, "_URL='http.*': must be http://"),
        ("SIMULATOR_FROZEN_SYMBOL", "NONE", settings.SimulatorSettings, "_SYMBOL='NONE': must be one of BTC, ETH, XRP"),
    ],
)
def test_a_wrong_value_is_named(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, group: type[BaseSettings], says: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(settings.SettingsError, match=says):
        settings.load_group(group)


PREFIXES = sorted(f"S3_{name.upper()}" for name in settings.StorageSettings.model_fields if name.endswith("_prefix"))
ODD_PREFIXES = [
    "/", "/a/", "a", "a//", "a//b/", "./", "../", "a/../b/", "a/./b/", ".a/", "a b/", "a\n/", "a/\n", "a*/", "a?/",
    "[a]/", "{a}/", "a'/", 'a"/', "a%2F/", "a\\/", "\u00e4/", "\u0663/", "s3://a/",
]  # fmt: skip


@pytest.mark.parametrize("variable", PREFIXES)
def test_a_prefix_that_is_not_normal_is_refused(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    for odd in ODD_PREFIXES:
        monkeypatch.setenv(variable, odd)
        with pytest.raises(settings.SettingsError, match=f"{variable}=.*must end with"):
            settings.load_group(settings.StorageSettings)


@pytest.mark.parametrize("prefix", ["a/", "lake/env=prod/v1.2_x-y/", "_a/", "2026/"])
def test_a_normal_prefix_is_taken(monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    monkeypatch.setenv("S3_DATA_PREFIX", prefix)
    assert settings.load_group(settings.StorageSettings).data_prefix == prefix


@pytest.mark.parametrize(("outer", "inner"), permutations(PREFIXES, 2))
@pytest.mark.parametrize("below", ["", "b/", "2026/11/"])
def test_a_prefix_inside_another_is_refused(
    monkeypatch: pytest.MonkeyPatch, outer: str, inner: str, below: str
) -> None:
    monkeypatch.setenv(outer, "a/")
    monkeypatch.setenv(inner, f"a/{below}")
    with pytest.raises(settings.SettingsError, match="is inside") as refused:
        settings.load_group(settings.StorageSettings)
    assert outer in str(refused.value)
    assert inner in str(refused.value)


def test_prefixes_with_the_same_beginning_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    for number, variable in enumerate(PREFIXES):
        monkeypatch.setenv(variable, f"a/b{'b' * number}/")
    assert len(set(settings.load_group(settings.StorageSettings).prefixes().values())) == len(PREFIXES)


@pytest.mark.parametrize("symbol", [coin.symbol for coin in coins()])
def test_every_coin_can_be_frozen(monkeypatch: pytest.MonkeyPatch, symbol: str) -> None:
    monkeypatch.setenv("SIMULATOR_FROZEN_SYMBOL", symbol)
    assert settings.load_group(settings.SimulatorSettings).frozen_symbol == symbol


@pytest.mark.parametrize("key", ["hunter2\n", " hunter2", "hunter2 hunter2", "hunter2\u00e9", "hunter2\x7f"])
def test_a_key_that_does_not_fit_into_a_header_is_never_shown(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("PRODUCER_COINMARKETCAP_API_KEY", key)
    with pytest.raises(settings.SettingsError, match=r"^PRODUCER_COINMARKETCAP_API_KEY: holds white space") as caught:
        settings.load_group(settings.ProducerSettings)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__suppress_context__, "the cause shows the value"


def test_a_key_of_printable_characters_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRODUCER_COINMARKETCAP_API_KEY", "!b54bcf4d-1bca~")
    key = settings.load_group(settings.ProducerSettings).coinmarketcap_api_key
    assert key is not None
    assert key.get_secret_value() == "!b54bcf4d-1bca~"


def test_a_password_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_right_options_are_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_OPTIONS", '{"ssl.key.password": "hunter2"}')
    assert "hunter2" not in repr(settings.load_group(settings.KafkaSettings))


def test_a_list_that_is_not_json_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALERT_EMAILS", "me@example.com")
    with pytest.raises(settings.SettingsError, match=r"^ALERT_EMAILS: not JSON \(JSON list of addresses"):
        settings.load_group(settings.AlertSettings)


def test_librdkafka_options_override_the_other_settings(monkeypatch: pytest.MonkeyPatch) -> None:
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


@pytest.mark.parametrize("address", ["http://127.0.0.1:14566", "https://s3.example.com", "https://[::1]:9000/base"])
def test_an_endpoint_may_be_http_or_https(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    assert settings.load_group(settings.AwsSettings).endpoint_url == address


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("CONSUMER_BATCH_RECORD", "CONSUMER_BATCH_RECORDS"),
        ("PRODUCER_SEND_UNCHANGD", "PRODUCER_SEND_UNCHANGED"),
        ("SIMULATOR_SEEDS", "SIMULATOR_SEED"),
        ("KAFKA_BOOTSTRAP_SERVER", "KAFKA_BOOTSTRAP_SERVERS"),
        ("S3_DATAPREFIX", "S3_DATA_PREFIX"),
        ("MONITOR_ENVIROMENT", "MONITOR_ENVIRONMENT"),
        ("alert_email", "ALERT_EMAILS"),
    ],
)
def test_a_misspelt_variable_is_reported_with_the_right_name(wrong: str, right: str) -> None:
    assert settings.misspelt([wrong, "PATH"]) == [f"{wrong.upper()} is not a setting; did you mean {right}?"]


def test_settings_and_variables_of_other_programs_are_not_misspelt() -> None:
    names = [
        f"{group.model_config.get('env_prefix', '')}{name.upper()}"
        for group in settings_reference.groups()
        for name in group.model_fields
    ]
    others = [
        "AWS_REGION", "AWS_ENDPOINT_URL_S3", "AWS_DEFAULT_REGIO", "KAFKA_OPTS", "KAFKA_HEAP_OPTS", "KAFKA_LOG4J_OPTS",
        "KAFKA_JMX_OPTS", "KAFKA_ADVERTISED_LISTENERS", "KAFKA_SERVICE_HOST", "KAFKA_PORT", "CONSUMER_PORT",
        "CONSUMER_SERVICE_HOST", "CONSUMER_SERVICE_PORT", "CONSUMER_PORT_9308_TCP", "CONSUMER_ROLE",
        "CONSUMER_POLICY_ARN", "PRODUCER_SERVICE_PORT_HTTP", "S3_ENDPOINT", "S3_USE_HTTPS", "MONITOR_PORT",
    ]  # fmt: skip
    assert settings.misspelt([*names, *map(str.lower, names), *others]) == []


def test_the_reference_shows_ranges() -> None:
    rows = {line.split("`")[1]: line for line in settings_reference.settings() if line.startswith("| `")}
    assert "| whole number, at least 1, at most 100000 |" in rows["CONSUMER_BATCH_RECORDS"]
    assert "| number, above 0, at most 1 |" in rows["MONITOR_BASELINE_SHARE"]
    assert "| text |" in rows["KAFKA_TOPIC"]
