"""The last build of only a part of a layer (`state/partial_builds/LAYER.json`).

A run with the parameter `select` leaves the layer's state as it was, and a run that stopped in a layer records what
it has. Without this object a reader takes the time of the recorded state for the last time that the layer was built.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from include.catalogue import LAYERS, Layer
from include.instants import Instant
from include.settings import StorageSettings
from include.state import json_object
from include.state.layer_state import DagRunRef

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class PartialBuild(msgspec.Struct, frozen=True):
    """A build of the nodes `built`; `not_built` names the layer's other nodes. Neither is empty."""

    layer: Layer
    finished_at: Instant
    built: Sequence[str]
    not_built: Sequence[str]
    run: DagRunRef


def key(storage: StorageSettings, layer: Layer) -> str:
    """Key of the layer's object."""
    return f"{storage.state_prefix}partial_builds/{layer}.json"


def read_all(
    s3: S3Client, storage: StorageSettings, unreadable: dict[str, str] | None = None
) -> dict[Layer, PartialBuild | None]:
    """The last partial build of each layer, None where there was none.

    A broken object is noted in `unreadable` (key -> fault), and its layer is left out.

    Raises:
        StateUnreadableError: an object is broken, and `unreadable` is None.
        ClientError, BotoCoreError: S3 refused or could not be reached.
    """
    builds: dict[Layer, PartialBuild | None] = {}
    for layer in LAYERS:
        with json_object.noting(unreadable, key(storage, layer)):
            builds[layer] = _read(s3, storage, layer)
    return builds


def write(s3: S3Client, storage: StorageSettings, build: PartialBuild) -> None:
    """Write it in place of the layer's earlier one.

    Raises:
        ClientError, BotoCoreError: S3 refused or could not be reached.
    """
    json_object.write(s3, storage.bucket, key(storage, build.layer), build)


def _read(s3: S3Client, storage: StorageSettings, layer: Layer) -> PartialBuild | None:
    remedy = "the next partial build of the layer writes it again"
    stored = json_object.read(s3, storage.bucket, key(storage, layer), PartialBuild, remedy)
    return stored[0] if stored else None
