"""A small world around the real protocol code, searched for histories that lose or double a record.

One partition, two writers. Every step is atomic: the log grows, a writer is assigned,
reads one record, closes its batch, S3 carries out one PUT (which may arrive long after
its writer is gone), a commit, and the faults: crash, stall (the group moves on, the
writer does not know), graceful revocation, a lost answer, a commit of who is no longer the
owner, the commits' end. `search` visits every history up to the given numbers of faults;
`wander` takes seeded random ones through larger worlds.

The writers are `include.ingest.partition_writer.Lane`, start where `start_from_commit` or
`start_without_commit` says, and agree on `include.landing.contract.Contract`; only
Kafka and S3 are modelled.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from include.ingest import adoption
from include.ingest.partition_writer import (
    Batch,
    Created,
    Gap,
    Landed,
    Lane,
    Limits,
    Part,
    ProtocolError,
    Put,
    Step,
    _Cell,
    rows_to_land,
)
from include.ingest.starting_offset import (
    ForeignCommitError,
    commit_mark,
    complete_to,
    start_from_commit,
    start_without_commit,
)
from include.landing.cells import Cells
from include.landing.contract import CellSize, Contract, ContractError

TOPIC_ID = "topic"
MINE = Contract("cluster", "t", TOPIC_ID, ".json", "read_committed", (CellSize(2, {}),))


@dataclass(frozen=True)
class Rules:
    """What the world around the lane does by the rules; each may be switched off."""

    lane: type[Lane] = Lane
    check_contract: bool = True
    key_from_record: bool = True
    create_only: bool = True
    content_decides: bool = True
    check_mark: bool = True
    reset_is_error: bool = True
    place: Callable[..., int] = start_without_commit
    resize_needs_stop: bool = True
    resize_at_log_end: bool = True


@dataclass(frozen=True)
class Setup:
    """One world. `crashes` and the like are how often each fault may happen."""

    rules: Rules = field(default_factory=Rules)
    log: int = 4
    log_at_start: int = 4
    rejects: frozenset[int] = frozenset()
    other_rejects: frozenset[int] | None = None
    """What the second writer rejects, if not the same: another version validates otherwise."""
    holes: frozenset[int] = frozenset()
    cell: int = 2
    other_cell: int | None = None
    other_suffix: bool = False
    batch: int = 99
    window: int = 2
    crashes: int = 0
    stalls: int = 0
    revokes: int = 0
    lost_answers: int = 0
    foreign_commits: int = 0
    expiries: int = 0
    adoptions: int = 0
    retention: int = 0
    resizes: int = 0
    late_commits: int = 0


class ViolationError(AssertionError):
    """A record is lost or doubled."""


class World:
    """State of Kafka, S3 and two writers."""

    def __init__(self, setup: Setup) -> None:
        self.high = setup.log_at_start
        self.low = 0
        self.commit = -1
        self.mark: str | None = None
        self.promised_from = self.adopted_from = 0
        self.given_up: list[tuple[int, int]] = []
        self.letters_given_up: list[tuple[int, int]] = []
        self.owner: int | None = None
        self.contract: Contract | None = None
        self.data: dict[tuple[int, str], tuple[int, frozenset[int], int]] = {}
        self.letters: dict[int, frozenset[int]] = {}
        self.lanes: list[Lane | None] = [None, None]
        self.net: list[tuple[int, Put]] = []
        self.assignments = 0
        self.faults = {
            "crash": setup.crashes,
            "stall": setup.stalls,
            "revoke": setup.revokes,
            "lose": setup.lost_answers,
            "foreign": setup.foreign_commits,
            "expire": setup.expiries,
            "adopt": setup.adoptions,
            "retain": setup.retention,
            "resize": setup.resizes,
            "late_commit": setup.late_commits,
        }

    # --- what may happen ------------------------------------------------------

    def steps(self, setup: Setup) -> Iterator[tuple[Any, ...]]:
        if self.high < setup.log:
            yield ("grow",)
        for number, lane in enumerate(self.lanes):
            yield from self._writer_steps(setup, number, lane)
        seen = set()
        for index, (writer, put) in enumerate(self.net):
            shape = (writer, self._put_shape(writer, put))
            if shape not in seen:
                seen.add(shape)
                yield ("put", index)
                if self.faults["lose"]:
                    yield ("lose", index)
        yield from self._commit_steps(setup)
        if self.faults["retain"] and self.low + 1 < self.high:
            yield ("retain", self.low + 1)
        if self.faults["resize"] and self.contract and (self.owner is None or not setup.rules.resize_needs_stop):
            stopped = all(lane is None for lane in self.lanes)
            if stopped or not setup.rules.resize_needs_stop:
                yield ("resize",)

    def _commit_steps(self, setup: Setup) -> Iterator[tuple[Any, ...]]:
        if self.owner is not None:
            return
        if self.faults["foreign"]:
            yield from (("foreign", offset) for offset in range(1, self.high))
        if self.faults["expire"] and self.commit >= 0 and self._may_expire(setup):
            yield ("expire",)
        if self.faults["adopt"] and self.contract and not self.net and self.lanes == [None, None]:
            yield from (("adopt", offset) for offset in (None, *range(self.low, self.high + 1)))

    def _may_expire(self, setup: Setup) -> bool:
        """Where the start may move (retention, `adopt`), no PUT outlives the commits."""
        return not (setup.retention or setup.adoptions) or (not self.net and self.lanes == [None, None])

    def _writer_steps(self, setup: Setup, number: int, lane: Lane | None) -> Iterator[tuple[Any, ...]]:
        if lane is None:
            if self.owner is None:
                yield ("assign", number)
            return
        if not lane.sealed and self._next(setup, lane) is not None:
            yield ("read", number)
        if lane.open is not None and lane.open.landed is None:
            yield ("age", number)
        if self.faults["crash"]:
            yield ("crash", number)
        if self.owner == number:
            yield from self._owner_steps(number, lane)
        else:
            yield ("wake", number)
            if self.faults["late_commit"] and lane.durable != self.commit:
                yield ("late_commit", number)

    def _owner_steps(self, number: int, lane: Lane) -> Iterator[tuple[Any, ...]]:
        if lane.durable > max(self.commit, 0):
            yield ("commit", number)
        if self.faults["stall"]:
            yield ("stall", number)
        if self.faults["revoke"] and not lane.sealed:
            yield ("seal", number)
        if lane.sealed:
            yield ("release", number)

    def _next(self, setup: Setup, lane: Lane) -> int | None:
        offset = lane.position
        while offset in setup.holes:
            offset += 1
        return offset if self.low <= offset < self.high else None

    # --- what it does ---------------------------------------------------------

    def do(self, setup: Setup, step: tuple[Any, ...]) -> None:
        getattr(self, f"_do_{step[0]}")(setup, *step[1:])

    def _do_grow(self, setup: Setup) -> None:
        self.high += 1

    def _do_assign(self, setup: Setup, number: int) -> None:
        cell = setup.other_cell if number == 1 and setup.other_cell else setup.cell
        suffix = ".json.gz" if number == 1 and setup.other_suffix else ".json"
        mine = replace(MINE, suffix=suffix, cells=(CellSize(cell, {}),))  # type: ignore[arg-type]
        if self.contract is None:
            self.contract = mine
        contract = mine
        if setup.rules.check_contract:
            try:
                self.contract.check(mine)
            except ContractError:
                return  # it refuses to start; the owner stays nobody
            contract = self.contract
        try:
            start = start_from_commit(
                0, self.commit, self.mark if setup.rules.check_mark else commit_mark(TOPIC_ID), TOPIC_ID
            )
        except ForeignCommitError:
            return
        if start is None:
            landed = [first for first, _ in self.data]
            start = setup.rules.place(0, landed, self.given_up, contract.cells_of(0), self.low, setup.window)
            self.commit, self.mark = start, commit_mark(TOPIC_ID)  # the start is committed first
            # What was deleted before anything landed leaves no trace.
            begins = [first for first, _ in self.given_up] or [self.low]
            self.promised_from = max(self.adopted_from, min([*landed, *begins]))
        if start < self.low:
            if setup.rules.reset_is_error:
                return  # the partition stops: an operator must act
            start = self.low
        self.owner = number
        self.assignments += 1
        limits = Limits(setup.batch, 10**9, 60.0, setup.window)
        lane = setup.rules.lane(TOPIC_ID, 0, self.assignments, start, contract.cells_of(0), limits, b"")
        lane.suffix = contract.suffix  # type: ignore[attr-defined]
        self.lanes[number] = lane

    def _do_read(self, setup: Setup, number: int) -> None:
        lane = self.lanes[number]
        assert lane is not None
        offset = self._next(setup, lane)
        assert offset is not None
        if offset in (setup.rejects if number == 0 or setup.other_rejects is None else setup.other_rejects):
            lane.reject(offset, 0, f"bad {offset}", None, 0.0)
        else:
            lane.feed(offset, [0], [b"%d" % offset], None, 0.0)
        self._send(number)

    def _do_age(self, setup: Setup, number: int) -> None:
        lane = self.lanes[number]
        assert lane is not None
        lane.close_open("age")
        self._send(number)

    def _send(self, number: int) -> None:
        lane = self.lanes[number]
        if lane is not None:
            self.net += [(number, put) for put in lane.puts()]

    def _do_commit(self, setup: Setup, number: int) -> None:
        lane = self.lanes[number]
        assert lane is not None
        self.commit, self.mark = max(self.commit, lane.durable), commit_mark(TOPIC_ID)

    def _do_late_commit(self, setup: Setup, number: int) -> None:
        """A writer that is no longer the owner commits all the same; the commit may go backwards."""
        self.faults["late_commit"] -= 1
        lane = self.lanes[number]
        assert lane is not None
        self.commit, self.mark = lane.durable, commit_mark(TOPIC_ID)

    def _do_stall(self, setup: Setup, number: int) -> None:
        self.faults["stall"] -= 1
        self.owner = None

    def _do_wake(self, setup: Setup, number: int) -> None:
        self.lanes[number] = None

    def _do_crash(self, setup: Setup, number: int) -> None:
        self.faults["crash"] -= 1
        if self.owner == number:
            self.owner = None
        self.lanes[number] = None

    def _do_seal(self, setup: Setup, number: int) -> None:
        self.faults["revoke"] -= 1
        lane = self.lanes[number]
        assert lane is not None
        lane.seal("revoked")
        self._send(number)

    def _do_release(self, setup: Setup, number: int) -> None:
        self._do_commit(setup, number)
        self.owner = None
        self.lanes[number] = None

    def _do_foreign(self, setup: Setup, offset: int) -> None:
        self.faults["foreign"] -= 1
        self.commit, self.mark = offset, "somebody else"

    def _do_expire(self, setup: Setup) -> None:
        self.faults["expire"] -= 1
        self.commit, self.mark = -1, None

    def _do_adopt(self, setup: Setup, offset: int | None) -> None:
        self.faults["adopt"] -= 1
        assert self.contract is not None
        cells = self.contract.cells_of(0)
        firsts = [first for first, _ in self.data]
        begin = self.commit if self.mark == commit_mark(TOPIC_ID) else None
        if begin is None and (firsts or self.given_up):
            begin = complete_to(firsts, self.given_up, cells, self.low, setup.window)
        there = [
            adoption.LandedRange(
                first, first, last,
                adoption.missing_ranges(set(good), first, last) if rejected and first not in self.letters else (),
            )
            for (first, _), (last, good, rejected) in self.data.items()
        ] + [adoption.LandedRange(first, first, last, skipped=True) for first, last in self.given_up]  # fmt: skip
        try:
            plan = adoption.decide(
                0, committed=self.commit, ours=self.mark == commit_mark(TOPIC_ID), log=(self.low, self.high),
                begin=begin, landed=sorted(there, key=lambda one: one.first), cells=cells, offset=offset,
            )  # fmt: skip
        except adoption.OperationError as error:
            raise ProtocolError(str(error)) from error
        self.given_up += plan.holes
        for found in plan.incomplete:
            self.letters[found.first] = frozenset()
            self.letters_given_up += found.missing
        self.commit, self.mark = plan.target, commit_mark(TOPIC_ID)
        if plan.landed_to is None:
            self.promised_from = self.adopted_from = plan.target  # nothing landed: the lake begins there

    def _do_retain(self, setup: Setup, low: int) -> None:
        self.faults["retain"] -= 1
        self.low = low

    def _do_resize(self, setup: Setup) -> None:
        self.faults["resize"] -= 1
        assert self.contract is not None
        if setup.rules.resize_at_log_end:
            self.contract = self.contract.resized(setup.cell + 1, {0: self.high})
        else:
            self.contract = replace(self.contract, cells=(CellSize(setup.cell + 1, {}),))

    def _do_lose(self, setup: Setup, index: int) -> None:
        """S3 carries the PUT out, the answer is lost, and it will be sent again."""
        self.faults["lose"] -= 1
        self._store(setup, *self.net[index])

    def _do_put(self, setup: Setup, index: int) -> None:
        """S3 carries the PUT out and answers, if anybody listens."""
        number, put = self.net.pop(index)
        answer = self._store(setup, number, put)
        lane = self.lanes[number]
        if lane is None:
            return
        following = lane.answer(put, answer)
        if following is not None:
            self.net.append((number, following))
        self._send(number)

    def _store(self, setup: Setup, number: int, put: Put) -> Created | Landed:
        batch = put.batch
        if put.step is Step.DEAD_LETTERS:
            letters = rows_to_land(batch) if setup.rules.content_decides else batch.rejects
            rows = frozenset(offset for offset, row in letters if not isinstance(row, Gap))
            if not setup.rules.create_only:
                self.letters.pop(batch.first, None)
            self.letters.setdefault(batch.first, rows)
            return Created()
        tag = ".json" if setup.rules.key_from_record else f"{number}.{put.assignment}"
        if setup.other_suffix:
            tag = str(getattr(self.lanes[number], "suffix", ".json.gz" if number else ".json"))
        key = (batch.first, tag)
        if key in self.data and setup.rules.create_only:
            last, offsets, rejected = self.data[key]
            return Landed(TOPIC_ID, 0, batch.first, last, rejected, offsets if rejected else None)
        good = frozenset(
            offset for part in batch.parts if part.lines is not None for offset in range(part.offset, part.last + 1)
        )
        self.data[key] = (batch.last, good, len(batch.rejects))
        return Created()

    # --- what must hold -------------------------------------------------------

    def check(self, setup: Setup) -> None:
        landed = Counter(offset for _, offsets, _ in self.data.values() for offset in offsets)
        dead = Counter(offset for rows in self.letters.values() for offset in rows)
        given_up = Counter(
            offset
            for first, last in (*self.given_up, *self.letters_given_up)
            for offset in range(first, last + 1)
            if offset not in setup.holes
        )
        for offset, count in (landed + dead + given_up).items():
            if count > 1:
                raise ViolationError(
                    f"record {offset} is there {count} times: data {self.data}, letters {self.letters}, gaps {given_up}"
                )
        if self.mark != commit_mark(TOPIC_ID) and setup.rules.check_mark:
            return  # a foreign commit is refused: nobody goes on behind it
        for offset in range(self.promised_from, self.commit):
            if offset in setup.holes:
                continue
            if offset in given_up:
                continue
            place = dead if offset in setup.rejects else landed
            if setup.other_rejects is not None:  # whoever came first has decided
                place = landed + dead
            if offset not in place:
                raise ViolationError(
                    f"record {offset} is lost: commit {self.commit}, data {self.data}, letters {self.letters}"
                )

    # --- identity of states ---------------------------------------------------

    def _put_shape(self, writer: int, put: Put) -> tuple[Any, ...]:
        lane = self.lanes[writer]
        heard = lane is not None and lane.assignment == put.assignment
        kept = 0 if lane is None else 1 if heard else 2
        return (kept, put.step is Step.DATA, _batch_shape(put.batch))

    def shape(self) -> tuple[Any, ...]:
        return (
            self.high, self.low, self.commit, self.mark, self.promised_from, self.adopted_from, self.owner,
            tuple(sorted((key, value[0], value[1], value[2]) for key, value in self.data.items())),
            tuple(sorted(self.letters.items())),
            tuple(None if lane is None else _lane_shape(lane) for lane in self.lanes),
            tuple(sorted((writer, self._put_shape(writer, put)) for writer, put in self.net)),
            tuple(self.faults.values()), tuple(self.given_up), tuple(self.letters_given_up),
            self.contract and tuple((entry.size, tuple(entry.starts.items())) for entry in self.contract.cells),
        )  # fmt: skip


def _batch_shape(batch: Batch) -> tuple[Any, ...]:
    landed = None if batch.landed is None else (batch.landed.last_offset, batch.landed.rejected)
    return (batch.begin, tuple(batch.offsets()), batch.limit, str(landed))


def _lane_shape(lane: Lane) -> tuple[Any, ...]:
    queue = tuple(
        (rank, None if cell.flying is None else _batch_shape(cell.flying), tuple(_batch_shape(b) for b in cell.waiting))
        for rank, cell in lane._queue.items()
    )
    opened = None if lane.open is None else _batch_shape(lane.open)
    return (lane.start, lane.position, lane.durable, lane.sealed, opened, queue, tuple(sorted(lane._finished)))


_VALUES = {type(None), bool, int, float, str, bytes, frozenset, Cells, Gap, Landed, Limits, Step}
"""Types whose objects never change, so that copies share them."""
_SLOTS = {kind: kind.__slots__ for kind in (Batch, Part, Put, _Cell)}


def _copy(world: World, step: tuple[Any, ...]) -> World:
    """A world in which `step` may be done. It shares with `world` what the step does not change."""
    copied = object.__new__(World)
    copied.__dict__ = {
        name: value.copy() if type(value) in {list, dict} else value for name, value in vars(world).items()
    }
    if step[0] in {"read", "age", "seal", "put"}:  # every other step at most replaces a lane
        writer = world.net[step[1]][0] if step[0] == "put" else step[1]
        copies: dict[int, Any] = {}
        copied.lanes[writer] = _deep_copy(world.lanes[writer], copies)
        copied.net = [(number, _deep_copy(put, copies) if number == writer else put) for number, put in world.net]
    return copied


def _deep_copy(value: Any, copies: dict[int, Any]) -> Any:
    """`copy.deepcopy` for what a lane is made of; the search spends half of its time here."""
    kind = type(value)
    if kind in _VALUES:
        return value
    if kind is dict:
        return {key: _deep_copy(each, copies) for key, each in value.items()}
    if kind in {list, tuple, deque}:
        return kind([_deep_copy(each, copies) for each in value])
    copied = copies.get(id(value))
    if copied is None:
        copied = copies[id(value)] = object.__new__(kind)
        for name in _SLOTS.get(kind) or vars(value):
            each = getattr(value, name)
            object.__setattr__(copied, name, each if type(each) in _VALUES else _deep_copy(each, copies))
    return copied


def _refused(world: World, setup: Setup, step: tuple[Any, ...]) -> bool:
    """Do a step; True when the protocol stopped loudly instead (nothing is written or committed then)."""
    try:
        world.do(setup, step)
    except ProtocolError:
        return True
    return False


@dataclass(frozen=True)
class Found:
    """Outcome of a search: states visited, the violation and its history, states that cannot finish."""

    states: int
    violation: str | None
    history: tuple[tuple[Any, ...], ...]
    wedged: int


def search(setup: Setup, cap: int = 200_000, *, progress: bool = False) -> Found:
    """Visit every history, shortest first, until a violation, the end, or `cap` states."""
    first = World(setup)
    parents: dict[tuple[Any, ...], tuple[tuple[Any, ...], tuple[Any, ...]] | None] = {first.shape(): None}
    edges: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}
    todo = deque([first])
    while todo:
        world = todo.popleft()
        shape = world.shape()
        following = edges.setdefault(shape, [])
        for step in world.steps(setup):
            after = _copy(world, step)
            if _refused(after, setup, step):
                continue
            key = after.shape()
            following.append(key)
            if key in parents:
                continue
            parents[key] = (shape, step)
            try:
                after.check(setup)
            except ViolationError as error:
                return Found(len(parents), str(error), _history(parents, key), 0)
            todo.append(after)
        assert world.shape() == shape, "a step changed the world that it began in: see _copy"
        if len(parents) > cap:
            raise AssertionError(f"more than {cap} states: make the world smaller")
    return Found(len(parents), None, (), _wedged(setup, edges) if progress else 0)


def _history(parents: dict[Any, Any], key: Any) -> tuple[tuple[Any, ...], ...]:
    steps = []
    while parents[key] is not None:
        key, step = parents[key]
        steps.append(step)
    return tuple(reversed(steps))


def _wedged(setup: Setup, edges: dict[Any, list[Any]]) -> int:
    """States from which the whole log can no longer be committed."""
    before: dict[Any, list[Any]] = {}
    for state, following in edges.items():
        for after in following:
            before.setdefault(after, []).append(state)
    good = {state for state in edges if state[2] == setup.log}
    todo = list(good)
    while todo:
        for state in before.get(todo.pop(), ()):
            if state not in good:
                good.add(state)
                todo.append(state)
    return len(edges) - len(good)


def wander(setup: Setup, choose: Any, length: int) -> None:
    """One history of at most `length` steps; `choose(n)` picks one of n."""
    world = World(setup)
    for _ in range(length):
        steps = list(world.steps(setup))
        if not steps or _refused(world, setup, steps[choose(len(steps))]):
            return
        world.check(setup)


def wander_until(setup: Setup, seeds: int, length: int) -> str | None:
    """Random histories until one violates; returns the violation."""
    for seed in range(seeds):
        try:
            wander(setup, random.Random(seed).randrange, length)
        except ViolationError as error:
            return str(error)
    return None


__all__ = ["Cells", "Found", "Rules", "Setup", "ViolationError", "World", "search", "wander", "wander_until"]
