"""`make demo-sql` reads a copy, so that nobody holds the warehouse while the transform needs it."""

from __future__ import annotations

import io
from pathlib import Path

import duckdb
import pytest
from rich.console import Console

from include.local import analysis
from include.local.analysis import copy_warehouse, statements
from include.local.process_control import ProcessControl
from include.local.stack import Demo, DemoError
from include.settings import LocalSettings


@pytest.fixture
def demo(tmp_path: Path) -> Demo:
    return Demo(LocalSettings(state=tmp_path), ProcessControl(tmp_path), Console(file=io.StringIO()))


@pytest.fixture
def warehouse(demo: Demo) -> Path:
    path = demo.local.state / "warehouse.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("create schema lake_gold; create table lake_gold.kpi_daily as select 7 as price")
    return path


def test_the_copy_is_read_while_the_warehouse_is_written(demo: Demo, warehouse: Path) -> None:
    copy = copy_warehouse(demo)
    with duckdb.connect(str(copy), read_only=True) as reader, duckdb.connect(str(warehouse)) as writer:
        writer.execute("insert into lake_gold.kpi_daily values (8)")
        assert reader.execute("from lake_gold.kpi_daily").fetchall() == [(7,)]


def test_a_statement_is_answered_and_the_warehouse_cannot_be_changed(
    demo: Demo, warehouse: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert analysis.run(demo, "select price * 6 as answer from lake_gold.kpi_daily") == 0
    assert "42" in capsys.readouterr().out
    assert analysis.run(demo, "delete from lake_gold.kpi_daily") == 1
    assert "read-only mode" in capsys.readouterr().err
    with duckdb.connect(str(warehouse)) as connection:
        assert connection.execute("from lake_gold.kpi_daily").fetchall() == [(7,)]


def test_a_later_call_has_the_newer_rows(demo: Demo, warehouse: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy_warehouse(demo)
    with duckdb.connect(str(warehouse)) as connection:
        connection.execute("insert into lake_gold.kpi_daily values (8)")
    analysis.run(demo, "select sum(price) from lake_gold.kpi_daily")
    assert "15" in capsys.readouterr().out


def test_statements_end_with_a_semicolon(monkeypatch: pytest.MonkeyPatch) -> None:
    typed = iter(["select 1", "  as one;", "", "select 2;"])

    def type_a_line(_prompt: str) -> str:
        try:
            return next(typed)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("builtins.input", type_a_line)
    assert list(statements()) == ["select 1\n  as one;\n", "select 2;\n"]


def test_before_the_first_transform_there_is_nothing_to_read(demo: Demo) -> None:
    with pytest.raises(DemoError, match=r"there is no .*warehouse\.duckdb yet: wait for the first transform run"):
        copy_warehouse(demo)
