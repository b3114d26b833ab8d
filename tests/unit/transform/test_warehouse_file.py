"""A process that has the warehouse file open makes others wait, and is named; it does not make them fail."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from include.transform.warehouse_file import WarehouseLockedError, lock_holder, open_when_free

HOLD = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1], read_only=sys.argv[2] == "reader")
print("open", flush=True)
sys.stdin.read()
"""


@contextmanager
def another_process(path: Path, role: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has the file open until its standard input is closed."""
    command = [sys.executable, "-c", HOLD, str(path), role]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        try:
            yield holder
        finally:
            holder.kill()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "warehouse.duckdb"
    duckdb.connect(str(file)).execute("create table quotes as select 7 as price").close()
    return file


@pytest.mark.parametrize(
    ("role", "read_only"), [("reader", False), ("writer", False), ("writer", True)], ids=lambda value: str(value)
)
def test_the_file_is_opened_as_soon_as_the_other_process_has_ended(
    path: Path, monkeypatch: pytest.MonkeyPatch, role: str, read_only: bool
) -> None:
    told: list[str] = []
    with another_process(path, role) as holder:

        def end_it(_seconds: float) -> None:
            holder.kill()
            holder.wait()

        monkeypatch.setattr("time.sleep", end_it)
        with open_when_free(path, read_only=read_only, config={}, tell=told.append) as connection:
            assert connection.execute("from quotes").fetchall() == [(7,)]
        assert told == [f"waiting for the warehouse {path}: it is open in process {holder.pid} ({program()})"]


def program() -> str:
    """The interpreter as DuckDB names it."""
    return str(Path(sys.executable).resolve())


def test_a_file_that_stays_open_is_an_error_with_process_and_remedy(path: Path) -> None:
    with (
        another_process(path, "reader") as holder,
        pytest.raises(
            WarehouseLockedError, match=rf"open in process {holder.pid} .*from a copy instead \(make demo-sql\)"
        ),
    ):
        open_when_free(path, read_only=False, config={}, tell=lambda _: None, patience_seconds=0)


def test_readers_do_not_wait_for_readers(path: Path) -> None:
    with (
        another_process(path, "reader"),
        open_when_free(path, read_only=True, config={}, tell=pytest.fail, patience_seconds=0) as connection,
    ):
        assert connection.execute("from quotes").fetchall() == [(7,)]


def test_another_error_is_not_waited_for(tmp_path: Path) -> None:
    with pytest.raises(duckdb.IOException, match="database does not exist"):
        open_when_free(tmp_path / "none.duckdb", read_only=True, config={}, tell=pytest.fail)


def test_a_holder_that_duckdb_cannot_name_is_still_a_lock() -> None:
    assert lock_holder('IO Error: Could not set lock on file "x": Resource temporarily unavailable') == (
        "a process that DuckDB does not name"
    )
    assert lock_holder("IO Error: No space left on device") is None
