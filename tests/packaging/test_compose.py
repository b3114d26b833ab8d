"""docker-compose.override.yml: loopback only, started in order, and the same settings as everywhere else."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from pydantic_settings import BaseSettings

from include import settings as settings_module
from include.settings import PROJECT_ROOT, ConsumerSettings, LocalSettings, ProducerSettings

COMPOSE = yaml.safe_load((PROJECT_ROOT / "docker-compose.override.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
AIRFLOW = {"scheduler", "dag-processor", "api-server", "triggerer"}
OURS = {"deploy", "create-topic", "producer", "consumer"}
ONCE = {"deploy", "create-topic"}


def variables() -> set[str]:
    groups = [
        group
        for group in vars(settings_module).values()
        if isinstance(group, type) and issubclass(group, BaseSettings) and group is not BaseSettings
    ]
    return {f"{group.model_config['env_prefix']}{name}".upper() for group in groups for name in group.model_fields}


@pytest.mark.parametrize("service", SERVICES)
def test_ports_are_published_on_loopback_only(service: str) -> None:
    for port in SERVICES[service].get("ports", []):
        assert port.startswith("127.0.0.1:")


@pytest.mark.parametrize("service", sorted(AIRFLOW | OURS))
def test_every_variable_is_a_setting(service: str) -> None:
    others = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT", "HEALTH_PORT"}
    assert set(SERVICES[service]["environment"]) <= variables() | others


def test_whatever_is_waited_for_says_when_it_is_ready() -> None:
    for service in SERVICES.values():
        for needed, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert "test" in SERVICES[needed]["healthcheck"]
            else:
                assert how["condition"] == "service_completed_successfully"
                assert needed in ONCE


def needs(service: str) -> set[str]:
    direct = set(SERVICES[service].get("depends_on", {}))
    return direct.union(*(needs(one) for one in direct))


def test_start_order_is_servers_then_topic_and_bucket_then_programs() -> None:
    assert {"kafka", "create-topic"} <= needs("producer")
    assert {"kafka", "ministack", "create-topic", "deploy"} <= needs("consumer")
    for service in AIRFLOW:
        assert {"kafka", "ministack", "create-topic", "deploy"} <= needs(service)


def test_everything_is_in_airflows_network() -> None:
    for name in set(SERVICES) - AIRFLOW:
        assert SERVICES[name]["networks"] == ["airflow"], name


def test_airflows_connections_lead_to_the_services() -> None:
    made = yaml.safe_load((PROJECT_ROOT / "airflow_settings.yaml").read_text())["airflow"]["connections"]
    connections = {one["conn_id"]: one for one in made}
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


def test_versions_are_the_laptops() -> None:
    emulator = (PROJECT_ROOT / "requirements" / "emulator.in").read_text()
    assert f"ministack=={SERVICES['ministack']['image'].split(':')[1]}" in emulator
    kafka = SERVICES["kafka"]["image"].split(":")[1]
    assert f"<version>{kafka}</version>" in (PROJECT_ROOT / "include/local/kafka/pom.xml").read_text()


@pytest.mark.parametrize("name", ["producer", "consumer"])
def test_there_is_time_to_send_or_land_the_last(name: str) -> None:
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


def test_the_images_healthcheck_asks_the_right_port() -> None:
    text = (PROJECT_ROOT / "docker" / "ingest.Dockerfile").read_text()
    assert f"HEALTH_PORT={ConsumerSettings().http_port}" in text
    assert SERVICES["producer"]["environment"]["HEALTH_PORT"] == str(ProducerSettings().http_port)
