"""A dead letter is sent once by any number of replays, at the same time or one after the other."""

from __future__ import annotations

import gc
import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import obstore
import pytest
from confluent_kafka import KafkaException
from obstore.exceptions import AlreadyExistsError, GenericError

from include.ingest import __main__ as program
from include.ingest import console
from include.ingest.replay import replay as replay_module
from include.ingest.replay.choice import dead_letter_id
from include.ingest.replay.replay import (
    LEASE,
    ClaimedDeadLetterError,
    Marker,
    RefusedMessageError,
    Replay,
    Report,
    UnreadableMarkerError,
)
from include.landing.body import PLAIN
from include.landing.dead_letter import DeadLetter
from include.landing.layout import object_key
from include.settings import StorageSettings
from tests.unit.ingest.memory_bucket import Bucket
from tests.unit.ingest.replay.dead_letters import rejected

STORAGE = StorageSettings()
DEAD_LETTER = rejected()


class Topic:
    """A topic of one partition: the ids sent to it, and hooks that run after a search and before sending."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.after_search: Callable[[], object] = lambda: None
        self.before_send: Callable[[], object] = lambda: None

    def ends(self, name: str) -> dict[int, int]:
        return {0: len(self.sent)}

    def holds(self, dead_letter: DeadLetter, since: dict[int, int]) -> bool:
        is_sent = dead_letter_id(dead_letter) in self.sent[since[0] :]
        self.after_search()
        return is_sent

    def send(self, dead_letter: DeadLetter) -> None:
        self.before_send()
        self.sent.append(dead_letter_id(dead_letter))


@pytest.fixture
def topic() -> Topic:
    return Topic()


@pytest.fixture
def store() -> Bucket:
    return Bucket()


@pytest.fixture
def replay(topic: Topic, store: Bucket) -> Replay:
    return Replay(topic, STORAGE, store, "the first")


@pytest.fixture
def other(store: Bucket) -> Replay:
    """A second replay. Its own topic's hooks do nothing, so the second replay can run in a hook of the first."""
    return Replay(Topic(), STORAGE, store, "the second")


def marker(store: Bucket, replay: Replay) -> Marker:
    content = bytes(obstore.get(store, replay.marker_key(DEAD_LETTER)).bytes())
    return msgspec.json.decode(content, type=Marker)


def leave_claim(store: Bucket, replay: Replay, ago: timedelta = LEASE, **fields: object) -> None:
    """Write the marker of a replay that ended between claiming and completing."""
    claimed = (datetime.now(UTC) - ago).isoformat()
    content = {
        "letter": dead_letter_id(DEAD_LETTER),
        "log_ends": {"0": 0},
        "claimed_at": claimed,
        "claimed_by": "a dead process",
    }
    obstore.put(store, replay.marker_key(DEAD_LETTER), json.dumps(content | fields).encode())


def test_a_dead_letter_that_another_replay_claims_is_not_sent(
    topic: Topic, store: Bucket, replay: Replay, other: Replay
) -> None:
    other._topic, report = topic, Report()

    def second() -> None:
        topic.before_send = lambda: None
        other.send_and_report(DEAD_LETTER, report)

    topic.before_send = second
    assert replay.send(DEAD_LETTER)
    assert topic.sent == ["quotes/0/7"]
    (text,) = report.claimed
    assert text.startswith("quotes/0/7 is being replayed by the first on ")
    since = f"since {marker(store, replay).claimed_at:%Y-%m-%dT%H:%M:%SZ}"
    assert f"{since}; to be sure that it was sent, replay again after" in text
    assert (report.sent, report.present, report.refused) == (0, 0, [])
    assert str(report) == "0 sent, 0 were on the topic already, 1 left to another replay"
    assert list(other.pending([DEAD_LETTER])) == []
    assert not other.send(DEAD_LETTER)


