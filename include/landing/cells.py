"""Cells: the fixed stretches of a partition that no file may cross.

Two consumers that read the same partition at different times (one crashed, one stalled)
cut it into files differently; inside a cell files follow one another one at a time, and
no file crosses a cell's end, so their cuts can never overlap. The size is pinned by the
contract object, see `include.landing.contract` and docs/exactly-once.md.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cells:
    """The cells of one partition: from offset `starts[i]` on they hold `sizes[i]` offsets each.

    `starts` ascends from 0. More than one entry means that the size was changed by
    `resize-cells`; the last cell before a new start is cut short there.
    """

    starts: tuple[int, ...]
    sizes: tuple[int, ...]

    @classmethod
    def of_size(cls, size: int) -> Cells:
        """One size for the whole partition."""
        return cls((0,), (size,))

    def bounds(self, offset: int) -> tuple[int, int]:
        """First offset of the cell that holds `offset`, and the first offset behind it."""
        span = bisect_right(self.starts, offset) - 1
        start, size = self.starts[span], self.sizes[span]
        first = offset - (offset - start) % size
        end = first + size
        if span + 1 < len(self.starts):
            end = min(end, self.starts[span + 1])
        return first, end

    def rank(self, offset: int) -> int:
        """How many cells lie before the one that holds `offset`."""
        span = bisect_right(self.starts, offset) - 1
        before = 0
        for index in range(span):
            length = self.starts[index + 1] - self.starts[index]
            before += -(-length // self.sizes[index])
        return before + (offset - self.starts[span]) // self.sizes[span]
