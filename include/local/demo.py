"""`make demo`: starts the whole pipeline on this machine, shows its work, and stops it.

python -m include.local.demo run [--seconds N]     start and watch (Ctrl-C stops everything)
python -m include.local.demo break consumer|data|producer|s3|tests | fix | mail | sql | status | stop | clean
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from rich.console import Console
from rich.live import Live

from include.local import analysis, broker, emulator, environment, faults, mailbox, screen
from include.local.airflow_api import AirflowApi, AirflowApiError
from include.local.process_control import NotRunningError, ProcessControl, ProcessError
from include.local.programs import SERVERS
from include.local.stack import Demo, DemoError, clean_state
from include.local.start import make_observer, start
from include.local.status import Status
from include.settings import LocalSettings, SettingsError, load_group
from include.transform.warehouse_file import WarehouseLockedError

KNOWN_ERRORS = (
    DemoError,
    SettingsError,
    ProcessError,
    AirflowApiError,
    WarehouseLockedError,
    broker.BrokerError,
    emulator.EmulatorError,
)
"""The demo prints the text of these errors. Any other error is a defect of the demo and shows its traceback."""

STATUS_SECONDS = 2.0
"""Time between two readings of the pipeline's status."""


class Stopped(Exception):  # noqa: N818 (not an error)
    """Ctrl-C, TERM or a closed terminal."""


def watch(demo: Demo, api: AirflowApi, seconds: float | None, at_end: str) -> Status:
    """Show the pipeline's status: a live screen on a terminal, otherwise a line every 15 s.

    Returns the last status after `seconds`; without them runs until Ctrl-C. `at_end` says what Ctrl-C does.
    """
    observer = make_observer(demo.values, demo, api)
    started = time.monotonic()
    status = observer.read_status(demo.control.status())
    with Live(console=demo.console, auto_refresh=False, transient=False) as live:
        next_line = 0.0
        while True:
            elapsed = time.monotonic() - started
            if demo.console.is_terminal:
                shown = screen.render(status, demo.local.state, demo.control.seconds_up(), at_end)
                live.update(shown, refresh=True)
            elif elapsed >= next_line:
                line = screen.line(status, demo.control.seconds_up())
                demo.console.print(line, highlight=False, soft_wrap=True)
                next_line = elapsed + 15
            if seconds is not None and elapsed >= seconds:
                return status
            time.sleep(STATUS_SECONDS)
            status = observer.read_status(demo.control.status())


def stop(demo: Demo) -> bool:
    """Stop every program and every process that it started; the data stays. Returns whether anything ran."""
    if not demo.control.present():
        return False
    with demo.step("stopped everything"):
        demo.control.shutdown(last=SERVERS)
    return True


def run(demo: Demo, seconds: float | None) -> int:
    """Start, watch, stop. Returns the exit status: 1 if no data reached one of the stages.

    A demo that runs already is only watched: the terminal that started it stops it, or `make demo-stop`.
    """
    with demo.control.lock() as has_lock:
        if demo.control.running() and demo.control.status().get("airflow-scheduler") == "RUNNING":
            return _watch_running(demo.as_it_runs(), seconds)
        if not has_lock:
            raise DemoError("another make demo is starting or stopping the pipeline: wait for it, or make demo-stop")
        return _start_and_watch(demo, seconds)


def _watch_running(demo: Demo, seconds: float | None) -> int:
    url = environment.airflow_url(demo.local)
    demo.console.print(f"The demo is already running ({url}); watching it. Ctrl-C ends only this view.", soft_wrap=True)
    at_end = "Ctrl-C ends this view; make demo-stop stops the demo"
    try:
        return _watch_until_the_end(demo, AirflowApi(url), seconds, at_end)
    except Stopped:
        demo.console.print("\nThe demo goes on: the terminal that started it stops it, or make demo-stop.")
        return 0


def _start_and_watch(demo: Demo, seconds: float | None) -> int:
    try:
        stop(demo)  # an earlier demo that was killed may have left programs
        return _watch_until_the_end(demo, start(demo), seconds, "Ctrl-C stops")
    except Stopped:
        demo.console.print("\nStopping (the data stays; make demo continues with it, make demo-clean removes it) ...")
        return 0
    finally:
        _on_signals(_ignore)
        stop(demo)