def test_one_of_two_replays_at_once_sends(topic: Topic, store: Bucket, replay: Replay, other: Replay) -> None:
    other._topic, barrier = topic, threading.Barrier(2)
    ends = topic.ends

    def together(name: str) -> dict[int, int]:
        barrier.wait(60)
        return ends(name)

    topic.ends = together  # type: ignore[method-assign]
    assert sorted(at_once(replay, other)) == ["claimed or present", "sent"]
    assert topic.sent == ["quotes/0/7"]


@pytest.mark.parametrize("claimed_by", ["a dead process", None])
def test_a_message_of_an_interrupted_replay_is_found_not_sent(
    topic: Topic, store: Bucket, replay: Replay, claimed_by: str | None
) -> None:
    leave_claim(store, replay, claimed_by=claimed_by)
    topic.sent = ["quotes/0/7"]
    assert list(replay.pending([DEAD_LETTER])) == [DEAD_LETTER]
    assert not replay.send(DEAD_LETTER)
    assert marker(store, replay).replayed_at is not None
    assert topic.sent == ["quotes/0/7"]


def test_an_interrupted_claim_is_taken_over_by_one_of_two(
    topic: Topic, store: Bucket, replay: Replay, other: Replay
) -> None:
    leave_claim(store, replay)
    other._topic, barrier = topic, threading.Barrier(2)
    topic.after_search = lambda: barrier.wait(60)  # until both have searched, neither has taken over
    assert sorted(at_once(replay, other)) == ["claimed or present", "sent"]
    assert topic.sent == ["quotes/0/7"]
    assert marker(store, replay).replayed_at is not None


def at_once(*replays: Replay) -> list[str]:
    """The outcome of each of these replays, run at the same time."""
    outcomes: list[str] = []

    def run(replay: Replay) -> None:
        report = Report()
        replay.send_and_report(DEAD_LETTER, report)
        outcomes.append("sent" if report.sent else "claimed or present")

    threads = [threading.Thread(target=run, args=(replay,)) for replay in replays]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return outcomes


def test_a_replay_overtaken_during_its_search_sends_nothing(
    topic: Topic, store: Bucket, replay: Replay, other: Replay
) -> None:
    leave_claim(store, replay)
    other._topic = topic

    def second() -> None:
        topic.after_search = lambda: None
        assert other.send(DEAD_LETTER)

    topic.after_search = second
    assert not replay.send(DEAD_LETTER)
    assert topic.sent == ["quotes/0/7"]


def test_a_claim_holds_for_its_lease(topic: Topic, store: Bucket, replay: Replay) -> None:
    leave_claim(store, replay, LEASE - timedelta(seconds=5))
    with pytest.raises(ClaimedDeadLetterError, match="by a dead process since"):
        replay.send(DEAD_LETTER)
    leave_claim(store, replay, LEASE)
    assert replay.send(DEAD_LETTER)
    assert topic.sent == ["quotes/0/7"]


def test_a_marker_without_a_claimant_is_taken_over(topic: Topic, store: Bucket, replay: Replay) -> None:
    leave_claim(store, replay, timedelta(0), claimed_by=None)
    assert replay.send(DEAD_LETTER)
    assert topic.sent == ["quotes/0/7"]


def test_a_refused_message_gives_its_claim_back(topic: Topic, store: Bucket, replay: Replay, other: Replay) -> None:
    def refuse() -> None:
        raise RefusedMessageError("too large")

    topic.before_send, report = refuse, Report()
    for _ in range(2):
        replay.send_and_report(DEAD_LETTER, report)
    assert report.refused == ["too large"] * 2
    assert marker(store, replay).claimed_by is None
    assert other.send(DEAD_LETTER)


def test_an_unacknowledged_message_stays_claimed(topic: Topic, replay: Replay, other: Replay) -> None:
    def fail() -> None:
        raise KafkaException("no answer")

    topic.before_send = fail
    with pytest.raises(KafkaException):
        replay.send(DEAD_LETTER)
    with pytest.raises(ClaimedDeadLetterError, match="by the first on"):
        other.send(DEAD_LETTER)


