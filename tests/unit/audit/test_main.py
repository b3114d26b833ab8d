"""The command line on the emulator: exit status and words."""

from __future__ import annotations

from datetime import datetime

import boto3
import pytest

from include.audit import __main__ as program
from include.ingest.store import open_store
from include.settings import load
from include.state import audited
from tests.unit.audit.landed_days import DAY, NOW, LandedDays

pytestmark = pytest.mark.servers
ALONE = ("--without-kafka", "--without-layers")


class Clock(datetime):
    """It stands still at the time of `LandedDays`."""

    @classmethod
    def now(cls, tz: object = None) -> datetime:  # type: ignore[override]  # noqa: ARG003
        return NOW


@pytest.fixture
def days(bucket: str, monkeypatch: pytest.MonkeyPatch) -> LandedDays:
    monkeypatch.setenv("S3_BUCKET", bucket)
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setattr(program, "datetime", Clock)
    settings = load()
    return LandedDays(open_store(settings.storage, settings.aws), settings.storage)


def test_a_clean_bucket_has_status_0(days: LandedDays, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["run", *ALONE]) == 0
    text = capsys.readouterr().err
    assert "2026-11-23: ok; 12 objects, 12 read; root " in text
    assert "nothing is missing, doubled, altered or out of place" in text
    state = audited.read(boto3.client("s3"), days.storage)
    assert state is not None
    assert state.day == "2026-11-23"


def test_a_finding_has_status_1_and_its_remedy(days: LandedDays, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["run", *ALONE]) == 0
    boto3.client("s3").delete_object(Bucket=days.storage.bucket, Key=days.key(DAY, 0, 20))
    assert program.main(["run", *ALONE]) == 1
    assert f"missing: {days.key(DAY, 0, 20)}" in capsys.readouterr().err
    assert program.main(["run", "--day", "2026-11-23", "--again", *ALONE]) == 1  # the hole stays
    assert program.main(["run", "--day", "2026-11-24", *ALONE]) == 2
    assert "2026-11-24 has not ended" in capsys.readouterr().err


def test_where_finds_a_record_by_the_manifest(days: LandedDays, capsys: pytest.CaptureFixture[str]) -> None:
    program.main(["run", *ALONE])
    assert program.main(["where", "0/15", *ALONE]) == 0
    text = capsys.readouterr().out
    assert f"object: s3://{days.storage.bucket}/{days.key(DAY, 0, 10)}, line 7, since " in text
    assert "requests to S3: 3" in text


def test_a_place_that_is_none_is_refused(days: LandedDays, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["where", "BTC"], ["where", "1/x"], ["where", "BTC", "yesterday"]):
        assert program.main(arguments) == 2
    assert "write PARTITION/OFFSET like 2/4217" in capsys.readouterr().err
