"""Age of each layer's data: now minus the newest quote's own time, not the last run's."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from include.catalogue import Layer
from include.state.layer_state import LayerState


def data_age(state: LayerState | None, first_landed: datetime | None, now: datetime) -> float | None:
    """Age of a layer's data in seconds.

    The age of a layer that was never built, or is empty, is that of the oldest landed object,
    because data has waited since then. If nothing has landed, the age is None: nothing is late.
    """
    newest = first_landed if state is None or state.newest_quote_at is None else state.newest_quote_at
    return None if newest is None else max((now - newest).total_seconds(), 0.0)


def data_ages(
    states: Mapping[Layer, LayerState | None], first_landed: datetime | None, now: datetime
) -> dict[Layer, float | None]:
    """`data_age` of every layer."""
    return {layer: data_age(state, first_landed, now) for layer, state in states.items()}
