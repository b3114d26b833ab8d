"""A small model of the world around the real protocol code: a search for histories that lose or double a record.

There are one partition and two writers. Every step is atomic: the log grows; a writer is assigned, reads one record,
closes its batch, learns that the log ends in a hole, or commits; S3 carries out one PUT, perhaps long after its writer
ended. The faults are a crash, a stall (the group moves on, and the writer does not know), a graceful revocation, a lost
answer, and a commit of a former owner. Commits may expire, or somebody sets one by hand with our metadata.
`search` visits every history up to the given numbers of faults. `wander` follows a seeded random history through a
larger world.

The writers are `include.ingest.partition_writer.PartitionWriter`. They start where `start_from_commit` or
`start_without_commit` says, and agree on `include.landing.contract.Contract`. Only Kafka and S3 are modelled.
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
    Commit,
    Created,
    ExistingObject,
    Gap,
    Limits,
    Part,
    PartitionWriter,
    ProtocolError,
    Put,
    Step,
    _Cell,
    rows_to_land,
)
from include.ingest.starting_offset import (
    ForeignCommitError,
    commit_metadata,
    complete_to,
    is_ours,
    records_end,
    require_landed,
    start_from_commit,
    start_without_commit,
)
from include.landing.body import PLAIN, JsonArray
from include.landing.cells import Cells
from include.landing.contract import CellSize, Contract, ContractError

TOPIC_ID = "topic"
MINE = Contract("cluster", "t", TOPIC_ID, ".json", "read_committed", (CellSize(2, {}),))


@dataclass(frozen=True)
class Rules:
    """The rules of the world around the writer; each may be switched off."""

    writer: type[PartitionWriter] = PartitionWriter
    check_contract: bool = True
    key_from_record: bool = True
    create_only: bool = True
    content_decides: bool = True
    check_metadata: bool = True
    hold_commits: bool = True
    reset_is_error: bool = True
    place: Callable[..., int] = start_without_commit
    resize_needs_stop: bool = True
    resize_at_log_end: bool = True


@dataclass(frozen=True)
class Setup:
    """One world. `crashes` and the fields like it are the numbers of times that each fault may happen."""

    rules: Rules = field(default_factory=Rules)
    log: int = 4
    log_at_start: int = 4
    rejects: frozenset[int] = frozenset()
    other_rejects: frozenset[int] | None = None
    """The records that the second writer rejects; None: the same. Another version may validate differently."""
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
    commits_by_hand: int = 0
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
        self.metadata: str | None = None
        self.by_hand = False
        self.promised_from = self.adopted_from = 0
        self.skipped: list[tuple[int, int]] = []
        self.skipped_dead_letters: list[tuple[int, int]] = []
        self.owner: int | None = None
        self.contract: Contract | None = None
        self.data: dict[tuple[int, str], tuple[int, frozenset[int], int]] = {}
        self.dead_letters: dict[int, frozenset[int]] = {}
        self.writers: list[PartitionWriter | None] = [None, None]
        self.net: list[tuple[int, Put]] = []
        self.assignments = 0
        self.faults = {
            "crash": setup.crashes,
            "stall": setup.stalls,
            "revoke": setup.revokes,
            "lose": setup.lost_answers,
            "foreign": setup.foreign_commits,
            "by_hand": setup.commits_by_hand,
            "expire": setup.expiries,
            "adopt": setup.adoptions,
            "retain": setup.retention,
            "resize": setup.resizes,
            "late_commit": setup.late_commits,
        }

    # --- possible steps -------------------------------------------------------

    def steps(self, setup: Setup) -> Iterator[tuple[Any, ...]]:
        if self.high < setup.log:
            yield ("grow",)
        for number, writer in enumerate(self.writers):
            yield from self._writer_steps(setup, number, writer)
        seen = set()
        for index, (number, put) in enumerate(self.net):
            shape = (number, self._put_shape(number, put))
            if shape not in seen:
                seen.add(shape)
                yield ("put", index)
                if self.faults["lose"]:
                    yield ("lose", index)
        yield from self._commit_steps(setup)
        if self.faults["retain"] and self.low < self.high:
            yield ("retain", self.low + 1)
        if self.faults["resize"] and self.contract and (self.owner is None or not setup.rules.resize_needs_stop):
            stopped = all(writer is None for writer in self.writers)
            if stopped or not setup.rules.resize_needs_stop:
                yield ("resize",)

    def _commit_steps(self, setup: Setup) -> Iterator[tuple[Any, ...]]:
        if self.owner is not None:
            return
        if self.faults["foreign"]:
            yield from (("foreign", offset) for offset in range(1, self.high))
        if self.faults["by_hand"] and self.data and not self.net and self.writers == [None, None]:
            yield from (("by_hand", offset) for offset in range(self._landed_end() + 1, setup.log + 1))
        if self.faults["expire"] and self.commit >= 0 and self._may_expire(setup):
            yield ("expire",)
        if self.faults["adopt"] and self.contract and not self.net and self.writers == [None, None]:
            yield from (("adopt", offset) for offset in (None, *range(self.low, self.high + 1)))

    def _may_expire(self, setup: Setup) -> bool:
        """If retention or `adopt` may move the start, commits expire only when no writer and no PUT is left."""
        return not (setup.retention or setup.adoptions) or (not self.net and self.writers == [None, None])

    def _writer_steps(self, setup: Setup, number: int, writer: PartitionWriter | None) -> Iterator[tuple[Any, ...]]:
        if writer is None:
            if self.owner is None:
                yield ("assign", number)
            return
        if not writer.sealed and self._next(setup, writer) is not None:
            yield ("read", number)
        if not writer.sealed and self._ends_in_a_hole(setup, writer):
            yield ("reach", number)
        if writer.open is not None and writer.open.existing is None:
            yield ("age", number)
        if self.faults["crash"]:
            yield ("crash", number)
        if self.owner == number:
            yield from self._owner_steps(number, writer)
        else:
            yield ("wake", number)
            if self.faults["late_commit"] and writer._possible_commit().offset != self.commit:
                yield ("late_commit", number)

    def _owner_steps(self, number: int, writer: PartitionWriter) -> Iterator[tuple[Any, ...]]:
        if writer._possible_commit().offset > max(self.commit, 0):
            yield ("commit", number)
        if self.faults["stall"]:
            yield ("stall", number)
        if self.faults["revoke"] and not writer.sealed:
            yield ("seal", number)
        if writer.sealed:
            yield ("release", number)

    def _next(self, setup: Setup, writer: PartitionWriter) -> int | None:
        offset = writer.next_offset
        while offset in setup.holes:
            offset += 1
        return offset if self.low <= offset < self.high else None

    def _ends_in_a_hole(self, setup: Setup, writer: PartitionWriter) -> bool:
        rest = range(writer.next_offset, self.high)
        return bool(rest) and rest[0] >= self.low and setup.holes.issuperset(rest)

    def _landed_end(self) -> int:
        return max([*(last + 1 for last, _, _ in self.data.values()), *(last + 1 for _, last in self.skipped)])

    # --- effects of the steps -------------------------------------------------

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
                return  # the writer refuses to start: there is still no owner
            contract = self.contract
        try:
            start = start_from_commit(
                0, self.commit, self.metadata if setup.rules.check_metadata else commit_metadata(TOPIC_ID), TOPIC_ID
            )
        except ForeignCommitError:
            return
        end = records_end(self.metadata, TOPIC_ID)
        if start is not None and self.data and setup.rules.hold_commits:
            require_landed(0, start, end, self._landed_end())
        self.by_hand = False
        if start is None:
            landed = [first for first, _ in self.data]
            start = setup.rules.place(0, landed, self.skipped, contract.cells_of(0), self.low, setup.window)
            self.commit, self.metadata = start, commit_metadata(TOPIC_ID)  # the start is committed first
            # Records that were deleted before anything landed leave no trace.
            begins = [first for first, _ in self.skipped] or [self.low]
            self.promised_from = max(self.adopted_from, min([*landed, *begins]))
        if start < self.low:
            if setup.rules.reset_is_error:
                return  # the partition stops: an operator must act
            start = self.low
        self.owner = number
        self.assignments += 1
        limits = Limits(setup.batch, 10**9, 60.0, setup.window)
        writer = setup.rules.writer(TOPIC_ID, 0, self.assignments, start, contract.cells_of(0), limits, PLAIN, b"", end)
        writer.suffix = contract.suffix  # type: ignore[attr-defined]
        self.writers[number] = writer

    def _do_read(self, setup: Setup, number: int) -> None:
        writer = self.writers[number]
        assert writer is not None
        offset = self._next(setup, writer)
        assert offset is not None
        if offset in (setup.rejects if number == 0 or setup.other_rejects is None else setup.other_rejects):
            writer.reject(offset, 0, f"bad {offset}", None, 0.0)
        else:
            writer.feed(offset, [0], [b"{}"], None, 0.0)
        self._send(number)

    def _do_reach(self, setup: Setup, number: int) -> None:
        writer = self.writers[number]
        assert writer is not None
        writer.reach(self.high, None)

    def _do_age(self, setup: Setup, number: int) -> None:
        writer = self.writers[number]
        assert writer is not None
        writer.close_open("age")
        self._send(number)

    def _send(self, number: int) -> None:
        writer = self.writers[number]
        if writer is not None:
            self.net += [(number, put) for put in writer.puts()]

    def _do_commit(self, setup: Setup, number: int) -> None:
        writer = self.writers[number]
        assert writer is not None
        commit = writer._possible_commit()
        if commit.offset > self.commit:
            self._commit(commit)

    def _commit(self, commit: Commit) -> None:
        self.commit, self.metadata = commit.offset, commit_metadata(TOPIC_ID, commit.records_end)

    def _do_late_commit(self, setup: Setup, number: int) -> None:
        """A writer that is no longer the owner commits nevertheless. The commit may go backwards."""
        self.faults["late_commit"] -= 1
        writer = self.writers[number]
        assert writer is not None
        self._commit(writer._possible_commit())

    def _do_stall(self, setup: Setup, number: int) -> None:
        self.faults["stall"] -= 1
        self.owner = None

    def _do_wake(self, setup: Setup, number: int) -> None:
        self.writers[number] = None

    def _do_crash(self, setup: Setup, number: int) -> None:
        self.faults["crash"] -= 1
        if self.owner == number:
            self.owner = None
        self.writers[number] = None

    def _do_seal(self, setup: Setup, number: int) -> None:
        self.faults["revoke"] -= 1
        writer = self.writers[number]
        assert writer is not None
        writer.seal("revoked")
        self._send(number)

    def _do_release(self, setup: Setup, number: int) -> None:
        self._do_commit(setup, number)
        self.owner = None
        self.writers[number] = None

    def _do_foreign(self, setup: Setup, offset: int) -> None:
        self.faults["foreign"] -= 1
        self.commit, self.metadata = offset, "somebody else"

    def _do_by_hand(self, setup: Setup, offset: int) -> None:
        self.faults["by_hand"] -= 1
        self.commit, self.metadata, self.by_hand = offset, commit_metadata(TOPIC_ID), True

    def _do_expire(self, setup: Setup) -> None:
        self.faults["expire"] -= 1
        self.commit, self.metadata = -1, None

    def _do_adopt(self, setup: Setup, offset: int | None) -> None:
        self.faults["adopt"] -= 1
        assert self.contract is not None
        cells = self.contract.cells_of(0)
        firsts = [first for first, _ in self.data]
        ours = is_ours(self.metadata, TOPIC_ID)
        if ours and (self.data or self.skipped):
            ours = (records_end(self.metadata, TOPIC_ID) or self.commit) <= self._landed_end()
        begin = self.commit if ours else None
        if begin is None and (firsts or self.skipped):
            begin = complete_to(firsts, self.skipped, cells, self.low, setup.window)
        ranges = [
            adoption.LandedRange(
                first, first, last,
                adoption.missing_ranges(set(good), first, last) if rejected and first not in self.dead_letters else (),
            )
            for (first, _), (last, good, rejected) in self.data.items()
        ] + [adoption.LandedRange(first, first, last, skipped=True) for first, last in self.skipped]  # fmt: skip
        try:
            plan = adoption.decide(
                0, committed=self.commit, is_ours=ours, log=(self.low, self.high),
                begin=begin, landed=sorted(ranges, key=lambda part: part.first), cells=cells, offset=offset,
            )  # fmt: skip
        except adoption.OperationError as error:
            raise ProtocolError(str(error)) from error
        self.skipped += plan.holes
        for incomplete in plan.incomplete:
            self.dead_letters[incomplete.first] = frozenset()
            self.skipped_dead_letters += incomplete.missing
        if plan.target != self.commit or not ours:
            self.commit, self.metadata = plan.target, commit_metadata(TOPIC_ID)
        self.by_hand = False
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
        """S3 carries the PUT out, the answer is lost, and the PUT will be sent again."""
        self.faults["lose"] -= 1
        self._store(setup, *self.net[index])

    def _do_put(self, setup: Setup, index: int) -> None:
        """S3 carries the PUT out, and answers if the writer still exists."""
        number, put = self.net.pop(index)
        answer = self._store(setup, number, put)
        writer = self.writers[number]
        if writer is None:
            return
        following = writer.answer(put, answer)
        if following is not None:
            self.net.append((number, following))
        self._send(number)

    def _store(self, setup: Setup, number: int, put: Put) -> Created | ExistingObject:
        batch = put.batch
        if put.step is Step.DEAD_LETTERS:
            dead_letters = rows_to_land(batch) if setup.rules.content_decides else batch.rejects
            rows = frozenset(offset for offset, row in dead_letters if not isinstance(row, Gap))
            if not setup.rules.create_only:
                self.dead_letters.pop(batch.first, None)
            self.dead_letters.setdefault(batch.first, rows)
            return Created()
        tag = ".json" if setup.rules.key_from_record else f"{number}.{put.assignment}"
        if setup.other_suffix:
            tag = str(getattr(self.writers[number], "suffix", ".json.gz" if number else ".json"))
        key = (batch.first, tag)
        if key in self.data and setup.rules.create_only:
            last, offsets, rejected = self.data[key]
            return ExistingObject(TOPIC_ID, 0, batch.first, last, rejected, offsets if rejected else None)
        good = frozenset(
            offset for part in batch.parts if part.content is not None for offset in range(part.offset, part.last + 1)
        )
        self.data[key] = (batch.last, good, len(batch.rejects))
        return Created()

    # --- the promise ----------------------------------------------------------

    def check(self, setup: Setup) -> None:
        landed = Counter(offset for _, offsets, _ in self.data.values() for offset in offsets)
        dead = Counter(offset for rows in self.dead_letters.values() for offset in rows)
        skipped = Counter(
            offset
            for first, last in (*self.skipped, *self.skipped_dead_letters)
            for offset in range(first, last + 1)
            if offset not in setup.holes
        )
        for offset, count in (landed + dead + skipped).items():
            if count > 1:
                raise ViolationError(
                    f"record {offset} is there {count} times: data {self.data}, "
                    f"dead letters {self.dead_letters}, skipped {skipped}"
                )
        if self.by_hand or (not is_ours(self.metadata, TOPIC_ID) and setup.rules.check_metadata):
            return  # such a commit is refused: no writer goes on after it
        for offset in range(self.promised_from, self.commit):
            if offset in setup.holes:
                continue
            if offset in skipped:
                continue
            place = dead if offset in setup.rejects else landed
            if setup.other_rejects is not None:  # the first writer has decided
                place = landed + dead
            if offset not in place:
                raise ViolationError(
                    f"record {offset} is lost: commit {self.commit}, data {self.data}, dead letters {self.dead_letters}"
                )

    # --- identity of states ---------------------------------------------------

    def _put_shape(self, number: int, put: Put) -> tuple[Any, ...]:
        writer = self.writers[number]
        is_current = writer is not None and writer.assignment == put.assignment
        recipient = 0 if writer is None else 1 if is_current else 2
        return (recipient, put.step is Step.DATA, _batch_shape(put.batch))

    def shape(self) -> tuple[Any, ...]:
        return (
            self.high, self.low, self.commit, self.metadata, self.by_hand, self.promised_from, self.adopted_from,
            self.owner, tuple(sorted((key, value[0], value[1], value[2]) for key, value in self.data.items())),
            tuple(sorted(self.dead_letters.items())),
            tuple(None if writer is None else _writer_shape(writer) for writer in self.writers),
            tuple(sorted((number, self._put_shape(number, put)) for number, put in self.net)),
            tuple(self.faults.values()), tuple(self.skipped), tuple(self.skipped_dead_letters),
            self.contract and tuple((entry.size, tuple(entry.starts.items())) for entry in self.contract.cells),
        )  # fmt: skip


def _batch_shape(batch: Batch) -> tuple[Any, ...]:
    landed = None if batch.existing is None else (batch.existing.last_offset, batch.existing.rejected)
    return (batch.begin, tuple(batch.offsets()), batch.limit, str(landed))


def _writer_shape(writer: PartitionWriter) -> tuple[Any, ...]:
    queue = tuple(
        (rank, cell.landing and _batch_shape(cell.landing), tuple(_batch_shape(batch) for batch in cell.waiting))
        for rank, cell in writer._queue.items()
    )
    opened, finished = writer.open and _batch_shape(writer.open), tuple(sorted(writer._finished))
    return (writer.start, writer.position, writer.end, writer.durable, writer.sealed, opened, queue, finished)


_VALUES = {type(None), bool, int, float, str, bytes, frozenset, Cells, ExistingObject, Gap, JsonArray, Limits, Step}
"""Types whose objects never change, so that copies share them."""
_SLOTS = {kind: kind.__slots__ for kind in (Batch, Part, Put, _Cell)}


def _copy(world: World, step: tuple[Any, ...]) -> World:
    """A world in which `step` may be done. It shares with `world` what the step does not change."""
    copied = object.__new__(World)
    copied.__dict__ = {
        name: value.copy() if type(value) in {list, dict} else value for name, value in vars(world).items()
    }
    if step[0] in {"read", "reach", "age", "seal", "put"}:  # every other step at most replaces a writer
        changed = world.net[step[1]][0] if step[0] == "put" else step[1]
        copies: dict[int, Any] = {}
        copied.writers[changed] = _deep_copy(world.writers[changed], copies)
        copied.net = [(number, _deep_copy(put, copies) if number == changed else put) for number, put in world.net]
    return copied


def _deep_copy(value: Any, copies: dict[int, Any]) -> Any:
    """`copy.deepcopy` for the parts of a writer; the search spends half of its time here."""
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
    """Do a step. Returns True if the protocol raised an error instead; then nothing is written or committed."""
    try:
        world.do(setup, step)
    except ProtocolError:
        return True
    return False


@dataclass(frozen=True)
class Outcome:
    """Outcome of a search: number of states, the violation and its history, number of states that cannot finish."""

    states: int
    violation: str | None
    history: tuple[tuple[Any, ...], ...]
    wedged: int


def search(setup: Setup, cap: int = 200_000, *, progress: bool = False) -> Outcome:
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
                return Outcome(len(parents), str(error), _history(parents, key), 0)
            todo.append(after)
        assert world.shape() == shape, "a step changed the world that it began in: see _copy"
        if len(parents) > cap:
            raise AssertionError(f"more than {cap} states: make the world smaller")
    return Outcome(len(parents), None, (), _wedged(setup, edges) if progress else 0)


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
    """Follow one history of at most `length` steps. `choose(n)` returns a number below n."""
    world = World(setup)
    for _ in range(length):
        steps = list(world.steps(setup))
        if not steps or _refused(world, setup, steps[choose(len(steps))]):
            return
        world.check(setup)


def wander_until(setup: Setup, seeds: int, length: int) -> str | None:
    """Follow random histories until a record is lost or doubled; returns that violation."""
    for seed in range(seeds):
        try:
            wander(setup, random.Random(seed).randrange, length)
        except ViolationError as error:
            return str(error)
    return None


__all__ = ["Cells", "Outcome", "Rules", "Setup", "ViolationError", "World", "search", "wander", "wander_until"]
