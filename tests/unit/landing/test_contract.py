"""Contract, cells and metadata."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.landing.cells import Cells
from include.landing.contract import CellSize, Contract, ContractError
from include.landing.metadata import MetadataError, ObjectMetadata
from include.settings import StorageSettings

OLD = Contract("c1", "quotes", "id1", ".json", "read_committed", (CellSize(100, {}),))
"""As version 0.1.0 wrote it."""
CONTRACT = replace(OLD, dead_letter_prefix="dead_letter/", state_prefix="state/")


def test_a_contract_reads_back() -> None:
    grown = CONTRACT.resized(50, {0: 1234, 1: 7})
    assert Contract.from_json(grown.to_json()) == grown


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ("cluster_id", "c2"),
        ("topic", "other"),
        ("topic_id", "id2"),
        ("suffix", ".json.gz"),
        ("isolation_level", "read_uncommitted"),
        ("key_version", 2),
        ("contract_version", 2),
        ("dead_letter_prefix", "rejected/"),
        ("state_prefix", "markers/"),
    ],
)
def test_any_difference_is_refused_with_both_values(change: str, value: object) -> None:
    stored = replace(CONTRACT, **{change: value})  # type: ignore[arg-type]
    with pytest.raises(ContractError) as refused:
        stored.check(CONTRACT)
    assert repr(value) in str(refused.value)
    assert repr(getattr(CONTRACT, change)) in str(refused.value)


def test_an_old_contract_is_completed_with_what_it_lacks_only() -> None:
    OLD.check(CONTRACT)
    assert OLD.completed(CONTRACT) == CONTRACT
    other = replace(CONTRACT, dead_letter_prefix="rejected/", state_prefix="markers/")
    assert CONTRACT.completed(other) == CONTRACT
    assert Contract.from_json(OLD.to_json()) == OLD
    assert b"prefix" not in OLD.to_json()


@pytest.mark.parametrize("variable", ["S3_DEAD_LETTER_PREFIX", "S3_STATE_PREFIX"])
def test_a_program_with_another_prefix_is_refused(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    CONTRACT.check_prefixes(StorageSettings())
    monkeypatch.setenv(variable, "elsewhere/")
    with pytest.raises(ContractError, match=rf"this program has 'elsewhere/': set {variable} back"):
        CONTRACT.check_prefixes(StorageSettings())
    OLD.check_prefixes(StorageSettings())


@pytest.mark.parametrize("broken", [b"", b"{}", CONTRACT.to_json().replace(b'"size": 100', b'"size": 0')])
def test_a_broken_contract_is_refused(broken: bytes) -> None:
    with pytest.raises(ContractError):
        Contract.from_json(broken)


@given(
    st.integers(1, 50), st.lists(st.tuples(st.integers(0, 500), st.integers(1, 50)), max_size=3), st.integers(0, 600)
)
def test_cells_cover_the_offsets(size: int, resizes: list[tuple[int, int]], offset: int) -> None:
    contract = replace(CONTRACT, cells=(CellSize(size, {}),))
    end = 0
    for more, new in resizes:
        end += more
        contract = contract.resized(new, {0: end})
    cells = contract.cells_of(0)
    first, cell_end = cells.bounds(offset)
    assert first <= offset < cell_end
    assert cells.bounds(first) == cells.bounds(cell_end - 1) == (first, cell_end)
    assert cells.rank(cell_end) == cells.rank(offset) + 1
    assert (cells.rank(0), cells.bounds(0)[0]) == (0, 0)


def test_a_resize_does_not_change_the_cells_before_it() -> None:
    cells = CONTRACT.resized(30, {0: 250}).cells_of(0)
    assert [cells.bounds(offset) for offset in (0, 199, 249, 250, 280)] == [
        (0, 100), (100, 200), (200, 250), (250, 280), (280, 310),
    ]  # fmt: skip
    assert CONTRACT.resized(30, {0: 250}).cells_of(1) == Cells.of_size(30)


METADATA = ObjectMetadata("quotes", "id1", 3, 100, 199, 98, 2, "host:1")


def test_metadata_survives_s3_which_changes_the_case_of_names() -> None:
    upper = {name.title(): value for name, value in METADATA.to_attributes().items()}
    assert ObjectMetadata.from_attributes("k", upper) == METADATA


@pytest.mark.parametrize("missing", ["schema", "topic-id", "last-offset", "rejected"])
def test_an_object_without_our_metadata_is_refused(missing: str) -> None:
    attributes = METADATA.to_attributes()
    del attributes[missing]
    with pytest.raises(MetadataError, match="the-key"):
        ObjectMetadata.from_attributes("the-key", attributes)
