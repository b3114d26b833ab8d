"""What a benchmark returns, and the bounds that its figures must keep. Pure functions."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

Values = dict[str, float]
"""Name of a figure -> its value."""
Kind = Literal["at_least", "at_most"]
Points = Sequence[tuple[float, float]]
"""Hours since the first, and a value."""
KINDS: tuple[Kind, ...] = ("at_least", "at_most")


@dataclass(frozen=True, slots=True)
class Figures:
    """A benchmark's values, Markdown tables with what the values do not tell, and pictures (name -> SVG)."""

    values: Values
    tables: tuple[str, ...] = ()
    pictures: dict[str, str] = field(default_factory=dict)


def growth(values: Values, name: str, cases: Sequence[object]) -> Values:
    """The figure `name` of the last case over that of the first; the values' names begin with their case."""
    few, many = cases[0], cases[-1]
    return {f"{many}.{name}_over_{few}": values[f"{many}.{name}"] / values[f"{few}.{name}"]}


class BoundsError(ValueError):
    """A line of the bounds file is not understood."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A bound and what was measured; `measured` is None when the figure was not measured.

    A broken bound is a regression. A `goal` is what the project wants and may not have yet; then `limit` may be None.
    """

    figure: str
    kind: Kind
    limit: float | None
    measured: float | None
    goal: float | None = None

    @property
    def verdict(self) -> str:
        """The verdict for the table."""
        if self.measured is None:
            return "not measured"
        return "met" if self.limit is None or self._within(self.limit) else "MISSED"

    @property
    def text(self) -> str:
        """The bound in words; empty for a goal alone."""
        return "" if self.limit is None else f"{self.kind.replace('_', ' ')} {self.limit:g}"

    @property
    def goal_verdict(self) -> str:
        """The goal, and whether it is reached; empty without a goal."""
        if self.goal is None or self.measured is None:
            return "" if self.goal is None else f"{self.goal:g}"
        return f"{self.goal:g}: {'reached' if self._within(self.goal) else 'not reached'}"

    def _within(self, limit: float) -> bool:
        assert self.measured is not None
        return self.measured >= limit if self.kind == "at_least" else self.measured <= limit


def judge(bounds: str, benchmark: str, values: Values) -> list[Bound]:
    """Compare each bound of a benchmark, in the bounds file's TOML text, with the values.

    Raises:
        BoundsError: a figure has both `at_least` and `at_most`, none of them and no goal, or another key.
    """
    return [_bound(name, row, values) for name, row in tomllib.loads(bounds).get(benchmark, {}).items()]


def _bound(name: str, row: dict[str, float], values: Values) -> Bound:
    kinds = [kind for kind in KINDS if kind in row]
    if not row or len(kinds) > 1 or row.keys() - {*kinds, "goal"}:
        raise BoundsError(f"{name} = {row}: write one of at_least and at_most, a goal, or a bound and a goal")
    kind = kinds[0] if kinds else "at_most"
    return Bound(name, kind, row.get(kind), values.get(name), row.get("goal"))


def complaint(benchmark: str, bound: Bound) -> str:
    """The message about a broken bound: figure, value, bound, remedy."""
    assert bound.measured is not None
    return (
        f"{benchmark}: {bound.figure} is {number(bound.measured)}, but benchmarks/bounds.toml wants {bound.text}. Run "
        f"`make bench BENCH={benchmark}` again without other work. If it stays, find the commit with `git bisect`."
    )


def bounds_table(bounds: Iterable[Bound]) -> str:
    """Bounds and verdicts as a Markdown table."""
    return markdown(
        ("figure", "bound", "measured", "verdict", "goal"),
        [
            (
                f"`{bound.figure}`", bound.text, "-" if bound.measured is None else number(bound.measured),
                bound.verdict if bound.text or bound.measured is None else "", bound.goal_verdict,
            )
            for bound in bounds
        ],
    )  # fmt: skip


def number(value: float) -> str:
    """A value for a reader: three digits below 1, two after the point below 1,000."""
    if abs(value) >= 1000 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3g}"


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]
    return "\n".join(lines)
