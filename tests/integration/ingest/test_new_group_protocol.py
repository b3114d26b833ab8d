"""KIP-848: the brokers assign the partitions (`group.protocol=consumer`), with the same promise."""

from __future__ import annotations

import pytest

from tests.chaos.rig import wait_until_committed
from tests.integration.ingest.stage import PARTITIONS, Stage, ingest, until, verdict

pytestmark = pytest.mark.slow

PROTOCOL = {"KAFKA_OPTIONS": '{"group.protocol": "consumer", "log_level": 3}'}


def test_two_consumers_share_and_hand_over(stage: Stage) -> None:
    loads = [stage.load(300, bad_share=0.05)]
    first = stage.consumer(CONSUMER_BATCH_AGE_SECONDS="0.5", **PROTOCOL)
    assert wait_until_committed(stage.bootstrap, stage.group, stage.topic, PARTITIONS, 120) == {}
    second = stage.consumer(CONSUMER_BATCH_AGE_SECONDS="0.5", **PROTOCOL)
    until(lambda: '"message": "assigned"' in second.log.read_text(), "the second has partitions")
    loads.append(stage.load(400))
    assert first.terminate() == 0
    assert wait_until_committed(stage.bootstrap, stage.group, stage.topic, PARTITIONS, 120) == {}
    assert second.terminate() == 0
    assert verdict(stage, *loads).errors == []


def test_the_operators_commands_work_on_such_a_group(stage: Stage) -> None:
    load = stage.load(100)
    consumer = stage.consumer(CONSUMER_BATCH_AGE_SECONDS="0.5", **PROTOCOL)
    assert wait_until_committed(stage.bootstrap, stage.group, stage.topic, PARTITIONS, 120) == {}
    assert "has 1 members" in ingest(stage, "adopt", **PROTOCOL).stderr
    assert consumer.terminate() == 0
    adopted = ingest(stage, "adopt", "--yes", **PROTOCOL)
    assert (adopted.returncode, "4 partitions adopted" in adopted.stderr) == (0, True), adopted.stderr
    assert verdict(stage, load).errors == []
