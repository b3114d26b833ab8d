"""Cells: the fixed offset ranges of a partition that no file may cross.

Two consumers that read the same partition at different times (one crashed, one stalled) cut it into files differently.
Their files cannot overlap: inside a cell one file is written after the other, and no file crosses a cell's end. The
contract object fixes the size, see `include.landing.contract` and docs/exactly-once.md.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cells:
    """The cells of one partition: from offset `starts[i]` on they hold `sizes[i]` offsets each.

    `starts` ascends from 0. There are several entries if `resize-cells` has changed the size. The last cell before a
    new start is cut short there.
    """

    starts: tuple[int, ...]
    sizes: tuple[int, ...]

    @classmethod
    def of_size(cls, size: int) -> Cells:
        """One size for the whole partition."""
        return cls((0,), (size,))

    def bounds(self, offset: int) -> tuple[int, int]:
        """First offset of the cell that holds `offset`, and the first offset after the cell."""
        span = bisect_right(self.starts, offset) - 1
        start, size = self.starts[span], self.sizes[span]
        first = offset - (offset - start) % size
        end = first + size
        if span + 1 < len(self.starts):
            end = min(end, self.starts[span + 1])
        return first, end

    def rank(self, offset: int) -> int:
        """Number of cells before the cell that holds `offset`."""
        span = bisect_right(self.starts, offset) - 1
        before = 0
        for index in range(span):
            length = self.starts[index + 1] - self.starts[index]
            before += -(-length // self.sizes[index])
        return before + (offset - self.starts[span]) // self.sizes[span]
