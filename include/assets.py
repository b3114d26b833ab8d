"""The coins that the lakehouse follows: the rows of the dbt seed `assets`. Adding a row adds a coin."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

SEED = Path(__file__).parent / "dbt" / "seeds" / "assets.csv"

Text = Annotated[str, Meta(min_length=1)]
Positive = Annotated[float, Meta(gt=0)]


class AssetsError(ValueError):
    """The seed has a row that cannot be used; the text names the file, the row, the column and the fault."""


class Coin(msgspec.Struct, frozen=True):
    """The columns of a row that Python reads. Prices are in US dollars.

    `id` is CoinMarketCap's. `simulator_volatility` is the standard deviation of the price's logarithm over a year.
    """

    id: int
    symbol: Text
    name: Text
    coingecko_id: Text
    simulator_base_price: Positive
    simulator_volatility: Positive


@cache
def coins() -> tuple[Coin, ...]:
    """The coins in the order of the seed; the file is read once.

    Raises:
        AssetsError: a row cannot be used.
    """
    with SEED.open(newline="") as file:
        rows = list(csv.DictReader(file))
    try:
        return msgspec.convert(rows, tuple[Coin, ...], strict=False)
    except msgspec.ValidationError as error:
        raise AssetsError(f"{SEED}: {error} (row 0 is the first coin)") from error
