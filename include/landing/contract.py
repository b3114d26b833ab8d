"""The contract object: facts that all writers of a prefix must agree on.

The first consumer creates it once (`If-None-Match: *`); every consumer reads it again at each assignment. A writer
that differs in any point refuses to start. Otherwise two topics in one prefix, a recreated topic, a change to gzip
after a crash, or another cell size would lose or double data without a notice.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import msgspec

from include.landing.cells import Cells
from include.landing.codec import Suffix
from include.settings import StorageSettings

CONTRACT_VERSION = 1
KEY_VERSION = 1
"""The version of `layout.object_key`; after a change of this function a new prefix is needed."""

NO_TOPIC_ID = "none"
"""Topic id on a broker that has no topic ids (CONSUMER_ALLOW_MISSING_TOPIC_ID)."""


class ContractError(RuntimeError):
    """The prefix belongs to other data than this writer would land; the text names both values."""


@dataclass(frozen=True, slots=True)
class CellSize:
    """Cells of `size` offsets, from offset `starts[partition]` on (0 for a partition not named)."""

    size: int
    starts: dict[int, int]


@dataclass(frozen=True, slots=True)
class Contract:
    """One prefix's contract. `cells` has one entry for each cell size, oldest first.

    Objects under the two prefixes belong to offsets of this contract's topic. A program with another one would write
    all dead letters again, or send them again. They are None in an object of version 0.1.0, until a consumer of this
    version completes it.
    """

    cluster_id: str
    topic: str
    topic_id: str
    suffix: Suffix
    isolation_level: str
    cells: tuple[CellSize, ...]
    key_version: int = KEY_VERSION
    contract_version: int = CONTRACT_VERSION
    dead_letter_prefix: str | None = None
    state_prefix: str | None = None

    def cells_of(self, partition: int) -> Cells:
        """The cells of one partition."""
        spans: list[tuple[int, int]] = []
        for entry in self.cells:
            start = entry.starts.get(partition, 0)
            spans = [span for span in spans if span[0] < start]
            spans.append((start, entry.size))
        return Cells(tuple(start for start, _ in spans), tuple(size for _, size in spans))

    @property
    def cell_size(self) -> int:
        """The size now in force."""
        return self.cells[-1].size

    def resized(self, size: int, log_ends: dict[int, int]) -> Contract:
        """The contract with cells of `size` from the present log ends on (partition to high watermark)."""
        return replace(self, cells=(*self.cells, CellSize(size, dict(log_ends))))

    def check(self, mine: Contract, program: str = "this consumer") -> None:
        """Compare with `mine`, the contract that a starting program would create.

        The cell size is not compared: the writer uses the contract's. The consumer checks that its batches fit. A
        prefix that is not in the stored contract yet is not compared either.

        Raises:
            ContractError: the contracts differ; the text names the field, both values and the remedy.
        """
        for name, remedy in _REMEDIES.items():
            stored, own = getattr(self, name), getattr(mine, name)
            if stored != own and stored is not None:
                raise ContractError(f"contract object says {name}={stored!r}, {program} has {own!r}: {remedy}")

    def check_prefixes(self, storage: StorageSettings) -> None:
        """Compare the prefixes, for a program that lands nothing.

        Raises:
            ContractError: see `check`.
        """
        self.check(self.with_prefixes(storage), "this program")

    def with_prefixes(self, storage: StorageSettings) -> Contract:
        """The contract with the prefixes of the settings."""
        return replace(self, dead_letter_prefix=storage.dead_letter_prefix, state_prefix=storage.state_prefix)

    def completed(self, mine: Contract) -> Contract:
        """The contract with the prefixes of `mine` where it has none."""
        return replace(
            self,
            dead_letter_prefix=self.dead_letter_prefix or mine.dead_letter_prefix,
            state_prefix=self.state_prefix or mine.state_prefix,
        )

    def to_json(self) -> bytes:
        """The object's body. A prefix that is not known is left out, as version 0.1.0 did."""
        fields = msgspec.to_builtins(self, str_keys=True)
        known = {name: value for name, value in fields.items() if value is not None}
        return msgspec.json.format(msgspec.json.encode(known), indent=2) + b"\n"

    @classmethod
    def from_json(cls, body: bytes) -> Contract:
        """Read the object's body.

        Raises:
            ContractError: the object is not a contract.
        """
        try:
            contract: Contract = msgspec.json.decode(body, type=cls)
        except msgspec.MsgspecError as error:
            raise ContractError(f"the contract object is not readable ({error}): restore it from a version") from error
        if not contract.cells or contract.cells[0].starts or any(entry.size < 1 for entry in contract.cells):
            raise ContractError("the contract object has no usable cell size: restore it from a version")
        return contract


_OTHER_LAYOUT = "use another S3_DATA_PREFIX and S3_DEAD_LETTER_PREFIX"
_OTHER_OFFSETS = "use another S3_DATA_PREFIX, S3_DEAD_LETTER_PREFIX and S3_STATE_PREFIX"
"""The state prefix holds, by partition and offset, which dead letters were replayed."""
_REMEDIES: dict[str, str] = {
    "contract_version": "run the version of this program that wrote it",
    "topic": f"{_OTHER_OFFSETS}, one prefix holds one topic",
    "cluster_id": f"{_OTHER_OFFSETS}, one prefix holds one topic of one cluster",
    "topic_id": f"the topic was deleted and recreated, so its offsets begin again; {_OTHER_OFFSETS}",
    "suffix": f"set CONSUMER_COMPRESSION back, or {_OTHER_LAYOUT}",
    "isolation_level": f"set isolation.level back in KAFKA_OPTIONS, or {_OTHER_LAYOUT}",
    "key_version": "run the version of this program that wrote it",
    "dead_letter_prefix": "set S3_DEAD_LETTER_PREFIX back, or use another S3_DATA_PREFIX too",
    "state_prefix": "set S3_STATE_PREFIX back, or use another S3_DATA_PREFIX and S3_DEAD_LETTER_PREFIX too",
}


def summary(contract: Contract) -> dict[str, Any]:
    """The contract for a log line."""
    return {name: getattr(contract, name) for name in ("topic", "topic_id", "cluster_id", "cell_size", "suffix")}
