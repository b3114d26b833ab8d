"""A mailbox for the laptop: an SMTP server that keeps every mail as a file, and a reader.

`python -m include.local.mailbox serve --folder DIR --port 11025` receives mails.
`python -m include.local.mailbox show --folder DIR` prints them, the newest last.
"""

from __future__ import annotations

import argparse
import email
import email.policy
import signal
import time
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

HOST = "127.0.0.1"


class FolderHandler:
    """Writes each message to `folder` as NUMBER.eml. A reader sees a file only when it is complete."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802, ARG002 (aiosmtpd's name)
        """Keep a message; aiosmtpd calls this."""
        name = f"{time.time_ns()}.eml"
        unfinished = self.folder / f".{name}"
        unfinished.write_bytes(envelope.original_content or b"")
        unfinished.rename(self.folder / name)
        return "250 kept"


@dataclass(frozen=True, slots=True)
class Mail:
    """One received mail."""

    path: Path
    to: str
    date: str
    subject: str
    text: str


def read(folder: Path) -> list[Mail]:
    """All mails in the folder, oldest first."""
    return [_parse(path) for path in sorted(folder.glob("[0-9]*.eml"))]


def count(folder: Path) -> int:
    """Number of mails received."""
    return sum(1 for _ in folder.glob("[0-9]*.eml"))


def _parse(path: Path) -> Mail:
    message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    body = message.get_body(preferencelist=("plain", "html"))
    text = body.get_content() if body is not None else ""
    return Mail(path, str(message["To"]), str(message["Date"] or "(no date)"), str(message["Subject"]), text.strip())


def show(folder: Path, last: int) -> str:
    """The newest `last` mails as text."""
    mails = read(folder)
    if not mails:
        return "The mailbox is empty: nothing has failed yet. (make demo-break breaks something.)"
    rule = "-" * 78
    shown = [f"{rule}\n{mail.date}  to {mail.to}\n{mail.subject}\n\n{mail.text}\n" for mail in mails[-last:]]
    return "\n".join([*shown, rule, f"{len(mails)} mails; the newest {len(shown)} shown; files in {folder}"])


def serve(folder: Path, port: int) -> None:
    """Receive until TERM or Ctrl-C."""
    controller = Controller(FolderHandler(folder), hostname=HOST, port=port)
    controller.start()
    try:
        signal.sigwait({signal.SIGTERM, signal.SIGINT})
    finally:
        controller.stop()


def main() -> None:
    """Command line of `python -m include.local.mailbox`."""
    parser = argparse.ArgumentParser(prog="python -m include.local.mailbox", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, help_text in (("serve", "receive mail"), ("show", "print the newest mails")):
        command = commands.add_parser(name, help=help_text)
        command.add_argument("--folder", type=Path, required=True)
        if name == "serve":
            command.add_argument("--port", type=int, default=11025)
        else:
            command.add_argument("--last", type=int, default=5, help="number of mails (default: 5)")
    options = parser.parse_args()
    if options.command == "serve":
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
        serve(options.folder, options.port)
    else:
        print(show(options.folder, options.last))  # noqa: T201


if __name__ == "__main__":
    main()
