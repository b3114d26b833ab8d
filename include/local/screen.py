"""The status screen of `make demo`."""

from __future__ import annotations

from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from include.catalogue import LAYERS
from include.local.status import TEST_RESULTS, UNKNOWN, Status
from include.transform.layers import MODELS

MOST_ALERTS = 5
"""Alerts that the screen names; it counts the others."""


def _number(value: int | None) -> str:
    return UNKNOWN if value is None else f"{value:,}"


def _changes(changes: dict[str, float | None]) -> str:
    """1 h +0.12 %  24 h unknown"""
    texts = ((span, UNKNOWN if percent is None else f"{percent:+.2f} %") for span, percent in changes.items())
    return "  ".join(f"{span} {text}" for span, text in texts)


def _tests(status: Status) -> str:
    if status.tests.get("passed") is None:
        return UNKNOWN
    return "  ".join(f"{status.tests[name]} {name}" for name in TEST_RESULTS)


def _health(status: Status) -> Text:
    """Open alerts, then what does not run, then what is not known; green only if there is nothing of these."""
    lines = []
    for alert in (status.alerts or [])[:MOST_ALERTS]:
        style = "yellow" if alert.severity == "warning" else "red"
        lines.append(Text(f"ALERT  {alert.title}, since {alert.since[:19]}Z", style=style))
    more = len(status.alerts or []) - MOST_ALERTS
    if more > 0:
        lines.append(Text(f"and {more} more alerts", style="red"))
    if status.not_running:
        stopped = ", ".join(f"{name} ({state})" for name, state in status.not_running.items())
        lines.append(Text(f"not running: {stopped}", style="red"))
    elif not status.programs:
        lines.append(Text("programs: unknown", style="yellow"))
    if status.alerts is None:
        lines.append(
            Text("alerts: unknown, the monitor has not judged yet or its state cannot be read", style="yellow")
        )
    elif unknown := [name for name, state in status.conditions.items() if state == UNKNOWN]:
        lines.append(Text(f"unknown conditions: {', '.join(unknown)}", style="yellow"))
    return Text("\n").join(lines or [Text("all programs running, no open alert", style="dim")])


def render(status: Status, state: Path, elapsed: float | None, at_end: str = "Ctrl-C stops") -> RenderableType:
    """The whole screen. `elapsed` is the time since the demo's start in seconds; `at_end` says what Ctrl-C does."""
    table = Table(box=None, padding=(0, 2), show_header=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    table.add_column(style="dim")
    table.add_row("messages produced", _number(status.produced), "Kafka topic selected_crypto_data")
    table.add_row("messages landed", _number(status.landed), "S3, each once")
    table.add_row("newest prices", "", "  ".join(f"{symbol} {price:,.9g}" for symbol, price in status.prices.items()))
    for symbol, changes in status.changes.items():
        table.add_row(f"{symbol} in gold", "", _changes(changes))
    if not status.changes:
        table.add_row("price changes", UNKNOWN, "in gold")
    for layer in LAYERS:
        newest = status.newest_quote.get(layer, "")[:19]
        table.add_row(f"rows in {layer}", _number(status.rows.get(layer)), f"{MODELS[layer]}  {newest}")
    table.add_row("consumer lag", _number(status.lag), "messages")
    table.add_row("data tests", "", _tests(status))
    table.add_row("last transform run", "", status.transform)
    table.add_row("last monitor run", "", status.monitor)
    table.add_row("mails received", _number(status.mails), "make demo-mail shows them")
    up = "" if elapsed is None else f"up {elapsed:,.0f} s; "
    return Group(
        Text(f"\nAirflow  {status.airflow}  (no login needed)", style="bold green"),
        Text(f"{status.sentence}\n", style="bold"),
        table,
        _health(status),
        Text(f"{up}logs in {state / 'logs'}; make demo-break breaks something; {at_end}", style="dim"),
    )


def line(status: Status, elapsed: float) -> str:
    """One line for a log."""
    rows = "  ".join(f"{layer} {_number(status.rows.get(layer))}" for layer in LAYERS)
    alerts = UNKNOWN if status.alerts is None else len(status.alerts)
    return (
        f"{elapsed:6.0f} s  produced {_number(status.produced)}  landed {_number(status.landed)}  {rows}  "
        f"tests {_tests(status)}  lag {_number(status.lag)}  alerts {alerts}  mails {status.mails}"
    )
