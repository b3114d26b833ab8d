"""The environment shared by every program of the laptop stack, kept in one file.

Source the file (`.local/demo/environment`) by hand to run any command of the project against the running demo:
`set -a; . .local/demo/environment`.
"""

from __future__ import annotations

import os
import secrets
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from include.local.emulator import CREDENTIALS
from include.on_airflow import dbt_docs
from include.settings import PROJECT_ROOT, AwsSettings, LocalSettings, StorageSettings, load_group
from include.settings_reference import groups

HOST = "127.0.0.1"
WAREHOUSE = "warehouse.duckdb"
"""The DuckDB file in the state folder."""
DICTIONARY = "dbt_docs"
"""The folder in the state folder with the page that Airflow shows under Browse, Data dictionary."""
DOCS = "project-docs"
"""Route below Airflow's address at which the plugin `project_docs` shows the clone's own pages."""
OWN = frozenset(
    f"{group.model_config['env_prefix']}{name.upper()}"
    for group in groups()
    if group is not AwsSettings
    for name in group.model_fields
)
"""The variables of the project's settings, without those that every AWS client reads."""


def airflow_url(local: LocalSettings) -> str:
    """Address of the local Airflow."""
    return f"http://{HOST}:{local.airflow_port}"


def metadata_database(local: LocalSettings, patience: int) -> str:
    """SQLAlchemy's address of Airflow's SQLite file. A writer waits up to `patience` seconds for another writer."""
    return f"sqlite:///{local.state / 'airflow' / 'airflow.db'}?timeout={patience}"


def airflow_environment(local: LocalSettings, jwt_secret: str) -> dict[str, str]:
    """Configuration of the local Airflow: SQLite, LocalExecutor, no login, loopback only.

    Two values were measured: without the longer API time-out task starts fail on a busy laptop, and the shorter idle
    sleep saves about 2 s per task.
    """
    return {
        "AIRFLOW_HOME": str(local.state / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT_ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT_ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": metadata_database(local, patience=30),
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{airflow_url(local)}/execution/",
        "AIRFLOW__API__HOST": HOST,
        "AIRFLOW__API__PORT": str(local.airflow_port),
        "AIRFLOW__API__BASE_URL": airflow_url(local),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API_AUTH__JWT_SECRET": jwt_secret,
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "30",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "60",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "AIRFLOW__LOGGING__COLORED_CONSOLE_LOG": "False",
        "AIRFLOW__COSMOS__ENABLE_TELEMETRY": "False",
        "AIRFLOW__COSMOS__CACHE_DIR": str(local.state / "cosmos"),  # a shared folder makes stacks parse in turns
        "AIRFLOW__COSMOS__DBT_DOCS_PROJECTS": dbt_docs.cosmos_projects(local.state / DICTIONARY),
        "NO_PROXY": f"{HOST},localhost",
    }


def build(local: LocalSettings, bootstrap: str, *, built_in_broker: bool, previous: dict[str, str]) -> dict[str, str]:
    """All variables of the programs.

    A variable of the caller's environment replaces the demo's value: `SIMULATOR_HISTORY_HOURS=6 make demo` works. All
    settings of the caller are kept, so that a command in another terminal uses those of the running demo.

    Args:
        local: the state folder and the ports.
        bootstrap: address of Kafka.
        built_in_broker: relax the two checks that librdkafka's broker cannot pass.
        previous: the variables of an earlier run; the new run keeps their generated secret.
    """
    jwt_secret = previous.get("AIRFLOW__API_AUTH__JWT_SECRET") or secrets.token_hex(64)
    demo = {
        "S3_BUCKET": load_group(StorageSettings).bucket,
        "WAREHOUSE_TARGET": "local",
        "WAREHOUSE_DUCKDB_PATH": str(local.state / WAREHOUSE),
        **_start_of_the_transform(local),
        "MONITOR_ENVIRONMENT": "demo",
        "ALERT_AIRFLOW_URL": airflow_url(local),
        "ALERT_RUNBOOK_URL": f"{airflow_url(local)}/{DOCS}/docs/runbooks/",
        "SIMULATOR_HISTORY_HOURS": "48",
        "CONSUMER_BATCH_AGE_SECONDS": "10",  # not a minute, so that the first live file comes soon
        "CONSUMER_CLOUDWATCH_SECONDS": "15",
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "DO_NOT_TRACK": "1",
    }
    if built_in_broker:
        demo |= {"CONSUMER_ALLOW_CREATE_TIME": "true", "CONSUMER_ALLOW_MISSING_TOPIC_ID": "true"}
    chosen = {name: value for name, value in os.environ.items() if name in demo or name in OWN}
    fixed = (
        CREDENTIALS
        | airflow_environment(local, jwt_secret)
        | of_the_stack(local)
        | {
            "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
            "AWS_ENDPOINT_URL": f"http://{HOST}:{local.aws_port}",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "PYTHONPATH": str(PROJECT_ROOT),
            "PATH": f"{PROJECT_ROOT / '.venv' / 'bin'}:{os.environ['PATH']}",
        }
    )
    return demo | chosen | fixed


def _start_of_the_transform(local: LocalSettings) -> dict[str, str]:
    """By cron if the demo has one. Else as soon as something has landed: a local run costs nothing."""
    if local.transform_schedule:
        return {"WAREHOUSE_TRANSFORM_START": "cron", "WAREHOUSE_TRANSFORM_SCHEDULE": local.transform_schedule}
    return {
        "WAREHOUSE_TRANSFORM_START": "event",
        "WAREHOUSE_TRANSFORM_FLOOR_SECONDS": "1",
        "WAREHOUSE_TRANSFORM_RUNS_PER_DAY": "100000",
        "WAREHOUSE_TRANSFORM_POLL_SECONDS": "5",
    }


def of_the_stack(local: LocalSettings) -> dict[str, str]:
    """The settings of the laptop stack as variables, which are kept with its data while it runs."""
    return {f"LOCAL_{name.upper()}": str(value) for name, value in local.model_dump(exclude_none=True).items()}


def running_stack(local: LocalSettings, values: dict[str, str]) -> LocalSettings:
    """The settings of the running demo that left `values`; of the caller's settings only the state folder counts."""
    kept = {name: values[variable] for name in local.model_dump() if (variable := f"LOCAL_{name.upper()}") in values}
    return LocalSettings.model_validate(local.model_dump() | kept | {"state": local.state})


def inherited() -> dict[str, str]:
    """The environment of this process without a developer's own AWS account, Airflow, dbt and Python settings."""
    foreign = ("AWS_", "AIRFLOW", "DBT_", "PYTHON")
    return {
        name: value for name, value in os.environ.items() if not name.startswith(foreign) or name == "AWS_CA_BUNDLE"
    }


@contextmanager
def applied(values: dict[str, str]) -> Iterator[None]:
    """Inside the block the process has `inherited()` and `values` as its environment, and no other setting."""
    before = dict(os.environ)
    inside = {name: value for name, value in inherited().items() if name not in OWN} | values
    os.environ.clear()
    os.environ.update(inside)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def write(path: Path, environment: dict[str, str]) -> None:
    """Write the file, readable by its owner only (it holds Airflow's secret)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text("".join(f"{name}={shlex.quote(value)}\n" for name, value in sorted(environment.items())))


def read(path: Path) -> dict[str, str]:
    """The file's variables; an empty dict without a file."""
    if not path.exists():
        return {}
    words = (shlex.split(line) for line in path.read_text().splitlines())
    return dict(word.split("=", 1) for line in words for word in line)
