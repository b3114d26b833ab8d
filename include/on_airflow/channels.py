"""The channels of a notice: e-mail always; SNS, Slack and Teams when they are configured.

Every channel gets the notices (kind, key, severity, ...) and the mail about them. A service that
deduplicates and resolves uses the notices, SNS uses the mail, and chats have a text of their own. A notice
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

from include.monitoring.alerts import chat
from include.monitoring.alerts.mail import Mail
from include.monitoring.alerts.model import Notice
from include.on_airflow import connections
from include.reasons import reason_of
from include.settings import AlertSettings

log = logging.getLogger(__name__)

LONGEST_SUBJECT = 100
"""Characters of an SNS subject at most; it must also be ASCII without line breaks."""
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
    for name, address, dialect, body in (
        ("Slack", settings.slack_webhook_url, chat.SLACK, slack_message),
        ("Teams", settings.teams_webhook_url, chat.TEAMS, teams_message),
    ):
        if address:
            channels[name] = _chat(address.get_secret_value(), dialect, body, settings)
    return channels


def _sns(topic: str) -> Channel:
    def publish(_: Sequence[Notice], mail: Mail) -> None:
        subject = mail.subject.encode("ascii", "replace").decode()[:LONGEST_SUBJECT]
        connections.sns_client().publish(TopicArn=topic, Subject=subject, Message=mail.text)

    return publish


def _chat(
    url: str,
    dialect: chat.Dialect,
    body: Callable[[chat.Message], dict[str, Any]],
    settings: AlertSettings,
) -> Channel:
    def post(notices: Sequence[Notice], mail: Mail) -> None:
        message = chat.render(notices, mail.subject, settings, dialect)
        httpx.post(url, json=body(message), timeout=WEBHOOK_SECONDS).raise_for_status()

    return post


def slack_message(message: chat.Message) -> dict[str, Any]:
    """Body of a Slack incoming webhook."""
    return {"text": "\n\n".join([message.title, *message.entries])}


def teams_message(message: chat.Message) -> dict[str, Any]:
    """Body of a Teams workflow webhook: an adaptive card."""
    blocks: list[dict[str, Any]] = [{"type": "TextBlock", "text": message.title, "weight": "Bolder", "wrap": True}]
    blocks += [{"type": "TextBlock", "text": entry, "wrap": True, "separator": True} for entry in message.entries]
    card = {"$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard", "version": "1.4"}
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "content": card | {"body": blocks}}
    return {"type": "message", "attachments": [attachment]}
