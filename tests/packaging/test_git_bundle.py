"""The steps of docs/git-bundle.md work: an Airflow that has the repository only as a Git bundle runs the transform."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import msgspec
import pytest

from include.local.airflow_api import AirflowApi
from include.local.environment import airflow_environment, inherited
from include.settings import PROJECT_ROOT, LocalSettings
from include.state.layer_state import LayerState
from tests.servers import free_port, process
from tests.warehouse.landed_topic import LandedTopic, market_day, open_bucket

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(900)]

GUIDE = (PROJECT_ROOT / "docs" / "git-bundle.md").read_text()
SETTINGS, POOL = re.findall(r"<!-- run by: tests/packaging/test_git_bundle.py -->\n```sh\n(.*?)```", GUIDE, re.DOTALL)
MINUTES = 5
"""Length of the landed history."""


def commit_of_this_tree(folder: Path) -> Path:
    """A repository with one commit of the working tree's files that Git tracks or would add."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT_ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listing.stdout.decode().split("\0")):
        if (PROJECT_ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT_ROOT / name, folder / name)
    author = ["-c", "user.name=test", "-c", "user.email=test@example.com"]
    for arguments in (["init", "-q", "-b", "main"], ["add", "."], [*author, "commit", "-q", "-m", "as it is"]):
        subprocess.run(["git", *arguments], cwd=folder, check=True)
    return folder


def exported(script: str, environment: dict[str, str]) -> dict[str, str]:
    """The environment of a shell that has run the guide's lines."""
    run = subprocess.run(
        ["bash", "-euc", script + "\nenv -0"], env=environment, capture_output=True, text=True, check=True
    )
    return dict(entry.split("=", 1) for entry in run.stdout.split("\0") if "=" in entry)


@pytest.fixture
def airflow(tmp_path: Path, aws_endpoint: str, bucket: str) -> Iterator[AirflowApi]:
    """Airflow's components with the guide's settings, in another folder: the project is not on their path."""
    local = LocalSettings(state=tmp_path, airflow_port=free_port())
    home = tmp_path / "airflow"
    # The guide's option: plugins in Airflow's own folder. The project is still not on Airflow's path.
    shutil.copytree(PROJECT_ROOT / "plugins", home / "plugins", ignore=shutil.ignore_patterns("__pycache__"))
    foreign = {"AIRFLOW__CORE__DAGS_FOLDER", "AIRFLOW__CORE__PLUGINS_FOLDER"}
    own = {name: value for name, value in airflow_environment(local, "s" * 64).items() if name not in foreign}
    settings = SETTINGS
    for example, here in {
        "https://git.example.com/data/crypto-lakehouse.git": str(commit_of_this_tree(tmp_path / "repository")),
        "/var/lib/airflow/bundles": str(tmp_path / "bundles"),
        "eu-central-1": "us-east-1",
        "my-crypto-lakehouse": bucket,
    }.items():
        assert example in settings
        settings = settings.replace(example, here)
    values = exported(settings, {name: value for name, value in inherited().items() if name not in own} | own)
    values |= {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    values |= {
        "AWS_ENDPOINT_URL": aws_endpoint,
        "WAREHOUSE_TARGET": "local",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",  # parse each file once: the commit stays
        "WAREHOUSE_DUCKDB_PATH": str(tmp_path / "warehouse.duckdb"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    for script in ("airflow db migrate", POOL):
        subprocess.run(["bash", "-euc", script], cwd=home, env=values, check=True, capture_output=True)
    with ExitStack() as running:
        for component in ("api-server", "dag-processor", "scheduler"):
            options = {"api-server": ["--port", str(local.airflow_port)], "scheduler": ["--skip-serve-logs"]}
            command = ["env", "-i", "-C", str(home), *(f"{name}={value}" for name, value in values.items())]
            command += ["airflow", component, *options.get(component, [])]
            running.enter_context(process(command, tmp_path / f"{component}.log"))
        api = AirflowApi(f"http://127.0.0.1:{local.airflow_port}")
        api.wait_until_ready(seconds=120)
        yield api


def test_the_transform_runs_from_a_git_bundle(
    airflow: AirflowApi, aws_endpoint: str, bucket: str, tmp_path: Path
) -> None:
    topic = LandedTopic()
    market_day(topic, datetime.now(UTC) - timedelta(minutes=MINUTES), hours=MINUTES / 60, faults=False)
    topic.land(open_bucket(bucket, aws_endpoint))

    for path in (PROJECT_ROOT / "dags").glob("*.py"):
        airflow.wait_for_dag(path.stem, seconds=400)
    airflow.unpause("crypto_transform")  # this starts the run of the last scheduled time
    deadline = time.monotonic() + 540
    while not (runs := airflow.runs("crypto_transform", limit=10)) or runs[-1].state not in {"success", "failed"}:
        assert time.monotonic() < deadline, runs and airflow.task_states("crypto_transform", runs[-1].run_id)
        time.sleep(1)
    assert runs[-1].state == "success", airflow.task_states("crypto_transform", runs[-1].run_id)

    read = boto3.client("s3").get_object
    body = read(Bucket=bucket, Key="state/layers/bronze.json")["Body"].read()
    assert msgspec.json.decode(body, type=LayerState).rows == 3 * MINUTES
    checkouts = [path for path in (tmp_path / "bundles").rglob("crypto_transform.py") if "versions" in path.parts]
    assert checkouts, "the tasks did not run from a commit of the bundle"