def _watch_until_the_end(demo: Demo, api: AirflowApi, seconds: float | None, at_end: str) -> int:
    try:
        status = watch(demo, api, seconds, at_end)
    except NotRunningError:
        demo.console.print("\nThe demo was stopped from another terminal.")
        return 0 if seconds is None else 1
    sys.stdout.write(status.as_json() + "\n")
    return 1 if status.empty_stages() else 0


def _on_signals(handler: Callable[[int, FrameType | None], None]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, handler)


def _raise_stopped(_signal: int, _frame: FrameType | None) -> NoReturn:
    _on_signals(_ignore)  # a second signal must not interrupt the stop
    raise Stopped


def _ignore(_signal: int, _frame: FrameType | None) -> None:
    """Ignore a signal. With SIG_IGN instead of this handler Python complains when two signals come at once."""


def main() -> int:
    """Command line of `python -m include.local.demo`."""
    parser = argparse.ArgumentParser(prog="python -m include.local.demo", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run", help="start everything and watch it")
    running.add_argument("--seconds", type=float, help="watch this long, print the status as JSON, stop")
    breaking = commands.add_parser("break", help="break something, to see the alert")
    breaking.add_argument("what", choices=sorted(faults.FAULTS), nargs="?", default="consumer")
    commands.add_parser("fix", help="undo what `break` did")
    query = commands.add_parser("sql", help="open a read-only copy of the warehouse")
    query.add_argument("statement", nargs="?", help="run this statement and end; without it a prompt appears")
    commands.add_parser("mail", help="print the mails received")
    commands.add_parser("status", help="print the status as JSON")
    commands.add_parser("stop", help="stop a demo whose terminal is gone")
    commands.add_parser("clean", help="stop the demo and remove its data")
    options = parser.parse_args()
    # The demo's own messages go to stderr, so that stdout is only the JSON status.
    console = Console(stderr=True)
    logging.basicConfig(level=logging.ERROR)  # what a reading of the status misses is unknown on the screen
    try:
        local = load_group(LocalSettings)
        demo = Demo(local, ProcessControl(local.state), console)
        return dispatch(demo, options)
    except KNOWN_ERRORS as error:
        console.print(f"demo: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
        return 1


def dispatch(demo: Demo, options: argparse.Namespace) -> int:
    """Run one subcommand; returns the exit status."""
    if options.command == "run":
        _on_signals(_raise_stopped)
        return run(demo, options.seconds)
    return COMMANDS[options.command](demo.as_it_runs(), options)


def _show_mails(demo: Demo, _: argparse.Namespace) -> int:
    folder = demo.local.state / "mail"
    if not folder.exists():
        demo.require_running()
    sys.stdout.write(mailbox.show(folder, last=3) + "\n")
    return 0


def _show_status(demo: Demo, _: argparse.Namespace) -> int:
    observer = make_observer(demo.values, demo, AirflowApi(environment.airflow_url(demo.local)))
    sys.stdout.write(observer.read_status(demo.control.status()).as_json() + "\n")
    return 0


def _break(demo: Demo, options: argparse.Namespace) -> int:
    sys.stdout.write(faults.cause(demo, options.what) + "\n")
    return 0


def _fix(demo: Demo, _: argparse.Namespace) -> int:
    sys.stdout.write(faults.fix(demo) + "\n")
    return 0


def _query(demo: Demo, options: argparse.Namespace) -> int:
    return analysis.run(demo, options.statement)


def _stop(demo: Demo, _: argparse.Namespace) -> int:
    if not stop(demo):
        demo.tell(f"no demo runs in {demo.local.state}")
    return 0


def _clean(demo: Demo, options: argparse.Namespace) -> int:
    _stop(demo, options)
    clean_state(demo.local.state)
    return 0


COMMANDS: dict[str, Callable[[Demo, argparse.Namespace], int]] = {
    "break": _break,
    "fix": _fix,
    "mail": _show_mails,
    "sql": _query,
    "status": _show_status,
    "stop": _stop,
    "clean": _clean,
}
"""Each command of another terminal: it speaks of the demo that runs, with the settings with which it runs."""


if __name__ == "__main__":
    sys.exit(main())
