"""The bucket: how it is opened, and the contract object in it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import obstore
from obstore.exceptions import AlreadyExistsError, GenericError, NotFoundError, PreconditionError
from obstore.store import S3Store

from include.landing.contract import Contract, ContractError
from include.landing.layout import CONTRACT_NAME
from include.settings import AwsSettings, StorageSettings

if TYPE_CHECKING:
    from obstore.store import ClientConfig

TIMEOUT_SECONDS = 30.0
IDLE_SECONDS = 10.0
"""A connection that was idle for longer is not used again. Firewalls and NAT gateways drop idle connections without a
word (AWS's NAT gateway after 350 s). Each attempt on such a connection would fail, and the next would take another."""
WHOLE_READ_SECONDS = 600.0
"""Time limit of a whole read. A read that delivers nothing for the store's time-out ends earlier."""


def client_options(
    *, allow_http: bool, timeout_seconds: float = TIMEOUT_SECONDS, whole_seconds: float = WHOLE_READ_SECONDS
) -> ClientConfig:
    """The options of each S3 client: its answer, and each part of it, comes within `timeout_seconds`.

    `whole_seconds` limits the whole request. The library counts the upload of a body as waiting for the answer.
    """
    return {
        "allow_http": allow_http,
        "timeout": f"{whole_seconds}s",
        "read_timeout": f"{timeout_seconds}s",
        "connect_timeout": "3s",
        "pool_idle_timeout": f"{IDLE_SECONDS}s",
    }


def open_store(
    storage: StorageSettings,
    aws: AwsSettings,
    timeout_seconds: float = TIMEOUT_SECONDS,
    whole_seconds: float = WHOLE_READ_SECONDS,
    retries: int = 0,
) -> S3Store:
    """The bucket. Credentials come from the usual AWS chain (environment, web identity, container, instance).

    By default the library does not retry, because the sink retries and counts that.
    """
    options: dict[str, Any] = {"region": aws.default_region}
    if aws.endpoint_url:
        options |= {"endpoint": aws.endpoint_url, "virtual_hosted_style_request": False}
    return S3Store(
        storage.bucket,
        client_options=client_options(
            allow_http=bool(aws.endpoint_url and aws.endpoint_url.startswith("http://")),
            timeout_seconds=timeout_seconds,
            whole_seconds=whole_seconds,
        ),
        retry_config={"max_retries": retries},
        **options,
    )


def with_time(store: S3Store, seconds: float) -> S3Store:
    """The same bucket by another client, whose requests may take `seconds`, the upload of their bodies included."""
    limits: ClientConfig = {"timeout": f"{seconds}s", "read_timeout": f"{seconds}s"}
    options: ClientConfig = {**(store.client_options or {}), **limits}
    return S3Store(config=store.config, client_options=options, retry_config=store.retry_config)


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
