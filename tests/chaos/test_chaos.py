"""A short seed of chaos, and the proof that the checker finds each fault."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import boto3
import pytest

from include.landing.metadata import ObjectMetadata
from tests.chaos import __main__ as chaos
from tests.chaos.checker import Acknowledged, check
from tests.chaos.run import SHORT, run

pytestmark = pytest.mark.servers


@pytest.mark.slow
def test_a_short_seed_of_chaos_loses_and_doubles_nothing(tmp_path: Path) -> None:
    outcome = run(7, SHORT, tmp_path)
    assert outcome.verdict.errors == []
    assert outcome.verdict.landed > 1000
    assert outcome.verdict.dead > 10


TIME = 1_763_928_907_123
VALUE = b'{"id":1,"symbol":"BTC","name":"Bitcoin","price":1.5,"last_updated":"2026-11-23T20:15:07Z"}'
DAY = "2025/11/23"


class LandedTopic:
    """Two data objects and a dead letter as the contract demands. A test then changes one of them."""

    def __init__(self, bucket: str) -> None:
        self.s3: Any = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
        self.bucket = bucket
        self.acknowledged = [
            Acknowledged(0, offset, TIME, VALUE if offset != 3 else b"{", offset != 3) for offset in range(5)
        ]
        self.put("crypto_data", 0, 2, [self.row(offset) for offset in range(3)], 0)
        self.put("crypto_data", 3, 4, [self.row(4)], 1)
        self.put("dead_letter", 3, 4, [self.letter(3)], 1)

    @staticmethod
    def row(offset: int, **changes: object) -> dict[str, object]:
        place = {"_topic": "t", "_partition": 0, "_offset": offset, "_timestamp": TIME}
        quote: dict[str, object] = json.loads(VALUE)
        return place | quote | changes

    @staticmethod
    def letter(offset: int, **changes: object) -> dict[str, object]:
        place = {"_topic": "t", "_partition": 0, "_offset": offset, "_timestamp": TIME}
        return place | {"payload": base64.b64encode(b"{").decode(), "key": None, "headers": []} | changes

    def key(self, kind: str, first: int, day: str = DAY) -> str:
        return f"{kind}/{day}/{kind}_20-15-07_p00000_o{first:020d}.json"

    def put(
        self, kind: str, first: int, last: int, rows: list[dict[str, object]], rejected: int, day: str = DAY
    ) -> None:
        metadata = ObjectMetadata("t", "id", 0, first, last, len(rows) if kind == "crypto_data" else 0, rejected, "w")
        self.s3.put_object(
            Bucket=self.bucket, Key=self.key(kind, first, day), Body=json.dumps(rows).encode(),
            Metadata=metadata.to_attributes(),
        )  # fmt: skip

    def errors(self) -> str:
        return "\n".join(check(self.s3, self.bucket, self.acknowledged).errors)


@pytest.fixture
def landed(bucket: str) -> LandedTopic:
    return LandedTopic(bucket)


def test_the_checker_accepts_correct_objects(landed: LandedTopic) -> None:
    assert landed.errors() == ""


def test_the_checker_finds_a_lost_object(landed: LandedTopic) -> None:
    landed.s3.delete_object(Bucket=landed.bucket, Key=landed.key("crypto_data", 0))
    assert "(0, 1): acknowledged, landed 0 times" in landed.errors()
    assert "begins at 3, expected 0" in landed.errors()


def test_the_checker_finds_a_lost_dead_letter(landed: LandedTopic) -> None:
    landed.s3.delete_object(Bucket=landed.bucket, Key=landed.key("dead_letter", 3))
    assert "(0, 3): acknowledged, landed 0 times" in landed.errors()


def test_the_checker_finds_an_overlap(landed: LandedTopic) -> None:
    landed.put("crypto_data", 2, 2, [landed.row(2)], 0)
    assert "landed more than once" in landed.errors()


def test_the_checker_finds_a_changed_message(landed: LandedTopic) -> None:
    landed.put("crypto_data", 0, 2, [landed.row(0), landed.row(1, price=2), landed.row(2)], 0)
    assert "(0, 1): changed" in landed.errors()


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"payload": None}, "another payload"),
        ({"key": "QlRD"}, "another key"),
        ({"headers": [["trace", "QlRD"]]}, "other headers"),
    ],
)
def test_the_checker_finds_a_changed_dead_letter(landed: LandedTopic, changes: dict[str, object], fault: str) -> None:
    landed.put("dead_letter", 3, 4, [landed.letter(3, **changes)], 1)
    assert f"(0, 3): dead letter with {fault}" in landed.errors()


def test_the_checker_finds_a_wrong_day_and_a_torn_body(landed: LandedTopic) -> None:
    landed.put("crypto_data", 5, 5, [landed.row(5)], 0, day="1970/01/01")
    landed.s3.put_object(Bucket=landed.bucket, Key=landed.key("crypto_data", 6), Body=b'[{"_offset": 6')
    landed.s3.put_object(Bucket=landed.bucket, Key=landed.key("crypto_data", 7), Body=b'{"_offset": 7}')
    assert "its first record is of 2025-11-23" in landed.errors()
    assert "no JSON: " in landed.errors()
    assert "no JSON array" in landed.errors()


def test_the_checker_finds_a_wrong_day_after_a_rejected_first_record(landed: LandedTopic) -> None:
    for kind in ("crypto_data", "dead_letter"):
        landed.s3.delete_object(Bucket=landed.bucket, Key=landed.key(kind, 3))
    landed.put("crypto_data", 3, 4, [landed.row(4)], 1, day="1970/01/01")
    landed.put("dead_letter", 3, 4, [landed.letter(3)], 1, day="1970/01/01")
    assert landed.errors().count("its first record is of 2025-11-23") == 2


def test_the_checker_finds_a_wrong_time(landed: LandedTopic) -> None:
    landed.put("crypto_data", 0, 2, [landed.row(0), landed.row(1, _timestamp=TIME + 1), landed.row(2)], 0)
    assert "(0, 1): landed with time" in landed.errors()


def test_the_checker_finds_dead_letters_without_a_data_object(landed: LandedTopic) -> None:
    landed.s3.delete_object(Bucket=landed.bucket, Key=landed.key("crypto_data", 3))
    landed.s3.delete_object(Bucket=landed.bucket, Key=landed.key("crypto_data", 0))
    assert "a dead-letter object without a data object" in landed.errors()


def test_a_seed_that_fails_to_run_is_named_in_the_summary(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(seed: int, *_: object) -> None:
        raise TimeoutError(f"seed {seed}")

    monkeypatch.setattr(chaos, "run", broken)
    monkeypatch.setattr(chaos, "FAULTS", ())  # no fault happened, so none may be required
    monkeypatch.setattr("sys.argv", ["chaos", "--seeds", "2"])
    assert chaos.main() == 1
    output = capsys.readouterr()
    assert "NOT FINISHED: seeds [1, 2]" in output.out.splitlines()[-1]
    assert "TimeoutError: seed 2" in output.err
