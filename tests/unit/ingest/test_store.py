"""The contract object in a bucket: created once, completed once, never changed by a program that differs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import obstore
import pytest

from include.ingest import store as module
from include.ingest.store import StoredContract, agree, check_prefixes, read_contract
from include.landing.contract import CellSize, Contract, ContractError
from include.settings import StorageSettings
from tests.unit.ingest.memory_bucket import Bucket

OLD = Contract("c1", "quotes", "id1", ".json", "read_committed", (CellSize(100, {}),))
"""As version 0.1.0 wrote it."""
MINE = OLD.with_prefixes(StorageSettings())
THEIRS = replace(MINE, dead_letter_prefix="rejected/")
KEY = "crypto_data/_contract.json"


@pytest.fixture
def bucket() -> Any:
    return Bucket()


def stored(bucket: Any) -> Contract:
    found = read_contract(bucket, "crypto_data/")
    assert found is not None
    return found.contract


def put(bucket: Any, contract: Contract) -> None:
    obstore.put(bucket, KEY, contract.to_json())


def write_first(monkeypatch: pytest.MonkeyPatch, bucket: Any, contract: Contract) -> None:
    """Let another consumer write `contract` between this one's read and its conditional write."""
    replace_contract, writes = module.replace_contract, [contract]

    def slow(store: Any, prefix: str, old: StoredContract, new: Contract) -> None:
        if writes:
            put(bucket, writes.pop())
        replace_contract(store, prefix, old, new)

    monkeypatch.setattr(module, "replace_contract", slow)


def test_the_first_consumer_writes_its_prefixes(bucket: Any) -> None:
    assert agree(bucket, "crypto_data/", MINE) == MINE == stored(bucket)


def test_a_consumer_with_other_dead_letters_is_refused(bucket: Any) -> None:
    agree(bucket, "crypto_data/", MINE)
    with pytest.raises(ContractError, match=r"dead_letter_prefix='dead_letter/', this consumer has 'rejected/'"):
        agree(bucket, "crypto_data/", THEIRS)
    assert stored(bucket) == MINE


def test_a_contract_of_the_version_before_is_completed(bucket: Any) -> None:
    put(bucket, OLD.resized(50, {0: 7}))
    assert agree(bucket, "crypto_data/", MINE) == MINE.resized(50, {0: 7}) == stored(bucket)


@pytest.mark.parametrize("faster", [MINE, MINE.resized(50, {0: 7}), OLD.resized(50, {0: 7})])
def test_two_consumers_complete_a_contract_at_once(
    bucket: Any, monkeypatch: pytest.MonkeyPatch, faster: Contract
) -> None:
    put(bucket, OLD)
    write_first(monkeypatch, bucket, faster)
    assert agree(bucket, "crypto_data/", MINE) == faster.completed(MINE) == stored(bucket)


def test_of_two_consumers_that_differ_one_is_refused(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    put(bucket, OLD)
    write_first(monkeypatch, bucket, THEIRS)
    with pytest.raises(ContractError, match="dead_letter_prefix"):
        agree(bucket, "crypto_data/", MINE)
    assert stored(bucket) == THEIRS


def test_a_program_that_lands_nothing_is_refused_too(bucket: Any) -> None:
    check_prefixes(bucket, StorageSettings())  # no contract yet
    put(bucket, THEIRS)
    with pytest.raises(ContractError, match="set S3_DEAD_LETTER_PREFIX back"):
        check_prefixes(bucket, StorageSettings())
