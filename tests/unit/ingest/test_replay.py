"""Replays beside and after each other: a letter is sent once, whoever is at it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import obstore
import pytest
from confluent_kafka import KafkaException
from obstore.exceptions import AlreadyExistsError, GenericError

from include.ingest import __main__ as cli
from include.ingest import console
from include.ingest.replay import replay as replaying
from include.ingest.replay.choice import Filter, letter_id, letters
from include.ingest.replay.kafka_log import KafkaTopic
from include.ingest.replay.replay import (
    LEASE,
    SEND_TIME,
    ClaimedLetterError,
    Marker,
    RefusedLetterError,
    Replay,
    Report,
    UnreadableMarkerError,
)
from include.landing.body import PLAIN
from include.landing.dead_letter import DeadLetter, rejected_message
from include.landing.layout import object_key
from include.settings import KafkaSettings, StorageSettings
from tests.unit.ingest.memory_bucket import Bucket

STORAGE = StorageSettings()


def rejected(offset: int = 7) -> DeadLetter:
    return rejected_message(
        topic="quotes", partition=0, offset=offset, timestamp=0, error_class="not_json", error="no JSON",
        key=None, value=b"no quote", headers=None,
    )  # fmt: skip


LETTER = rejected()


class Topic:
    """The log: what was sent to it, and what happens just before it is searched or sent to."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.before_search: Callable[[], object] = lambda: None
        self.before_send: Callable[[], object] = lambda: None

    def ends(self, topic: str) -> dict[int, int]:
        return {0: len(self.sent)}

    def holds(self, letter: DeadLetter, since: dict[int, int]) -> bool:
        found = letter_id(letter) in self.sent[since[0] :]
        self.before_search()
        return found

    def send(self, letter: DeadLetter) -> None:
        self.before_send()
        self.sent.append(letter_id(letter))


@pytest.fixture
def log() -> Topic:
    return Topic()


@pytest.fixture
def store() -> Bucket:
    return Bucket()


@pytest.fixture
def replay(log: Topic, store: Bucket) -> Replay:
    return Replay(log, STORAGE, store, "the first")


@pytest.fixture
def other(store: Bucket) -> Replay:
    """A second replay; its log's hooks do nothing, unlike the first's, so that it can run inside of these."""
    return Replay(Topic(), STORAGE, store, "the second")


def marker(store: Bucket, replay: Replay) -> Marker:
    content = bytes(obstore.get(store, replay.marker_key(LETTER)).bytes())
    return msgspec.json.decode(content, type=Marker)


def died(store: Bucket, replay: Replay, ago: timedelta = LEASE, **fields: object) -> None:
    """Leave the marker of a replay that ended between claiming and completing."""
    claimed = (datetime.now(UTC) - ago).isoformat()
    content = {"letter": letter_id(LETTER), "log_ends": {"0": 0}, "claimed_at": claimed, "claimed_by": "the dead"}
    obstore.put(store, replay.marker_key(LETTER), json.dumps(content | fields).encode())


def test_a_replay_that_starts_while_anothers_claim_is_unfinished_sends_nothing(
    log: Topic, store: Bucket, replay: Replay, other: Replay
) -> None:
    other._topic, report = log, Report()

    def second() -> None:
        log.before_send = lambda: None
        other.send_into(LETTER, report)

    log.before_send = second
    assert replay.send(LETTER)
    assert log.sent == ["quotes/0/7"]
    (told,) = report.claimed
    assert told.startswith("quotes/0/7 is being replayed by the first on ")
    assert f"since {marker(store, replay).claimed_at:%Y-%m-%dT%H:%M:%SZ}; to make sure of it replay again after" in told
    assert (report.sent, report.present, report.refused) == (0, 0, [])
    assert str(report) == "0 sent, 0 were on the topic already, 1 left to another replay"
    assert list(other.pending([LETTER])) == []
    assert not other.send(LETTER)


def test_of_two_that_start_at_once_one_sends(log: Topic, store: Bucket, replay: Replay, other: Replay) -> None:
    other._topic, both = log, threading.Barrier(2)
    ends = log.ends

    def together(topic: str) -> dict[int, int]:
        both.wait(10)
        return ends(topic)

    log.ends = together  # type: ignore[method-assign]
    assert sorted(at_once(replay, other)) == ["claimed or present", "sent"]
    assert log.sent == ["quotes/0/7"]


