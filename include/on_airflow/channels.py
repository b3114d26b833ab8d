"""The channels of a notice: e-mail always; SNS, Slack and Teams when they are configured.

Every channel gets the notices (kind, key, severity, ...) and the mail about them. A service that
deduplicates and resolves uses the notices, a service that only shows text uses the mail. A notice
counts as delivered when the mail server has accepted it. The other channels are used only after
that, so a second attempt of a mail does not repeat them. The failure of such a channel is logged
and not repeated, because the mail was accepted. Webhook addresses are secrets and are not logged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import httpx
from botocore.exceptions import BotoCoreError, ClientError

from include.monitoring.alerts.mail import Mail
from include.monitoring.alerts.model import Notice
from include.on_airflow import connections
from include.reasons import reason_of
from include.settings import AlertSettings

log = logging.getLogger(__name__)

LONGEST_SUBJECT = 100
"""Characters of an SNS subject at most; it must also be ASCII without line breaks."""
LONGEST_CHAT = 3_000
"""Characters of a chat message; Slack cuts a text block there, and Teams refuses 28 kB."""
WEBHOOK_SECONDS = 10.0

Channel = Callable[[Sequence[Notice], Mail], None]
"""Passes notices on. `Notice.kind` is start, reminder or recovery; `Notice.alert.key` is the same in all three."""


def send(notices: Sequence[Notice], mail: Mail, settings: AlertSettings) -> None:
    """Send the notices, as one message in each channel.

    Raises:
        SMTPException, OSError, AirflowException, ValueError: the mail server did not accept the mail.
    """
    connections.send_mail(mail, settings.emails, settings.mail_from)
    for name, channel in _configured(settings).items():
        try:
            channel(notices, mail)
        except httpx.HTTPStatusError as error:
            log.error("%s did not take the notice: %s", name, reason_of(error))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            log.error("%s cannot be reached: %s", name, type(error).__name__)
        except (ClientError, BotoCoreError) as error:
            log.error("%s did not take the notice: %s", name, reason_of(error))
        else:
            log.info("%s has accepted the notice", name)


def _configured(settings: AlertSettings) -> dict[str, Channel]:
    """The configured channels besides e-mail, by name."""
    channels: dict[str, Channel] = {}
    if settings.sns_topic_arn:
        channels["SNS"] = _sns(settings.sns_topic_arn)
    if settings.slack_webhook_url:
        channels["Slack"] = _chat(settings.slack_webhook_url.get_secret_value(), slack_message)
    if settings.teams_webhook_url:
        channels["Teams"] = _chat(settings.teams_webhook_url.get_secret_value(), teams_message)
    return channels


def _sns(topic: str) -> Channel:
    def publish(_: Sequence[Notice], mail: Mail) -> None:
        subject = mail.subject.encode("ascii", "replace").decode()[:LONGEST_SUBJECT]
        connections.sns_client().publish(TopicArn=topic, Subject=subject, Message=mail.text)

    return publish


def _chat(url: str, message: Callable[[Mail], dict[str, Any]]) -> Channel:
    def post(_: Sequence[Notice], mail: Mail) -> None:
        httpx.post(url, json=message(mail), timeout=WEBHOOK_SECONDS).raise_for_status()

    return post


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
