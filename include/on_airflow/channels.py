"""Where notices go: e-mail always; SNS, Slack and Teams when they are configured.

A notice counts as delivered when the mail server has taken it; the other channels follow
then, so that a mail that is tried again does not repeat them. One of them that fails is
logged and not repeated: the mail has told already. Webhook addresses are secrets and stand
in no log.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import httpx
from botocore.exceptions import BotoCoreError, ClientError

from include.monitoring.alerts.mail import Mail, render
from include.monitoring.alerts.model import Notice
from include.on_airflow import connections
from include.settings import AlertSettings, Settings

log = logging.getLogger(__name__)

LONGEST_SUBJECT = 100
"""Characters of an SNS subject at most; it must also be ASCII without line breaks."""
LONGEST_CHAT = 3_000
"""Characters of a chat message; Slack cuts a text block there, and Teams refuses 28 kB."""
WEBHOOK_SECONDS = 10.0


def send(notices: Sequence[Notice], settings: Settings, now: datetime) -> None:
    """Tell everybody of `notices` in one message a channel.

    Raises:
        SMTPException, OSError, AirflowException, ValueError: the mail was not taken.
    """
    mail = render(notices, settings.alert, settings.monitor.environment, now)
    connections.send_mail(mail, settings.alert.emails, settings.alert.mail_from)
    for name, tell in _others(settings.alert).items():
        try:
            tell(mail)
        except httpx.HTTPStatusError as error:
            log.error("%s did not take the notice: HTTP %d", name, error.response.status_code)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            log.error("%s cannot be reached: %s", name, type(error).__name__)
        except (ClientError, BotoCoreError) as error:
            log.error("%s did not take the notice: %s", name, error)
        else:
            log.info("%s has the notice", name)


def _others(settings: AlertSettings) -> dict[str, Callable[[Mail], None]]:
    """The configured channels besides e-mail, by name."""
    found: dict[str, Callable[[Mail], None]] = {}
    if settings.sns_topic_arn:
        found["SNS"] = _to_sns(settings.sns_topic_arn)
    if settings.slack_webhook_url:
        found["Slack"] = _to_webhook(settings.slack_webhook_url.get_secret_value(), slack_message)
    if settings.teams_webhook_url:
        found["Teams"] = _to_webhook(settings.teams_webhook_url.get_secret_value(), teams_message)
    return found


def _to_sns(topic: str) -> Callable[[Mail], None]:
    def tell(mail: Mail) -> None:
        subject = mail.subject.encode("ascii", "replace").decode()[:LONGEST_SUBJECT]
        connections.sns_client().publish(TopicArn=topic, Subject=subject, Message=mail.text)

    return tell


def _to_webhook(url: str, message: Callable[[Mail], dict[str, Any]]) -> Callable[[Mail], None]:
    def tell(mail: Mail) -> None:
        httpx.post(url, json=message(mail), timeout=WEBHOOK_SECONDS).raise_for_status()

    return tell


def slack_message(mail: Mail) -> dict[str, Any]:
    """Body of a Slack incoming webhook. `&`, `<` and `>` are Slack's control characters."""
    text = f"*{mail.subject}*\n{mail.text[:LONGEST_CHAT]}"
    return {"text": text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")}


def teams_message(mail: Mail) -> dict[str, Any]:
    """Body of a Teams workflow webhook: an adaptive card."""
    blocks = [
        {"type": "TextBlock", "text": mail.subject, "weight": "Bolder", "wrap": True},
        {"type": "TextBlock", "text": mail.text[:LONGEST_CHAT].replace("\n", "\n\n"), "wrap": True},
    ]
    card = {"$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard", "version": "1.4"}
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "content": card | {"body": blocks}}
    return {"type": "message", "attachments": [attachment]}