@pytest.mark.parametrize("claimed_by", ["the dead", None])
def test_what_a_dead_replay_had_sent_is_completed_without_sending(
    log: Topic, store: Bucket, replay: Replay, claimed_by: str | None
) -> None:
    died(store, replay, claimed_by=claimed_by)
    log.sent = ["quotes/0/7"]
    assert list(replay.pending([LETTER])) == [LETTER]
    assert not replay.send(LETTER)
    assert marker(store, replay).replayed_at is not None
    assert log.sent == ["quotes/0/7"]


def test_a_dead_replays_claim_is_taken_over_by_one_of_two(
    log: Topic, store: Bucket, replay: Replay, other: Replay
) -> None:
    died(store, replay)
    other._topic, both = log, threading.Barrier(2)
    log.before_search = lambda: both.wait(10)  # neither has taken over, neither sees the message
    assert sorted(at_once(replay, other)) == ["claimed or present", "sent"]
    assert log.sent == ["quotes/0/7"]
    assert marker(store, replay).replayed_at is not None


def at_once(*replays: Replay) -> list[str]:
    """What became of the letter in each of these, run side by side."""
    outcomes: list[str] = []

    def run(replay: Replay) -> None:
        report = Report()
        replay.send_into(LETTER, report)
        outcomes.append("sent" if report.sent else "claimed or present")

    threads = [threading.Thread(target=run, args=(replay,)) for replay in replays]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return outcomes


def test_who_is_overtaken_while_he_looks_sees_that_it_is_done(
    log: Topic, store: Bucket, replay: Replay, other: Replay
) -> None:
    died(store, replay)
    other._topic = log

    def second() -> None:
        log.before_search = lambda: None
        assert other.send(LETTER)

    log.before_search = second
    assert not replay.send(LETTER)
    assert log.sent == ["quotes/0/7"]


def test_a_claim_is_left_alone_up_to_its_lease(log: Topic, store: Bucket, replay: Replay) -> None:
    died(store, replay, LEASE - timedelta(seconds=5))
    with pytest.raises(ClaimedLetterError, match="by the dead since"):
        replay.send(LETTER)
    died(store, replay, LEASE)
    assert replay.send(LETTER)
    assert log.sent == ["quotes/0/7"]


def test_a_marker_from_before_the_lease_is_nobodys(log: Topic, store: Bucket, replay: Replay) -> None:
    died(store, replay, timedelta(0), claimed_by=None)
    assert replay.send(LETTER)
    assert log.sent == ["quotes/0/7"]


def test_a_refused_letter_is_given_back_at_once(log: Topic, store: Bucket, replay: Replay, other: Replay) -> None:
    def refuse() -> None:
        raise RefusedLetterError("too large")

    log.before_send, report = refuse, Report()
    for each in (replay, replay):
        each.send_into(LETTER, report)
    assert report.refused == ["too large"] * 2
    assert marker(store, replay).claimed_by is None
    assert other.send(LETTER)


def test_a_letter_that_was_not_acknowledged_stays_claimed(log: Topic, replay: Replay, other: Replay) -> None:
    def fail() -> None:
        raise KafkaException("no answer")

    log.before_send = fail
    with pytest.raises(KafkaException):
        replay.send(LETTER)
    with pytest.raises(ClaimedLetterError, match="by the first on"):
        other.send(LETTER)


class Answers:
    """In place of obstore.put: the first answers as told, then the store's own; `lost` writes all the same."""

    def __init__(self, *errors: Exception, lost: bool = False) -> None:
        self._put, self._errors, self._lost = obstore.put, list(errors), lost
        self.modes: list[object] = []

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self.modes.append(options["mode"])
        if not self._errors or self._lost:
            answer = self._put(*arguments, **options)
        if self._errors:
            raise self._errors.pop()
        return answer


@pytest.mark.parametrize("lost", [False, True])
def test_a_conflict_over_nothing_is_tried_again_and_ones_own_claim_is_known(
    log: Topic, replay: Replay, monkeypatch: pytest.MonkeyPatch, lost: bool
) -> None:
    answers = Answers(AlreadyExistsError("409"), lost=lost)
    monkeypatch.setattr(obstore, "put", answers)
    assert replay.send(LETTER)
    assert log.sent == ["quotes/0/7"]
    assert answers.modes[: 2 - lost] == ["create"] * (2 - lost)


