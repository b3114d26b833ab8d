"""deploy/kubernetes is valid by Kubernetes' own schemas and agrees with the settings."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
import yaml

from include.catalogue import CONDITIONS
from include.settings import PROJECT_ROOT, ConsumerSettings, KafkaSettings
from tests.project_facts import environment_variables

FOLDER = PROJECT_ROOT / "deploy" / "kubernetes"
VALIDATE = PROJECT_ROOT / ".local" / "aws-lint" / "bin" / "kubernetes-validate"
MANIFESTS: dict[str, Any] = {
    manifest["kind"]: manifest for manifest in yaml.safe_load_all((FOLDER / "consumer.yaml").read_text()) if manifest
}
POD = MANIFESTS["Deployment"]["spec"]["template"]["spec"]
CONTAINER = POD["containers"][0]


@pytest.mark.parametrize("version", ["1.31", "1.34"])
def test_the_manifests_are_valid_by_the_schemas(version: str) -> None:
    assert VALIDATE.exists(), "run: make .local/aws-lint/.made"
    command = [str(VALIDATE), "-k", version, "--strict", str(FOLDER / "consumer.yaml")]
    validation = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert validation.returncode == 0, validation.stdout + validation.stderr


def test_variables_are_settings() -> None:
    names = set(MANIFESTS["ConfigMap"]["data"]) | {variable["name"] for variable in CONTAINER["env"]}
    assert names <= environment_variables()


def test_the_pod_has_time_for_the_last_flush() -> None:
    grace = float(MANIFESTS["ConfigMap"]["data"]["CONSUMER_SHUTDOWN_GRACE_SECONDS"])
    assert POD["terminationGracePeriodSeconds"] > grace + ConsumerSettings().revoke_flush_seconds


def test_probes_use_the_consumers_port_and_paths() -> None:
    environment = {variable["name"]: variable["value"] for variable in CONTAINER["env"]}
    assert CONTAINER["ports"][0]["containerPort"] == int(environment["CONSUMER_HTTP_PORT"])
    assert CONTAINER["livenessProbe"]["httpGet"]["path"] == "/healthz/live"
    assert CONTAINER["readinessProbe"]["httpGet"]["path"] == "/healthz"


def test_the_pod_runs_as_the_images_user_without_privileges() -> None:
    assert f"USER {POD['securityContext']['runAsUser']}" in (PROJECT_ROOT / "docker/ingest.Dockerfile").read_text()
    assert CONTAINER["securityContext"]["capabilities"]["drop"] == ["ALL"]
    assert CONTAINER["securityContext"]["readOnlyRootFilesystem"]


def test_scaling_watches_the_group_and_starts_before_the_alarm() -> None:
    scaled = yaml.safe_load((FOLDER / "consumer-autoscaling.yaml").read_text())["spec"]
    trigger = scaled["triggers"][0]["metadata"]
    assert scaled["scaleTargetRef"]["name"] == MANIFESTS["Deployment"]["metadata"]["name"]
    assert (trigger["consumerGroup"], trigger["topic"]) == (KafkaSettings().group, KafkaSettings().topic)
    assert float(trigger["lagThreshold"]) < CONDITIONS["kafka_lag"].threshold
