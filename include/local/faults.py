"""Faults that `make demo-break` causes in the running demo, and how `make demo-fix` removes them."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb

from include.catalogue import CONDITIONS, MONITOR_MINUTES, metric_of
from include.instants import span
from include.local import environment
from include.local.stack import Demo, DemoError
from include.monitoring.checks.arrivals import HOUR
from include.monitoring.checks.measure import SHORTEST_GRACE
from include.settings import WarehouseSettings
from include.transform.warehouse_file import open_when_free

BAD_SHARE = "SIMULATOR_BAD_SHARE"
SOURCE = "PRODUCER_SOURCE"
WRONG_ROW = "demo-break"
"""Key of the row that `tests` adds to gold."""

NEXT_RUN = f"the monitor's next run (every {MONITOR_MINUTES} minutes; trigger pipeline_monitor to have it sooner)"


def _stop_consumer(demo: Demo) -> str:
    demo.control.stop("consumer")
    return (
        "The consumer is stopped and lag grows. An empty group may be a restart, so it is a fault after "
        f"{SHORTEST_GRACE.total_seconds() / 60:.0f} minutes: {NEXT_RUN} after that fails and sends a mail. "
        "make demo-mail shows the mail, make demo-fix starts the consumer."
    )


def _send_bad_data(demo: Demo) -> str:
    values = demo.values
    if not demo.environment_before_break.exists():
        shutil.copy2(demo.environment_file, demo.environment_before_break)
    _restart_producer(demo, values | {BAD_SHARE: "0.3", SOURCE: "simulator"})
    return (
        "Three of ten messages now break the format: they go to dead_letter/ in S3, and the monitor's next run "
        "reports them. make demo-mail shows the mail, make demo-fix repairs the producer."
    )


def _stop_s3(demo: Demo) -> str:
    demo.control.stop("emulator")
    return (
        "S3 and CloudWatch are gone: the consumer keeps what it holds, pauses and retries, and the monitor says "
        "what it cannot read. make demo-mail shows the mail, make demo-fix starts the emulator."
    )


def _freeze_producer(demo: Demo) -> str:
    demo.control.suspend("producer")
    throughput = CONDITIONS["low_throughput"]
    return (
        "The producer is frozen: it keeps its connections and sends nothing, so every other part is well. The monitor "
        f"reports that nothing arrives, at the latest as low throughput after {throughput.periods} runs without a "
        "message. make demo-mail shows the mail, make demo-fix lets the producer go on."
    )


def _add_a_wrong_row(demo: Demo) -> str:
    _remove_wrong_row(demo)
    _mark(demo).touch()
    table, added = _gold(demo), []
    with _warehouse(demo) as warehouse, contextlib.suppress(duckdb.CatalogException):  # gold was never built
        # No run touches the row, since no quote has this id. `loaded_at` is gold's watermark, so it stays as it is.
        newest = f"from {table} order by loaded_at desc limit 1"
        wrong = f"select * replace ('{WRONG_ROW}' as quote_hour_id, -1 as id, 'BROKEN' as symbol) {newest}"
        added = warehouse.execute(f"insert into {table} {wrong}").fetchall()
    if added != [(1,)]:
        raise DemoError("gold has no rows yet: wait for the first transform run")
    return (
        "Gold has a row of a coin that does not exist. The data tests crypto_curated_accepted_symbols and "
        "crypto_curated_id_is_a_known_asset of the next transform run fail: their task is red and sends a mail, and "
        f"{NEXT_RUN} shows the tests as alerts. "
        "make demo-mail shows the mail, make demo-fix removes the row."
    )


FAULTS: dict[str, Callable[[Demo], str]] = {
    "consumer": _stop_consumer,
    "data": _send_bad_data,
    "producer": _freeze_producer,
    "s3": _stop_s3,
    "tests": _add_a_wrong_row,
}
"""What breaks -> the function that breaks it and returns the expected effect, in words."""


def cause(demo: Demo, what: str) -> str:
    """Break the running demo; returns the expected effect, in words.

    Raises:
        DemoError: the demo does not run, or has not come so far that this fault is possible.
    """
    demo.require_running()
    return FAULTS[what](demo)


def fix(demo: Demo) -> str:
    """Undo every fault; returns the expected effect, in words.

    Raises:
        DemoError: the demo does not run.
    """
    demo.require_running()
    if demo.environment_before_break.exists():
        _restart_producer(demo, environment.read(demo.environment_before_break))
        demo.environment_before_break.unlink()
    demo.control.resume("producer")
    for name in ("emulator", "producer", "consumer"):
        demo.control.start(name)
    _remove_wrong_row(demo)
    return (
        f"Fixed: the backlog lands, and {NEXT_RUN} mails which alerts are over. Some alerts stay for a while, because "
        f"they count what happened before: {_alerts_that_stay()}. A failed data test or task is over after the next "
        "transform run that passes."
    )


def _alerts_that_stay() -> str:
    """How long the alerts last that count events of the past, by the catalogue's own facts."""
    objects, errors = CONDITIONS["dead_letters"], CONDITIONS["upload_errors"]
    metric = metric_of(errors)
    assert metric is not None
    return (
        f"'{objects.title}' for {span(HOUR)} after the last one, '{errors.title}' for about "
        f"{span(metric.period_seconds * (errors.periods + 1))}"
    )


def _restart_producer(demo: Demo, values: dict[str, str]) -> None:
    environment.write(demo.environment_file, values)
    demo.control.stop("producer")
    demo.control.start("producer", wait=False)


def _warehouse(demo: Demo) -> duckdb.DuckDBPyConnection:
    path = Path(demo.values["WAREHOUSE_DUCKDB_PATH"])
    return open_when_free(path, read_only=False, config={}, tell=demo.tell)


def _gold(demo: Demo) -> str:
    database = demo.values.get("WAREHOUSE_DATABASE", WarehouseSettings.model_fields["database"].default)
    return f'"{database}_gold".crypto_curated'


def _remove_wrong_row(demo: Demo) -> None:
    """Remove the row that `tests` added. Without that fault nothing waits for the warehouse."""
    if not _mark(demo).exists():
        return
    with _warehouse(demo) as warehouse, contextlib.suppress(duckdb.CatalogException):  # gold was never built
        warehouse.execute(f"delete from {_gold(demo)} where quote_hour_id = ?", (WRONG_ROW,))  # noqa: S608
    _mark(demo).unlink()


def _mark(demo: Demo) -> Path:
    """A file that exists while gold may have the wrong row."""
    return demo.local.state / "wrong-row-in-gold"