def test_conflicts_without_end_send_nothing(log: Topic, replay: Replay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(obstore, "put", Answers(*[AlreadyExistsError("409")] * 9))
    with pytest.raises(GenericError, match="another write is under way; replay again"):
        replay.send(LETTER)
    assert log.sent == []


def test_a_claim_that_took_too_long_is_not_used(log: Topic, replay: Replay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replaying, "CLAIM_TIME", timedelta(0))
    with pytest.raises(GenericError, match="quotes/0/7 is not sent: its claim took"):
        replay.send(LETTER)
    assert log.sent == []


def test_a_message_is_sent_before_its_lease_ends_whatever_the_options_say() -> None:
    options: dict[str, str | int | float | bool] = {"delivery.timeout.ms": 900_000, "message.timeout.ms": 900_000}
    config = KafkaTopic.producer_config(KafkaSettings(options=options))
    assert {config[name] for name in options} == {60_000}
    assert replaying.CLAIM_TIME + SEND_TIME < LEASE


@pytest.mark.parametrize("content", [b"{}", b'{"letter":"\xff"}'])
def test_a_marker_that_cannot_be_read_concerns_its_letter_only(
    store: Bucket, log: Topic, replay: Replay, content: bytes
) -> None:
    obstore.put(store, replay.marker_key(LETTER), content)
    report = Report()
    for letter in replay.pending([LETTER, rejected(8)]):
        replay.send_into(letter, report)
    assert log.sent == ["quotes/0/8"]
    with pytest.raises(UnreadableMarkerError, match=r"state/replayed/p00000_o.*7\.json: .*; delete it to send"):
        replay.send(LETTER)
    assert len(report.unreadable) == 1


@pytest.mark.parametrize("content", [b"torn", b'[{"_topic": "quotes"}]', b'[{"payload": 1}]', None])
def test_an_object_that_holds_no_dead_letters_is_named_and_the_others_are_read(
    store: Bucket, content: bytes | None
) -> None:
    if content is None:  # base64 that is none
        content = b"[" + LETTER.to_line().replace(b'="', b'"') + b"]"
    bad = object_key("dead_letter/", "dead_letter", 0, 7, 0)
    obstore.put(store, bad, content)
    good = bytes(PLAIN.encode([rejected(8).to_line()]))
    obstore.put(store, object_key("dead_letter/", "dead_letter", 0, 8, 0), good)
    unreadable: list[str] = []
    assert [letter.offset for letter in letters(store, STORAGE, Filter(since=date(1970, 1, 1)), unreadable)] == [8]
    (told,) = unreadable
    assert told.startswith(f"s3://{STORAGE.bucket}/{bad}: ")
    assert list(letters(store, STORAGE, Filter(partition=1), unreadable)) == []
    assert len(unreadable) == 1  # of partition 0, which was not asked for


def test_the_command_line_names_what_is_not_done_with_status_3(
    store: Bucket, log: Topic, replay: Replay, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    died(store, replay, timedelta(0))
    rows = [letter.to_line() for letter in (LETTER, rejected(8))]
    obstore.put(store, object_key("dead_letter/", "dead_letter", 0, 7, 0), bytes(PLAIN.encode(rows)))
    obstore.put(store, object_key("dead_letter/", "dead_letter", 0, 9, 0), b"torn")
    monkeypatch.setattr(console, "open_store", lambda *_: store)
    monkeypatch.setattr(console, "KafkaTopic", lambda _: log)
    assert cli.main(["replay", "--yes"]) == 3
    told = capsys.readouterr().err
    assert "1 sent, 0 were on the topic already, 1 left to another replay, 1 unreadable" in told.replace("\n", " ")
    assert "dead letter left to another replay" in told
    assert "object unreadable" in told
    assert log.sent == ["quotes/0/8"]


def test_a_class_that_is_none_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["replay", "--error-class", "not_jsn"])
    assert ended.value.code == 2
    assert "not_json" in capsys.readouterr().err
