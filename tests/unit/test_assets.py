"""The seed of coins is read as it is, and a row that cannot be used is refused by place and fault."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from include import assets

HEADER = "id,symbol,name,coingecko_id,simulator_base_price,simulator_volatility\n"


@pytest.fixture
def seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A seed of this test alone."""
    monkeypatch.setattr(assets, "SEED", tmp_path / "assets.csv")
    assets.coins.cache_clear()
    yield assets.SEED
    assets.coins.cache_clear()


def test_each_row_is_a_coin(seed: Path) -> None:
    seed.write_text(f"{HEADER}74,DOGE,Dogecoin,dogecoin,0.15,0.9\n")
    assert assets.coins() == (assets.Coin(74, "DOGE", "Dogecoin", "dogecoin", 0.15, 0.9),)


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("x,DOGE,Dogecoin,dogecoin,0.15,0.9", r"assets.csv: Expected `int`.*\[0\]\.id"),
        ("74,,Dogecoin,dogecoin,0.15,0.9", r"length >= 1.*\[0\]\.symbol"),
        ("74,DOGE,Dogecoin,dogecoin,0,0.9", r"> 0\.0.*\[0\]\.simulator_base_price"),
        ("74,DOGE,Dogecoin,dogecoin,0.15", r"got `null`.*\[0\]\.simulator_volatility"),
    ],
)
def test_a_row_that_cannot_be_used_is_refused_by_place(seed: Path, row: str, fault: str) -> None:
    seed.write_text(f"{HEADER}{row}\n")
    with pytest.raises(assets.AssetsError, match=fault):
        assets.coins()
