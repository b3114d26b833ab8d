"""`make demo`: starts the whole pipeline on this machine, shows its work, and stops it.

python -m include.local.demo run [--seconds N]     start and watch (Ctrl-C stops everything)
python -m include.local.demo break consumer|data|s3 | fix | mail | status | stop | clean
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from rich.console import Console
from rich.live import Live

from include.local import broker, emulator, environment, faults, mailbox, screen
from include.local.airflow_api import AirflowApi, AirflowApiError
from include.local.process_control import NotRunningError, ProcessControl, ProcessError
from include.local.programs import SERVERS
from include.local.stack import Demo, DemoError, clean_state
from include.local.start import make_observer, start
from include.local.status import Status
from include.settings import LocalSettings, SettingsError, load_group

KNOWN_ERRORS = (DemoError, SettingsError, ProcessError, AirflowApiError, broker.BrokerError, emulator.EmulatorError)
"""The demo prints the text of these errors. Any other error is a defect of the demo and shows its traceback."""

STATUS_SECONDS = 2.0
"""Time between two readings of the pipeline's status."""


class Stopped(Exception):  # noqa: N818 (not an error)
    """Ctrl-C, TERM or a closed terminal."""


def watch(demo: Demo, api: AirflowApi, seconds: float | None) -> Status:
    """Show the pipeline's status: a live screen on a terminal, otherwise a line every 15 s.

    Returns the last status after `seconds`; without them runs until Ctrl-C.
    """
    observer = make_observer(environment.read(demo.environment_file), demo, api)
    started = time.monotonic()
    status = observer.read_status(demo.control.status())
    with Live(console=demo.console, auto_refresh=False, transient=False) as live:
        next_line = 0.0
        while True:
            elapsed = time.monotonic() - started
            if demo.console.is_terminal:
                live.update(screen.render(status, demo.local.state, elapsed), refresh=True)
            elif elapsed >= next_line:
                demo.console.print(screen.line(status, elapsed), highlight=False, soft_wrap=True)
                next_line = elapsed + 15
            if seconds is not None and elapsed >= seconds:
                return status
            time.sleep(STATUS_SECONDS)
            status = observer.read_status(demo.control.status())


def stop(demo: Demo) -> None:
    """Stop every program and every process that it started; the data stays."""
    if demo.control.present():
        with demo.step("stopped everything"):
            demo.control.shutdown(last=SERVERS)


def run(demo: Demo, seconds: float | None) -> int:
    """Start, watch, stop. Returns the exit status: 1 if no data reached one of the stages."""
    with demo.control.lock() as has_lock:
        is_up = demo.control.running() and demo.control.status().get("airflow-scheduler") == "RUNNING"
        if not has_lock and not is_up:
            raise DemoError("another make demo is starting or stopping the pipeline: wait for it, or make demo-stop")
        return _start_and_watch(demo, seconds, is_up=is_up)


def _start_and_watch(demo: Demo, seconds: float | None, *, is_up: bool) -> int:
    code = 0
    try:
        if is_up:
            demo.console.print("The demo is already running; watching it. Ctrl-C stops it.")
            api = AirflowApi(environment.airflow_url(demo.local))
        else:
            stop(demo)  # an earlier demo that was killed may have left programs
            api = start(demo)
        status = watch(demo, api, seconds)
        sys.stdout.write(status.as_json() + "\n")
        code = 1 if status.empty_stages() else 0
    except Stopped:
        demo.console.print("\nStopping (the data stays; make demo continues with it, make demo-clean removes it) ...")
    except NotRunningError:
        demo.console.print("\nThe demo was stopped from another terminal.")
        code = 0 if seconds is None else 1
    finally:
        _on_signals(_ignore)
        stop(demo)
    return code


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
    commands.add_parser("mail", help="print the mails received")
    commands.add_parser("status", help="print the status as JSON")
    commands.add_parser("stop", help="stop a demo whose terminal is gone")
    commands.add_parser("clean", help="stop the demo and remove its data")
    options = parser.parse_args()
    # The demo's own messages go to stderr, so that stdout is only the JSON status.
    console = Console(stderr=True)
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
    if options.command == "mail":
        sys.stdout.write(mailbox.show(demo.local.state / "mail", last=3) + "\n")
    elif options.command in {"stop", "clean"}:
        stop(demo)
        if options.command == "clean":
            clean_state(demo.local.state)
    elif not demo.control.running():
        raise DemoError("the demo is not running: start it with make demo in another terminal")
    elif options.command == "status":
        api = AirflowApi(environment.airflow_url(demo.local))
        observer = make_observer(environment.read(demo.environment_file), demo, api)
        sys.stdout.write(observer.read_status(demo.control.status()).as_json() + "\n")
    elif options.command == "break":
        sys.stdout.write(faults.FAULTS[options.what].apply(demo.control, demo.environment_file) + "\n")
    else:
        sys.stdout.write(faults.fix(demo.control, demo.environment_file) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
