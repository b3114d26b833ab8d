"""The mailbox keeps each mail complete and shows it as readable text."""

from __future__ import annotations

import smtplib
from email.message import EmailMessage
from pathlib import Path

from aiosmtpd.controller import Controller

from include.local import mailbox
from tests.servers import free_port


def test_a_mail_sent_by_smtp_is_kept_and_shown(tmp_path: Path) -> None:
    port = free_port()
    controller = Controller(mailbox.FolderHandler(tmp_path), hostname="127.0.0.1", port=port)
    controller.start()
    try:
        for number in range(3):
            message = EmailMessage()
            message["To"], message["From"] = "oncall@example.com", "lake@example.com"
            message["Subject"] = f"[crypto-lakehouse] STARTED {number}: lag \u2265 1000"
            message.set_content(f"body {number}")
            message.add_alternative(f"<p>html {number}</p>", subtype="html")
            with smtplib.SMTP("127.0.0.1", port) as client:
                client.send_message(message)
    finally:
        controller.stop()
    assert mailbox.count(tmp_path) == 3
    assert [mail.text for mail in mailbox.read(tmp_path)] == ["body 0", "body 1", "body 2"]
    shown = mailbox.show(tmp_path, last=2)
    assert "STARTED 2: lag \u2265 1000" in shown
    assert "body 0" not in shown
    assert "3 mails; the newest 2 shown" in shown


def test_an_empty_mailbox_says_so(tmp_path: Path) -> None:
    assert "empty" in mailbox.show(tmp_path, last=5)
