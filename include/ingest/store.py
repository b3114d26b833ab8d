"""The bucket: how it is opened, and the contract object in it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError, GenericError, NotFoundError, PreconditionError
from obstore.store import S3Store

from include.landing.contract import Contract, ContractError
from include.landing.layout import CONTRACT_NAME
from include.settings import AwsSettings, StorageSettings


def open_store(storage: StorageSettings, aws: AwsSettings, timeout_seconds: float = 30.0) -> S3Store:
    """The bucket. Credentials come from the usual AWS chain (environment, web identity, container, instance).

    The library does not retry, because the sink retries and counts that.
    """
    options: dict[str, Any] = {"region": aws.default_region}
    if aws.endpoint_url:
        options |= {"endpoint": aws.endpoint_url, "virtual_hosted_style_request": False}
    return S3Store(
        storage.bucket,
        client_options={
            "allow_http": bool(aws.endpoint_url and aws.endpoint_url.startswith("http://")),
            "timeout": f"{timeout_seconds}s",
            "connect_timeout": "3s",
        },
        retry_config={"max_retries": 0},
        **options,
    )


@dataclass(frozen=True, slots=True)
class StoredContract:
    """The contract object as read, with its ETag for a conditional replacement."""

    contract: Contract
    e_tag: str | None


def read_contract(store: S3Store, prefix: str) -> StoredContract | None:
    """The contract of a prefix; None before a consumer has created it.

    Raises:
        ContractError: the object is not readable.
        obstore.exceptions.BaseError: S3 does not answer.
    """
    try:
        response = obstore.get(store, prefix + CONTRACT_NAME)
    except (NotFoundError, FileNotFoundError):
        return None
    return StoredContract(Contract.from_json(bytes(response.bytes())), response.meta["e_tag"])


def agree(store: S3Store, prefix: str, mine: Contract) -> Contract:
    """The contract in force (rule 1): that of the prefix, or `mine`, which is written if the prefix has no contract.

    An object of version 0.1.0 lacks prefixes; the first consumer completes it.

    Raises:
        ContractError: the prefix's contract differs from `mine`, or this S3 overwrites objects (rule 6).
        obstore.exceptions.BaseError: S3 does not answer.
    """
    key = prefix + CONTRACT_NAME
    stored = read_contract(store, prefix)
    if stored is None:
        with suppress(AlreadyExistsError):
            obstore.put(store, key, mine.to_json(), mode="create", use_multipart=False)
        stored = require_contract(store, prefix)
    stored.contract.check(mine)
    while (completed := stored.contract.completed(mine)) != stored.contract:
        with suppress(PreconditionError):  # another consumer was faster
            replace_contract(store, prefix, stored, completed)
        stored = require_contract(store, prefix)
        stored.contract.check(mine)
    try:  # the object exists, so S3 must refuse this
        obstore.put(store, key, stored.contract.to_json(), mode="create", use_multipart=False)
    except AlreadyExistsError:
        return stored.contract
    raise ContractError(
        "S3 overwrote an object that it was asked to create only if absent (If-None-Match: *), so a late write could "
        "land records twice: use an S3 with conditional writes (AWS S3, versitygw from 1.8.0)"
    )


def require_contract(store: S3Store, prefix: str) -> StoredContract:
    """The contract of a prefix that has one.

    Raises:
        obstore.exceptions.BaseError: S3 does not answer, or not with the object.
    """
    stored = read_contract(store, prefix)
    if stored is None:
        raise GenericError(f"{prefix + CONTRACT_NAME} was written but cannot be read")
    return stored


def check_prefixes(store: S3Store, storage: StorageSettings) -> None:
    """Refuse prefixes other than those of the contract, for a program that only reads what was landed.

    Raises:
        ContractError: a prefix differs, or the contract object is not readable.
        obstore.exceptions.BaseError: S3 does not answer.
    """
    stored = read_contract(store, storage.data_prefix)
    if stored is not None:
        stored.contract.check_prefixes(storage)


def replace_contract(store: S3Store, prefix: str, old: StoredContract, new: Contract) -> None:
    """Replace the contract, unless another program has replaced it meanwhile.

    Raises:
        obstore.exceptions.PreconditionError: another program has replaced it.
    """
    obstore.put(store, prefix + CONTRACT_NAME, new.to_json(), mode={"e_tag": old.e_tag}, use_multipart=False)
