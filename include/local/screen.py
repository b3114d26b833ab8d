"""The status screen of `make demo`."""

from __future__ import annotations

from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from include.catalogue import LAYERS
from include.local.status import Status
from include.transform.layers import MODELS


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _tests(status: Status) -> str:
    return "  ".join(f"{status.tests.get(name, 0)} {name}" for name in ("passed", "warned", "failed"))


def render(status: Status, state: Path, elapsed: float | None) -> RenderableType:
    """The whole screen."""
    table = Table(box=None, padding=(0, 2), show_header=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    table.add_column(style="dim")
    table.add_row("messages produced", _number(status.produced), "Kafka topic selected_crypto_data")
    table.add_row("messages landed", _number(status.landed), "S3, each once")
    table.add_row("newest prices", "", "  ".join(f"{symbol} {price:,.9g}" for symbol, price in status.prices.items()))
    for layer in LAYERS:
        newest = status.newest_quote.get(layer, "")[:19]
        table.add_row(f"rows in {layer}", _number(status.rows.get(layer)), f"{MODELS[layer]}  {newest}")
    table.add_row("consumer lag", _number(status.lag), "messages")
    table.add_row("data tests", "", _tests(status))
    table.add_row("last transform run", "", status.transform or "-")
    table.add_row("last monitor run", "", status.monitor or "-")
    table.add_row("mails received", _number(status.mails), "make demo-mail shows them")
    up = "" if elapsed is None else f"up {elapsed:,.0f} s; "
    down = sorted(name for name, word in status.programs.items() if word != "RUNNING")
    return Group(
        Text(f"\nAirflow  {status.airflow}  (no login needed)", style="bold green"),
        table,
        Text(f"not running: {', '.join(down)}", style="red") if down else Text("all programs running", style="dim"),
        Text(
            f"{up}logs in {state / 'logs'}; make demo-break breaks something; Ctrl-C stops",
            style="dim",
        ),
    )


def line(status: Status, elapsed: float) -> str:
    """One line for a log."""
    rows = "  ".join(f"{layer} {_number(status.rows.get(layer))}" for layer in LAYERS)
    return (
        f"{elapsed:6.0f} s  produced {_number(status.produced)}  landed {_number(status.landed)}  {rows}  "
        f"tests {_tests(status)}  lag {_number(status.lag)}  mails {status.mails}"
    )
