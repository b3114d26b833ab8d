"""A second Kafka broker beside the stack's own: one partition lives on it, so its leader can be away."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from confluent_kafka.admin import AdminClient, NewPartitions  # type: ignore[attr-defined]

from include.local import broker
from include.settings import KafkaSettings, LocalSettings
from tests.laptop_stack import eventually
from tests.servers import free_port, process

NODE = 2
CONFIG = """\
process.roles=broker
node.id={node}
controller.quorum.voters=1@127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
num.network.threads=2
num.io.threads=2
background.threads=2
log.cleaner.threads=1
log.cleaner.dedupe.buffer.size=4194304
log.cleaner.io.buffer.size=262144
"""


@dataclass
class SecondBroker:
    """The broker, with its files in `state`."""

    local: LocalSettings
    kafka: KafkaSettings
    state: Path
    _running: ExitStack = field(default_factory=ExitStack)

    def prepare(self) -> None:
        """Format its folder, start it, and give the topic one more partition, which lives on it."""
        self.state.mkdir(parents=True, exist_ok=True)
        self._config.write_text(
            CONFIG.format(
                node=NODE,
                controller_port=self.local.kafka_controller_port,
                port=free_port(),
                data=self.state / "data",
            )
        )
        admin = self._admin()  # a name keeps a client alive until it has the response
        # The group's own topic must be made now: on the second broker it would go away with it.
        eventually(lambda: self._has_the_topic_of_groups(admin), 60)
        partitions = len(admin.list_topics(self.kafka.topic).topics[self.kafka.topic].partitions)
        tool = ["kafka.tools.StorageTool", "format", "-t", broker.CLUSTER_ID, "-c", str(self._config)]
        subprocess.run([*broker.java_command(), *tool], check=True, capture_output=True)
        self.start()
        new = NewPartitions(self.kafka.topic, partitions + 1, replica_assignment=[[NODE]])
        admin.create_partitions([new])[self.kafka.topic].result(30)

    def start(self) -> None:
        """Start it; returns when the cluster knows it."""
        command = [*broker.java_command(), *broker.JAVA_OPTIONS, "kafka.Kafka", str(self._config)]
        self._running.enter_context(process(command, self.state / "log", folder=self.state))
        eventually(lambda: NODE in self._admin().list_topics(timeout=10).brokers, 120)

    def stop(self) -> None:
        """Stop it: its partition has no leader any more."""
        self._running.close()

    @property
    def _config(self) -> Path:
        return self.state / "server.properties"

    def _admin(self) -> AdminClient:
        return AdminClient(self.kafka.client_config() | {"log_level": 0})

    def _has_the_topic_of_groups(self, admin: AdminClient) -> bool:
        """Whether it exists; to ask for a group makes it."""
        admin.describe_consumer_groups([self.kafka.group], request_timeout=10)[self.kafka.group].exception(15)
        return "__consumer_offsets" in admin.list_topics(timeout=10).topics
