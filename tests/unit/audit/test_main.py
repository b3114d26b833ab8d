"""The command line on the emulator: exit status and words."""

from __future__ import annotations

from datetime import datetime, timedelta

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
    text = capsys.readouterr().out
    assert "2026-11-23: ok; 12 objects, 12 read; root " in text
    assert "nothing is missing, doubled, altered or out of place" in text
    state = audited.read(boto3.client("s3"), days.storage)
    assert state is not None
    assert state.day == "2026-11-23"


def test_a_finding_has_status_1_and_its_remedy(days: LandedDays, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["run", *ALONE]) == 0
    boto3.client("s3").delete_object(Bucket=days.storage.bucket, Key=days.key(DAY, 0, 20))
    assert program.main(["run", *ALONE]) == 1
    assert f"missing: {days.key(DAY, 0, 20)}" in capsys.readouterr().out
    assert program.main(["run", "--day", "2026-11-23", "--again", *ALONE]) == 1  # the hole stays
    assert program.main(["run", "--day", "2026-11-24", *ALONE]) == 2
    assert "2026-11-24 has not ended" in capsys.readouterr().err


def test_without_kafka_no_client_of_kafka_is_made(days: LandedDays, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_OPTIONS", '{"security.protocol": "ssl", "ssl.ca.location": "/no/such/certificate"}')
    assert program.main(["run"]) == 2
    assert program.main(["run", *ALONE]) == 0
    assert program.main(["where", "0/15"]) == 2
    assert program.main(["where", "0/15", *ALONE]) == 0


def test_where_finds_a_record_by_the_manifest(days: LandedDays, capsys: pytest.CaptureFixture[str]) -> None:
    program.main(["run", *ALONE])
    assert program.main(["where", "0/15", *ALONE]) == 0
    text = capsys.readouterr().out
    assert f"object: s3://{days.storage.bucket}/{days.key(DAY, 0, 10)}, line 7, landed " in text
    assert "requests to S3: 3" in text


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (["where", "BTC"], "write PARTITION/OFFSET like 2/4217"),
        (["where", "1/x"], "write PARTITION/OFFSET like 2/4217"),
        (["where", "BTC", "yesterday"], "write it like 2026-11-23T20:15:07Z"),
        (["where", "BTC", "2026-11-23T20:15:07Z", "--without-layers"], "leave out --without-layers"),
        (["run", "--day", "2026-11-20", *ALONE], "the first object is of 2026-11-22"),
    ],
)
def test_what_cannot_be_answered_is_refused(
    days: LandedDays, capsys: pytest.CaptureFixture[str], arguments: list[str], remedy: str
) -> None:
    assert days.end
    assert program.main(arguments) == 2
    assert remedy in capsys.readouterr().err


def test_deep_without_a_day_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        program.main(["run", "--deep", *ALONE])
    assert "--deep and --again need --day" in capsys.readouterr().err


def test_a_bucket_without_an_ended_day_says_so(
    days: LandedDays, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Clock, "now", classmethod(lambda *_: NOW - timedelta(days=2)))
    assert days.end
    assert program.main(["run", *ALONE]) == 0
    assert (
        capsys.readouterr().out.strip()
        == "no day with landed objects has ended yet (UTC); a day is audited when it is over"
    )