class Answers:
    """Replaces obstore.put: first raises the errors, then calls the store. With `lost` it writes before each error."""

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
def test_a_conflict_without_an_object_is_retried(
    topic: Topic, replay: Replay, monkeypatch: pytest.MonkeyPatch, lost: bool
) -> None:
    put = Answers(AlreadyExistsError("409"), lost=lost)
    monkeypatch.setattr(obstore, "put", put)
    assert replay.send(DEAD_LETTER)
    assert topic.sent == ["quotes/0/7"]
    assert put.modes[: 2 - lost] == ["create"] * (2 - lost)


def test_conflicts_without_end_send_nothing(topic: Topic, replay: Replay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(obstore, "put", Answers(*[AlreadyExistsError("409")] * 9))
    with pytest.raises(GenericError, match="another write is under way; replay again"):
        replay.send(DEAD_LETTER)
    assert topic.sent == []


def test_a_claim_that_took_too_long_is_not_used(topic: Topic, replay: Replay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay_module, "CLAIM_TIME", timedelta(0))
    with pytest.raises(GenericError, match="quotes/0/7 is not sent: its claim took"):
        replay.send(DEAD_LETTER)
    assert topic.sent == []


@pytest.mark.parametrize("content", [b"{}", b'{"letter":"\xff"}'])
def test_an_unreadable_marker_stops_only_its_dead_letter(
    store: Bucket, topic: Topic, replay: Replay, content: bytes
) -> None:
    obstore.put(store, replay.marker_key(DEAD_LETTER), content)
    report = Report()
    for dead_letter in replay.pending([DEAD_LETTER, rejected(8)]):
        replay.send_and_report(dead_letter, report)
    assert topic.sent == ["quotes/0/8"]
    with pytest.raises(UnreadableMarkerError, match=r"state/replayed/p00000_o.*7\.json: .*; delete it to send"):
        replay.send(DEAD_LETTER)
    assert len(report.unreadable) == 1


def test_the_command_line_names_problems_and_returns_3(
    store: Bucket, topic: Topic, replay: Replay, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    leave_claim(store, replay, timedelta(0))
    rows = [dead_letter.to_line() for dead_letter in (DEAD_LETTER, rejected(8))]
    obstore.put(store, object_key("dead_letter/", "dead_letter", 0, 7, 0), bytes(PLAIN.encode(rows)))
    obstore.put(store, object_key("dead_letter/", "dead_letter", 0, 9, 0), b"torn")
    monkeypatch.setattr(console, "open_store", lambda *_: store)
    monkeypatch.setattr(console, "KafkaTopic", lambda _: topic)
    assert program.main(["replay", "--yes"]) == 3
    text = capsys.readouterr().err
    assert "1 sent, 0 were on the topic already, 1 left to another replay, 1 unreadable" in text.replace("\n", " ")
    assert "dead letter left to another replay" in text
    assert "object unreadable" in text
    assert topic.sent == ["quotes/0/8"]


def test_the_command_line_does_not_hold_all_dead_letters_at_once(
    store: Bucket, topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All dead letters together may need more memory than there is."""
    held: list[int] = []

    def look() -> None:
        letters = [found for found in gc.get_objects() if isinstance(found, DeadLetter)]
        held.append(sum(letter.payload == payload for letter in letters))

    payload = b"a payload of this test"
    for number in range(40):
        row = msgspec.structs.replace(rejected(number), payload=payload).to_line()
        obstore.put(store, object_key("dead_letter/", "dead_letter", 0, number, 0), bytes(PLAIN.encode([row])))
    monkeypatch.setattr(console, "open_store", lambda *_: store)
    monkeypatch.setattr(console, "KafkaTopic", lambda _: topic)
    topic.before_send = look
    assert program.main(["replay", "--yes"]) == 0
    assert len(topic.sent) == 40
    assert 0 < max(held) < 20


def test_an_unknown_class_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        program.main(["replay", "--error-class", "not_jsn"])
    assert end.value.code == 2
    assert "not_json" in capsys.readouterr().err
