"""Starts the servers that the pipeline needs: broker, AWS emulator, mailbox."""

from __future__ import annotations

import socket
from pathlib import Path

from include.local import broker, emulator, environment
from include.local.programs import programs
from include.local.stack import Demo, DemoError, clean_state
from include.settings import ConsumerSettings, KafkaSettings, LocalSettings, ProducerSettings, load_group

BROKER_FILE = "broker"
"""File in the state folder with the name (a key of `BROKERS`) of the broker that the folder's data come from."""
BROKERS = {
    "kafka": "Apache Kafka",
    "built-in": "the built-in broker",
    "given": "the Kafka of KAFKA_BOOTSTRAP_SERVERS",
}


def check_ports(local: LocalSettings) -> None:
    """Refuse to start while a port that the demo needs is taken.

    Raises:
        DemoError: a port is taken; the text names the setting that changes it.
    """
    names = ("airflow_port", "kafka_port", "kafka_controller_port", "aws_port", "smtp_port")
    ports = {f"LOCAL_{name.upper()}": (environment.HOST, getattr(local, name)) for name in names}
    consumer, producer = load_group(ConsumerSettings), load_group(ProducerSettings)
    ports["CONSUMER_HTTP_PORT"] = (consumer.http_host, consumer.http_port)
    ports["PRODUCER_HTTP_PORT"] = (producer.http_host, producer.http_port)
    for variable, (host, port) in ports.items():  # port 0 is always free: it means any port
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                # Not port + 1, which another program of the demo often has.
                raise DemoError(
                    f"port {port} is taken by another program: move it, for example {variable}={port + 10} make demo"
                ) from None


def refuse_other_broker(state: Path, name: str) -> None:
    """Refuse data that landed from another broker than `name`: its topic has other offsets and another id.

    Raises:
        DemoError: the state folder has the data of another kind of broker.
    """
    file = state / BROKER_FILE
    previous = file.read_text() if file.exists() else name
    if previous != name:
        raise DemoError(
            f"the data in {state} came from {BROKERS[previous]}, this start would use {BROKERS[name]}: "
            "run make demo-clean first"
        )


def is_outside(kafka: KafkaSettings, local: LocalSettings) -> bool:
    """Whether the demo uses a broker that is not its own.

    Raises:
        DemoError: KAFKA_BOOTSTRAP_SERVERS names another broker without LOCAL_BROKER=given, as in a shell for
            deployments; or LOCAL_BROKER=given has no address.
    """
    own = (KafkaSettings.model_fields["bootstrap_servers"].default, f"{environment.HOST}:{local.kafka_port}")
    is_other = kafka.bootstrap_servers not in own
    if is_other and local.broker != "given":
        raise DemoError(
            f"KAFKA_BOOTSTRAP_SERVERS={kafka.bootstrap_servers} is not the demo's own broker: the demo would send "
            f"quotes to topic {kafka.topic} there and commit as group {kafka.group}. Unset the variable, or use that "
            "broker on purpose: LOCAL_BROKER=given make demo"
        )
    if local.broker == "given" and not is_other:
        raise DemoError("LOCAL_BROKER=given needs KAFKA_BOOTSTRAP_SERVERS, the broker's address")
    return is_other


def start_servers(demo: Demo) -> dict[str, str]:
    """Start broker, AWS emulator and mailbox; returns the environment of all other programs.

    Raises:
        DemoError: LOCAL_BROKER=kafka without its jars or Java; see also `refuse_other_broker` and `is_outside`.
    """
    kafka = load_group(KafkaSettings)
    outside = is_outside(kafka, demo.local)
    kind, reason = broker.available_kind()
    if demo.local.broker == "kafka" or demo.local.broker == "built-in":
        if demo.local.broker == "kafka" != kind:
            raise DemoError(f"LOCAL_BROKER=kafka, and Apache Kafka cannot start: {reason}")
        kind, reason = demo.local.broker, "chosen by LOCAL_BROKER"
    built_in = kind == "built-in" and not outside
    broker_name = "given" if outside else kind
    refuse_other_broker(demo.local.state, broker_name)
    previous = environment.read(demo.environment_file)
    if built_in and "S3_BUCKET" in previous:
        demo.console.print("  The built-in broker loses its messages when it ends: starting without the earlier data.")
        clean_state(demo.local.state)
    environment.write(demo.environment_file, environment.of_the_stack(demo.local))
    demo.environment_before_break.unlink(missing_ok=True)
    (demo.local.state / BROKER_FILE).write_text(broker_name)
    demo.control.start_supervisor(programs(demo.local), demo.environment_file)

    bootstrap = kafka.bootstrap_servers if outside else f"{environment.HOST}:{demo.local.kafka_port}"
    with demo.step("Kafka broker, AWS emulator, mailbox") as note:
        for name in ("emulator", "mailbox", *(() if outside else ("broker",))):
            demo.control.start(name, wait=False)
        if built_in:
            bootstrap = broker.built_in_address(demo.local.state / "kafka", seconds=20)
        values = environment.build(demo.local, bootstrap, built_in_broker=built_in, previous=previous)
        environment.write(demo.environment_file, values)
        emulator.wait_until_ready(values["AWS_ENDPOINT_URL"], seconds=60)
        broker.wait_until_ready(bootstrap, seconds=90)
        note(f"KAFKA_BOOTSTRAP_SERVERS={bootstrap}" if outside else f"{kind}: {reason}")
    return values
