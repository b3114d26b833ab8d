"""Where notices go: e-mail always; SNS, Slack and Teams when they are configured.

A notice counts as delivered when the mail server has taken it. Another channel that fails
is logged and not repeated: the mail has told already.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime

from include.settings import Settings
from include.watch.alerts import Notice
from include.watch.connections import send_mail
from include.watch.notices import render

log = logging.getLogger(__name__)


def send(notices: Sequence[Notice], settings: Settings, now: datetime) -> None:
    """Tell everybody of `notices` in one message a channel.

    Raises:
        SMTPException, OSError, AirflowException, ValueError: the mail was not taken.
    """
    mail = render(notices, settings.alert, settings.monitor.environment, now)
    send_mail(mail, settings.alert.emails, settings.alert.mail_from)
