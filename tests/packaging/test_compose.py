"""docker-compose.override.yml uses loopback only, starts in order, and has the same settings as everywhere else."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from include.local.java import LOCK, version_of
from include.settings import PROJECT_ROOT, ConsumerSettings, LocalSettings, ProducerSettings
from tests.project_facts import environment_variables

COMPOSE = yaml.safe_load((PROJECT_ROOT / "docker-compose.override.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
AIRFLOW = {"scheduler", "dag-processor", "api-server", "triggerer"}
PROGRAMS = {"deploy", "create-topic", "producer", "consumer"}
ENDING = {"deploy", "create-topic"}
"""Programs that do their work once and end."""


@pytest.mark.parametrize("service", SERVICES)
def test_ports_are_published_on_loopback_only(service: str) -> None:
    for port in SERVICES[service].get("ports", []):
        assert port.startswith("127.0.0.1:")


@pytest.mark.parametrize("service", sorted(AIRFLOW | PROGRAMS))
def test_every_variable_is_a_setting(service: str) -> None:
    others = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT", "HEALTH_PORT"}
    assert set(SERVICES[service]["environment"]) <= environment_variables() | others


def test_every_dependency_reports_when_it_is_ready() -> None:
    for service in SERVICES.values():
        for dependency, options in service.get("depends_on", {}).items():
            if options["condition"] == "service_healthy":
                assert "test" in SERVICES[dependency]["healthcheck"]
            else:
                assert options["condition"] == "service_completed_successfully"
                assert dependency in ENDING


def dependencies(service: str) -> set[str]:
    direct = set(SERVICES[service].get("depends_on", {}))
    return direct.union(*(dependencies(name) for name in direct))


def test_servers_start_first_then_topic_and_bucket_then_programs() -> None:
    assert {"kafka", "create-topic"} <= dependencies("producer")
    assert {"kafka", "ministack", "create-topic", "deploy"} <= dependencies("consumer")
    for service in AIRFLOW:
        assert {"kafka", "ministack", "create-topic", "deploy"} <= dependencies(service)


def test_every_service_is_in_airflows_network() -> None:
    for name in set(SERVICES) - AIRFLOW:
        assert SERVICES[name]["networks"] == ["airflow"], name


def test_airflows_connections_lead_to_the_services() -> None:
    entries = yaml.safe_load((PROJECT_ROOT / "airflow_settings.yaml").read_text())["airflow"]["connections"]
    connections = {entry["conn_id"]: entry for entry in entries}
    environment = SERVICES["scheduler"]["environment"]
    kafka = connections["kafka_default"]["conn_extra"]["bootstrap.servers"]
    assert kafka == environment["KAFKA_BOOTSTRAP_SERVERS"] == "kafka:9092"
    assert f"INSIDE://{kafka}" in SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert connections["aws_default"]["conn_extra"]["endpoint_url"] == environment["AWS_ENDPOINT_URL"]
    assert connections["smtp_default"]["conn_host"] in SERVICES


def test_the_laptop_runs_the_same_commands() -> None:
    from include.local.programs import programs

    local = {program.name: program for program in programs(LocalSettings())}
    for name in ("producer", "consumer"):
        assert SERVICES[name]["command"] == [local[name].command[-1]]
        assert local[name].command[1:3] == ("-m", "include.ingest")


def test_versions_are_those_of_the_laptop_stack() -> None:
    emulator = (PROJECT_ROOT / "requirements" / "emulator.in").read_text()
    assert f"ministack=={SERVICES['ministack']['image'].split(':')[1]}" in emulator
    kafka = SERVICES["kafka"]["image"].split(":")[1]
    assert kafka == version_of(PROJECT_ROOT / "include/local/kafka" / LOCK, "kafka_2.13")


@pytest.mark.parametrize("name", ["producer", "consumer"])
def test_a_stop_leaves_time_to_send_or_land_the_last_records(name: str) -> None:
    from include.ingest.producer import FLUSH_SECONDS
    from include.local.programs import programs

    consumer = ConsumerSettings()
    needed = FLUSH_SECONDS if name == "producer" else consumer.shutdown_grace_seconds + consumer.revoke_flush_seconds
    [laptop] = [program.stop_seconds for program in programs(LocalSettings()) if program.name == name]
    compose = int(SERVICES[name].get("stop_grace_period", "10s").removesuffix("s"))  # Docker's default
    guide = (PROJECT_ROOT / "docs" / "containers.md").read_text()
    documented = re.search(rf"docker run -d --name {name} .*--stop-timeout (\d+) ", guide)
    assert documented, "docs/containers.md"
    assert min(laptop, compose, int(documented[1])) > needed, (laptop, compose, documented[1])


def test_the_images_healthcheck_uses_the_right_port() -> None:
    text = (PROJECT_ROOT / "docker" / "ingest.Dockerfile").read_text()
    assert f"HEALTH_PORT={ConsumerSettings().http_port}" in text
    assert SERVICES["producer"]["environment"]["HEALTH_PORT"] == str(ProducerSettings().http_port)
