"""`python -m tests.incidents [NAME ...]` breaks things in the real stack, and prints what the mails said.

It needs the environment of `make env`. The mails are kept in a folder, as HTML and as text.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

from include.local.airflow_api import AirflowApiError
from include.local.process_control import ProcessError
from include.local.stack import DemoError
from tests.incidents.incidents import INCIDENTS, Incident
from tests.incidents.judge import Line, Observed, line_of, table
from tests.incidents.scene import Scene, scene

PATIENCE_SECONDS = 900
"""Maximum of seconds until a mail; it is long, because a machine may be slow."""
WITHOUT_SCHEDULER_SECONDS = 30


def say(text: str) -> None:
    """Print one line now."""
    print(text, flush=True)  # noqa: T201


def play(found: Scene, incident: Incident, folder: Path) -> Observed:
    """Break one thing, wait for the mail, mend it, and wait for the end."""
    before = set(found.mails())

    def mails() -> list[Path]:
        return [path for path in found.mails() if path not in before]

    broken = incident.break_it(found)
    if incident.cause:
        found.until(lambda: mails() != [], PATIENCE_SECONDS)
    else:
        time.sleep(WITHOUT_SCHEDULER_SECONDS)
    note = incident.note(found)
    mended_at = datetime.now(UTC)
    incident.mend(found)
    ticks = len(found.ticks)
    quiet = found.until(lambda: len(found.ticks) > ticks and found.is_quiet(), PATIENCE_SECONDS)
    quiet_at = datetime.now(UTC) if quiet else None
    keep(incident.name, mails(), folder)
    return Observed(
        name=incident.name,
        cause=incident.cause,
        broken_at=broken.at,
        evidence_at=broken.evidence_at,
        mended_at=mended_at,
        mails=[mail for path, mail in found.mails().items() if path not in before],
        ticks=found.ticks,
        quiet_at=quiet_at,
        note=note,
    )


def keep(name: str, mails: Sequence[Path], folder: Path) -> None:
    """Write the HTML and the text of each mail of an incident."""
    for number, path in enumerate(mails, 1):
        message = message_from_bytes(path.read_bytes(), policy=policy.default)
        assert isinstance(message, EmailMessage)
        stem = f"{name.replace(' ', '-')}-{number}"
        for kind in ("html", "plain"):
            part = message.get_body((kind,))
            assert part is not None
            subject = f"Subject: {message['Subject']}\n\n" if kind == "plain" else ""
            (folder / f"{stem}.{kind.replace('plain', 'txt')}").write_text(subject + part.get_content())


def stay_quiet(found: Scene, seconds: float) -> str:
    """Run the monitor for so long while nothing is broken; returns a sentence with the number of mails."""
    mails, ticks = len(found.mails()), len(found.ticks)
    found.until(lambda: False, seconds)
    return (
        f"quiet period of {seconds:.0f} s: {len(found.mails()) - mails} false alarms "
        f"in {len(found.ticks) - ticks} runs of the monitor"
    )


def chosen(names: Sequence[str]) -> list[Incident]:
    """The incidents with these names, in this order; all of them without a name."""
    by_name = {incident.name: incident for incident in INCIDENTS}
    if unknown := set(names) - set(by_name):
        known = ", ".join(map(repr, by_name))
        raise SystemExit(f"no such incident: {', '.join(sorted(unknown))}; there are {known}")
    return [by_name[name] for name in names or by_name]


def main() -> int:
    """Command line; 0 if every incident that can be mailed was mailed as it should be, without a false alarm."""
    parser = argparse.ArgumentParser(prog="python -m tests.incidents", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="incidents (default: all)")
    parser.add_argument("--quiet-seconds", type=float, default=120, help="length of the quiet period (default: 120)")
    parser.add_argument("--mails", type=Path, help="folder for the mails (default: a new one)")
    options = parser.parse_args()
    incidents = chosen(options.names)
    folder = options.mails or Path(tempfile.mkdtemp(prefix="incidents-"))
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    lines: list[Line] = []
    with tempfile.TemporaryDirectory(prefix="stack-") as state, scene(Path(state)) as found:
        say(f"the stack works after {time.monotonic() - began:.0f} s; the mails are written to {folder}")
        quiet = stay_quiet(found, options.quiet_seconds)
        say(quiet)
        for incident in incidents:
            try:
                lines.append(line_of(play(found, incident, folder)))
            except (AirflowApiError, AssertionError, DemoError, ProcessError) as error:
                say(f"{incident.name} could not be played: {type(error).__name__} {error}")
                incident.mend(found)
                continue
            say(f"{time.monotonic() - began:5.0f} s  {' | '.join(lines[-1].cells())}")
    say(f"\n{table(lines)}\n\n{quiet}; all took {(time.monotonic() - began) / 60:.0f} minutes")
    good = len(lines) == len(incidents) and all(line.good for line in lines if line.cause)
    return 0 if good and " 0 false alarms" in quiet else 1


if __name__ == "__main__":
    sys.exit(main())
