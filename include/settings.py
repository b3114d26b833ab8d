"""One typed settings tree, read from the environment.

Every program of the lakehouse (producer, consumer, monitor, deploy command, local stack) takes its settings from here.
The name, the default and the unit of a setting are therefore written once. `docs/settings.md` is generated from these
fields. dbt reads the same variables through `env_var()` in `include/dbt/profiles.yml`; a test compares the two.

Nothing is read at import time: call `load()` or `load_group()` at run time.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from itertools import permutations
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings import SettingsError as ParsingError

from include.assets import coins

PROJECT_ROOT = Path(__file__).resolve().parents[1]
DBT_PROJECT = PROJECT_ROOT / "include" / "dbt"


def _is_address(value: str) -> bool:
    """Whether the value is an http or https URL with a host and, if it names a port, a valid port."""
    try:
        parts = urlsplit(value)
        return (
            value.startswith(("http://", "https://"))
            and bool((parts.hostname or "").encode("idna"))
            and parts.port != 0
            and value.isprintable()
            and " " not in value
        )
    except ValueError:  # the port is no number or too large, or a part of the host's name is empty or too long
        return False


def _address(value: str | None) -> str | None:
    """The address, unchanged. With another value an HTTP client fails, and the S3 client panics, at its first request.

    Raises:
        ValueError: the value is not an address.
    """
    if value is not None and not _is_address(value):
        raise ValueError("must be http://host:port or https://host:port, like http://127.0.0.1:14566")
    return value


class SettingsError(ValueError):
    """A setting has a value that cannot be used; the text names variable, value and remedy."""


def _group(prefix: str) -> SettingsConfigDict:
    # Infinity is not a sensible value of any setting, and the bounds do not reliably refuse "not a number".
    return SettingsConfigDict(
        env_prefix=prefix, frozen=True, extra="ignore", env_ignore_empty=True, allow_inf_nan=False
    )


AUTO_CREATION = "allow.auto.create.topics"
"""A setting of librdkafka, true by default for producers and admin clients. With it, a mere look at a missing topic
makes a broker with `auto.create.topics.enable` (Kafka's default) create it: unfit for landing, or after a deletion."""
SET_BY_BROKERS = ("session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy")
"""Settings of librdkafka that it refuses with `group.protocol=consumer` (KIP-848), since the brokers have them then."""


class KafkaSettings(BaseSettings):
    """The address of Kafka, the topic and the consumer group."""

    model_config = _group("KAFKA_")

    bootstrap_servers: str = Field("127.0.0.1:19092", description="Comma-separated host:port list.")
    topic: str = Field("selected_crypto_data", description="Topic that carries the quotes.")
    group: str = Field("crypto-lakehouse", description="Consumer group that lands the topic in S3.")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="Transport and authentication."
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = Field(
        None, description="Mechanism of a SASL protocol, which requires it."
    )
    sasl_username: str | None = Field(None, description="SASL user.")
    sasl_password: SecretStr | None = Field(None, description="SASL password; never logged.")
    ssl_ca_location: str | None = Field(None, description="PEM file of the brokers' CA; default: the system's.")
    options: dict[str, str | int | float | bool] = Field(
        default_factory=dict,
        repr=False,  # it may contain the password of a key
        description="JSON object of further librdkafka settings of producer, consumer and command line. They override "
        "the settings above, but not those that delivery depends on (`consume` and `produce` name ignored options). "
        "`group.protocol=consumer` (KIP-848) works from Kafka 4.0 on. "
        "The monitor uses its Airflow connection instead.",
    )

    @model_validator(mode="after")
    def _sasl_is_complete(self) -> KafkaSettings:
        if self.security_protocol.startswith("SASL") and not (
            self.sasl_mechanism and self.sasl_username and self.sasl_password
        ):
            raise ValueError(
                f"KAFKA_SECURITY_PROTOCOL={self.security_protocol} needs KAFKA_SASL_MECHANISM, "
                "KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD"
            )
        return self

    def client_config(self) -> dict[str, Any]:
        """Settings common to every librdkafka client (producer, consumer, admin). None of them creates a topic."""
        config: dict[str, Any] = {
            "bootstrap.servers": self.bootstrap_servers,
            "security.protocol": self.security_protocol,
        }
        if self.sasl_mechanism:
            config["sasl.mechanism"] = self.sasl_mechanism
        if self.sasl_username:
            config["sasl.username"] = self.sasl_username
        if self.sasl_password:
            config["sasl.password"] = self.sasl_password.get_secret_value()
        if self.ssl_ca_location:
            config["ssl.ca.location"] = self.ssl_ca_location
        left_to_brokers = SET_BY_BROKERS if self.options.get("group.protocol") == "consumer" else ()
        options = {name: value for name, value in self.options.items() if name not in left_to_brokers}
        return config | options | {AUTO_CREATION: False}


PREFIX_PATTERN = r"([\w=-][\w.=-]*/)+"
"""A normal prefix: it names the same keys in S3, in a glob of DuckDB, in Athena's SQL and in an IAM policy. The stack's
template has the same pattern, which is ASCII there."""


class StorageSettings(BaseSettings):
    """The bucket and its prefixes. Every prefix ends with a slash, and none is inside another."""

    model_config = _group("S3_")

    bucket: str = Field("gaurav-hudi-data", min_length=3, max_length=63, description="Bucket of the lakehouse.")
    data_prefix: str = Field("crypto_data/", description="Landed batches; one prefix holds one topic.")
    dead_letter_prefix: str = Field("dead_letter/", description="Rejected messages, with full payload.")
    state_prefix: str = Field("state/", description="Small JSON objects: layer state, lag window, alert state.")
    test_history_prefix: str = Field("test_history/", description="Test results, a file for each dbt invocation.")
    warehouse_prefix: str = Field("warehouse/", description="Tables written by Athena.")
    audit_prefix: str = Field("audit/", description="Manifests of the audit, one for each day; never deleted.")
    query_results_prefix: str = Field("query_results/", description="Athena query results; expire by lifecycle rule.")

    @field_validator("*", mode="after")
    @classmethod
    def _prefixes_are_normal(cls, value: str, info: Any) -> str:
        if info.field_name.endswith("_prefix") and not re.fullmatch(PREFIX_PATTERN, value, re.ASCII):
            raise ValueError(
                "must end with '/' and consist of folders of letters, digits and _ . = - that do not begin with a dot, "
                "like 'crypto_data/' or 'lake/crypto_data/'"
            )
        return value

    @model_validator(mode="after")
    def _prefixes_do_not_nest(self) -> StorageSettings:
        """A prefix inside another would be listed and counted with it."""
        for (outer, prefix), (inner, other) in permutations(self.prefixes().items(), 2):
            if other.startswith(prefix):
                raise ValueError(
                    f"S3_{inner.upper()}={other!r} is inside S3_{outer.upper()}={prefix!r}, and would be listed with "
                    "it: give each prefix a folder of its own"
                )
        return self

    def prefixes(self) -> dict[str, str]:
        """All prefixes of the bucket, by the name of their field."""
        return {name: getattr(self, name) for name in type(self).model_fields if name.endswith("_prefix")}


class AwsSettings(BaseSettings):
    """Standard AWS variables. Credentials come from the usual AWS chain and are not read here."""

    model_config = _group("AWS_")

    default_region: str = Field(
        "us-east-1", pattern=r"^\S+$", description="Region of bucket, Athena and CloudWatch; no white space."
    )
    endpoint_url: str | None = Field(
        None, description="Endpoint of an emulator, http://... or https://...; unset on AWS."
    )

    _endpoint_is_an_address = field_validator("endpoint_url", mode="after")(_address)


class ConsumerSettings(BaseSettings):
    """Batching and delivery of the landing consumer."""

    model_config = _group("CONSUMER_")

    batch_records: int = Field(100, ge=1, le=100_000, description="Maximum of records in a file; also the cell size.")
    batch_bytes: int = Field(8 * 2**20, ge=1024, description="Maximum of bytes in a file.")
    batch_age_seconds: float = Field(
        60.0,
        gt=0,
        description="A batch is landed this long after its first record was read, even if it is not full. "
        "The monitor reports a commit as stalled when it does not advance for twice as long: give Airflow the same "
        "value. Above 600 on a slow topic, silence the alarm low_throughput (docs/runbooks/low_throughput.md).",
    )
    max_message_bytes: int = Field(256 * 1024, ge=256, description="A larger message is a dead letter.")
    parallel_puts: int = Field(16, ge=1, le=64, description="Maximum of PUTs at once, over all partitions.")
    put_timeout_seconds: float = Field(
        30.0,
        gt=0,
        description="A PUT without a response is repeated after this time. The upload of a large body gets time "
        "besides: at first that of 64 KB/s, and twice as much after each time-out.",
    )
    max_buffer_bytes: int = Field(
        64 * 2**20,
        ge=2**20,
        description="Maximum of message bytes in memory, in batches and in the bodies of their PUTs. Reading pauses "
        "from a quarter of it on; one read takes at most an eighth. librdkafka's own queue comes on top: a quarter, at "
        "most 16 MB, and one fetch per partition. A single message can exceed a small value.",
    )
    compression: Literal["none", "gzip"] = Field("none", description="Fixed for a prefix by its contract object.")
    shutdown_grace_seconds: float = Field(
        20.0,
        ge=0,
        description="Maximum time from SIGTERM to the end of the process, at least 1. The last batches are landed in "
        "it, and up to three seconds of it are kept for the last commit.",
    )
    revoke_flush_seconds: float = Field(10.0, ge=0, description="Maximum time of the flush of revoked partitions.")
    standstill_seconds: float = Field(
        120.0,
        gt=0,
        description="A partition with unread or unlanded records that does not move for so long makes `/healthz` "
        "answer 503. The default is twice the time that Kafka gives a transaction by default, since readers wait for "
        "an open one.",
    )
    group_instance_id: str | None = Field(None, description="Static membership: one stable id per process.")
    http_host: str = Field("127.0.0.1", description="Address of /healthz and /metrics.")
    http_port: int = Field(9308, ge=0, le=65535, description="Port of /healthz and /metrics; 0 switches them off.")
    cloudwatch: bool = Field(True, description="Publish the consumer's metrics to CloudWatch.")
    cloudwatch_seconds: float = Field(60.0, ge=1, description="Seconds between two CloudWatch publications.")
    allow_create_time: bool = Field(
        False, description="Accept a topic with the producers' timestamps (message.timestamp.type=CreateTime)."
    )
    allow_missing_topic_id: bool = Field(
        False, description="Accept a broker without topic ids, such as librdkafka's built-in broker."
    )


class ProducerSettings(BaseSettings):
    """The source of quotes, and how they are sent."""

    model_config = _group("PRODUCER_")

    source: Literal["auto", "coingecko", "coinmarketcap", "simulator"] = Field(
        "auto", description="auto: CoinGecko if it responds at the start, else the simulator."
    )
    poll_seconds: float = Field(60.0, gt=0, description="Seconds between two polls of a web source.")
    coinmarketcap_api_key: SecretStr | None = Field(
        None, description="Key of the coinmarketcap source, which requires it; printable ASCII without white space."
    )
    coingecko_url: str = Field("https://api.coingecko.com/api/v3", description="Base address of the CoinGecko API.")
    coinmarketcap_url: str = Field("https://pro-api.coinmarketcap.com", description="Base address of CoinMarketCap.")
    key: Literal["symbol", "none"] = Field(
        "symbol", description="Message key; 'none' spreads messages over all partitions."
    )
    send_unchanged: bool = Field(False, description="Send a quote even if it did not change since the last poll.")
    http_host: str = Field("127.0.0.1", description="Address of /healthz and /metrics.")
    http_port: int = Field(9309, ge=0, le=65535, description="Port of /healthz and /metrics; 0 switches them off.")

    _urls_are_addresses = field_validator("coingecko_url", "coinmarketcap_url", mode="after")(_address)

    @field_validator("coinmarketcap_api_key", mode="after")
    @classmethod
    def _key_fits_into_a_header(cls, value: SecretStr | None) -> SecretStr | None:
        """The HTTP client logs a header that it refuses. A key with other characters would therefore be in the log."""
        if value is not None and not re.fullmatch(r"[!-~]+", value.get_secret_value()):
            raise ValueError("holds white space or a character that is not printable ASCII; remove it")
        return value


class SimulatorSettings(BaseSettings):
    """The simulated market: a seeded random walk with faults on demand."""

    model_config = _group("SIMULATOR_")

    seed: int = Field(1, ge=0, description="The same seed gives the same price at the same time.")
    interval_seconds: float = Field(1.0, gt=0, description="Seconds between two quotes of one symbol.")
    history_hours: float = Field(
        0.0, ge=0, description="Hours of simulated history that are sent first if the topic is empty."
    )
    history_interval_seconds: float = Field(60.0, gt=0, description="Seconds between two quotes in that history.")
    bad_share: float = Field(0.0, ge=0, le=1, description="Share of messages that violate the format.")
    duplicate_share: float = Field(0.0, ge=0, le=1, description="Share of messages sent twice.")
    late_share: float = Field(0.0, ge=0, le=1, description="Share of messages sent late and out of order.")
    frozen_symbol: str | None = Field(
        None, description="Symbol whose price does not move; one of `include/dbt/seeds/assets.csv`."
    )

    @field_validator("frozen_symbol", mode="after")
    @classmethod
    def _symbol_is_in_the_seed(cls, value: str | None) -> str | None:
        symbols = [coin.symbol for coin in coins()]
        if value is not None and value not in symbols:
            raise ValueError(f"must be one of {', '.join(symbols)}")
        return value


class WarehouseSettings(BaseSettings):
    """The warehouse that dbt builds."""

    model_config = _group("WAREHOUSE_")

    target: Literal["local", "athena", "ci"] = Field("athena", description="dbt target.")
    duckdb_path: Path = Field(
        PROJECT_ROOT / ".local" / "warehouse.duckdb", description="DuckDB file of the local target."
    )
    database: str = Field("crypto_lakehouse", description="Glue database (Athena schema).")
    workgroup: str = Field("crypto-lakehouse", description="Athena workgroup.")
    transform_start: Literal["auto", "event", "cron"] = Field(
        "auto",
        description="event: a run starts when something has landed. cron: at the times of "
        "WAREHOUSE_TRANSFORM_SCHEDULE. auto: cron if WAREHOUSE_TRANSFORM_SCHEDULE is set, or if Airflow lacks this "
        "project's `plugins/`.",
    )
    transform_schedule: str = Field("*/15 * * * *", description="Cron expression of the transform DAG.")
    transform_floor_seconds: float = Field(
        900.0, ge=1, description="Minimum of seconds from the start of a run to the start of the next one by an event."
    )
    transform_runs_per_day: int = Field(
        96,
        ge=1,
        description="Maximum of runs in a UTC day; runs by hand count, but always start. When half of them are used, "
        "the others are spread over the rest of the day.",
    )
    transform_poll_seconds: float = Field(
        60.0, ge=1, description="Seconds between two looks for new files; each look is one LIST and two or three GETs."
    )
    transform_deadline_minutes: float = Field(
        60.0, gt=0, description="Minutes from the queueing to the end of a transform run; a longer run is mailed."
    )
    landed_hours: str = Field(
        "",
        pattern=r"^((\d{4}/\d\d/\d\d/\d\d\.\.\d{4}/\d\d/\d\d/\d\d)( |$))*$",
        description="Set by the transform for bronze: the hours with new files. Empty: bronze looks for itself.",
    )
    unchanged: str = Field(
        "",
        description="Set by the transform: seed, snapshot and views that dbt does not build again. Empty: none.",
    )


class AlertSettings(BaseSettings):
    """The recipients of alerts, and the reminders."""

    model_config = _group("ALERT_")

    emails: list[str] = Field(["data-oncall@example.com"], description="JSON list of addresses.")
    mail_from: str = Field("crypto-lakehouse@example.com", description="Sender of alert mails.")
    reminder_hours: float = Field(6.0, gt=0, description="Hours between reminders of an open condition.")
    airflow_url: str = Field("http://localhost:8080", description="Base address of the Airflow UI, for links in mails.")
    runbook_url: str = Field(
        "https://github.com/crypto-lakehouse/crypto-lakehouse/blob/main/docs/runbooks/",
        description="Base address of the runbooks, for links in mails; ends with a slash.",
    )

    sns_topic_arn: str | None = Field(None, description="SNS topic that gets each notice too.")
    slack_webhook_url: SecretStr | None = Field(None, description="Slack incoming webhook that gets each notice too.")
    teams_webhook_url: SecretStr | None = Field(None, description="Teams workflow webhook that gets each notice too.")

    @property
    def reminder_after(self) -> timedelta:
        """Time between reminders of an open condition."""
        return timedelta(hours=self.reminder_hours)


class MonitorSettings(BaseSettings):
    """Names of the published metrics, and the baseline of throughput."""

    model_config = _group("MONITOR_")

    namespace: str = Field(
        "CryptoLakehouse", pattern=r"^[A-Za-z0-9_./#:-]+$", max_length=255, description="CloudWatch namespace."
    )
    environment: str = Field("production", description="Value of the CloudWatch dimension Environment.")
    throughput_baseline: Literal["set", "learned"] = Field(
        "set", description="Baseline of low_throughput: the set threshold, or the same hours of past days."
    )
    quote_interval_seconds: float | None = Field(
        None,
        gt=0,
        description="Seconds in which each coin sends at least one quote; a coin is silent after three times as long. "
        "Unset: learned from the last quotes, and at least PRODUCER_POLL_SECONDS.",
    )
    baseline_share: float = Field(
        0.5, gt=0, le=1, description="Share of the learned throughput below which throughput is low."
    )


class ObjectiveSettings(BaseSettings):
    """The latency objectives: the share of the records that must be in S3 and in gold in time."""

    model_config = _group("OBJECTIVE_")

    gold_minutes: float = Field(20.0, gt=0, description="Minutes from Kafka until a record is in gold.")
    gold_percent: float = Field(95.0, ge=50, lt=100, description="Percent of the records that must be in gold by then.")
    landed_minutes: float = Field(2.0, gt=0, description="Minutes from Kafka until a record is in S3.")
    landed_percent: float = Field(99.0, ge=50, lt=100, description="Percent of the records that must be in S3 by then.")


class LocalSettings(BaseSettings):
    """The laptop stack of `make demo`. Everything listens on 127.0.0.1."""

    model_config = _group("LOCAL_")

    state: Path = Field(PROJECT_ROOT / ".local" / "demo", description="Folder with all state of the demo.")
    broker: Literal["auto", "kafka", "built-in", "given"] = Field(
        "auto",
        description="Apache Kafka or librdkafka's in-memory broker; auto: Kafka if this machine can run it; "
        "given: the broker of KAFKA_BOOTSTRAP_SERVERS, to whose KAFKA_TOPIC the demo then sends quotes.",
    )
    java_home: Path | None = Field(
        None, description="Folder of a Java to use instead of the locked runtime; without it no other Java is used."
    )
    kafka_port: int = Field(19092, ge=1024, le=65535, description="Port of the Kafka broker.")
    kafka_controller_port: int = Field(19093, ge=1024, le=65535, description="Port of the broker's controller.")
    aws_port: int = Field(14566, ge=1024, le=65535, description="Port of the AWS emulator.")
    smtp_port: int = Field(11025, ge=1024, le=65535, description="Port of the mailbox (SMTP).")
    airflow_port: int = Field(8080, ge=1024, le=65535, description="Port of the Airflow UI.")
    transform_schedule: str = Field(
        "",
        description="Cron expression of the transform DAG in the demo. Empty: a run starts when something has landed.",
    )


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole tree; each group reads its own prefix."""

    kafka: KafkaSettings
    storage: StorageSettings
    aws: AwsSettings
    consumer: ConsumerSettings
    producer: ProducerSettings
    simulator: SimulatorSettings
    warehouse: WarehouseSettings
    alert: AlertSettings
    monitor: MonitorSettings
    objective: ObjectiveSettings


Group = TypeVar("Group", bound=BaseSettings)


def load_group(group: type[Group]) -> Group:
    """One settings group from the environment.

    Raises:
        SettingsError: variables have values that cannot be used; the text names each of them.
    """
    prefix = str(group.model_config.get("env_prefix", "")).upper()
    try:
        return group()
    except ParsingError as error:  # only the error's text names the field
        field_name = re.search(r'field "(\w+)"', str(error))
        name = field_name[1] if field_name else "*"
        raise SettingsError(f"{prefix}{name.upper()}: not JSON{_meaning(group.model_fields.get(name))}") from None
    except ValidationError as error:
        # A value inside a list or object is reported by its variable's name, once for all the types that were tried.
        problems: dict[tuple[str, str], list[str]] = {}
        for problem in error.errors(include_url=False):
            name = str(problem["loc"][0]) if problem["loc"] else ""
            field = group.model_fields.get(name)
            shown = "" if field is None or _may_hold_secret(field) else f"={problem['input']!r}"
            variable = f"{prefix}{name.upper()}{shown}: " if name else ""
            problems.setdefault((variable, _meaning(field)), []).append(problem["msg"].removeprefix("Value error, "))
        raise SettingsError(
            "; ".join(variable + ", or ".join(texts) + meaning for (variable, meaning), texts in problems.items())
        ) from None


def _meaning(field: FieldInfo | None) -> str:
    return f" ({field.description})" if field and field.description else ""


def _may_hold_secret(field: FieldInfo) -> bool:
    return "Secret" in str(field.annotation) or not field.repr


def load() -> Settings:
    """The whole settings tree from the environment.

    Raises:
        SettingsError: a variable has a value that cannot be used.
    """
    return Settings(
        kafka=load_group(KafkaSettings),
        storage=load_group(StorageSettings),
        aws=load_group(AwsSettings),
        consumer=load_group(ConsumerSettings),
        producer=load_group(ProducerSettings),
        simulator=load_group(SimulatorSettings),
        warehouse=load_group(WarehouseSettings),
        alert=load_group(AlertSettings),
        monitor=load_group(MonitorSettings),
        objective=load_group(ObjectiveSettings),
    )


_CLOSED_GROUPS: tuple[type[BaseSettings], ...] = (
    KafkaSettings, StorageSettings, ConsumerSettings, ProducerSettings, SimulatorSettings, AlertSettings,
    MonitorSettings, ObjectiveSettings,
)  # fmt: skip
"""Groups whose prefix belongs to this project. AWS_* does not: other programs read many of its variables."""
_ALIKE = 0.8
"""A name with this ratio (difflib) or more counts as misspelt. KAFKA_OPTS, which Kafka's scripts read, has less."""


def misspelt(variables: Iterable[str]) -> list[str]:
    """A sentence for each variable that nothing reads and whose name is nearly that of a setting.

    Names are compared without their prefix, which would make all names of a group similar.
    """
    names = sorted({variable.upper() for variable in variables})
    warnings: list[str] = []
    for group in _CLOSED_GROUPS:
        prefix = str(group.model_config.get("env_prefix", ""))
        known = [name.upper() for name in group.model_fields]
        for name in (name.removeprefix(prefix) for name in names if name.startswith(prefix)):
            close = [] if name in known else difflib.get_close_matches(name, known, n=1, cutoff=_ALIKE)
            warnings += [f"{prefix}{name} is not a setting; did you mean {prefix}{setting}?" for setting in close]
    return warnings
