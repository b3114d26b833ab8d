"""Clients that the hooks of Airflow's providers make from Airflow's connections.

Connections: `kafka_default`, `aws_default`, `smtp_default`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid, parseaddr
from smtplib import SMTP
from typing import TYPE_CHECKING, Any, cast

import boto3
from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.providers.apache.kafka.hooks.base import KafkaBaseHook
from airflow.providers.apache.kafka.hooks.client import KafkaAdminClientHook
from airflow.providers.smtp.hooks.smtp import SmtpHook
from botocore.config import Config
from confluent_kafka import Consumer
from obstore.store import S3Store

from include.ingest.store import client_options
from include.ingest.topic import connected
from include.monitoring.alerts.mail import Mail
from include.monitoring.checks.kafka_offsets import probe_config
from include.msk_iam import CALLBACK, Signed, Token, iam_token, region_of
from include.settings import AUTO_CREATION, AwsSettings, StorageSettings

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sns import SNSClient

log = logging.getLogger(__name__)

KAFKA = "kafka_default"
AWS = "aws_default"
SMTP_SERVER = "smtp_default"

_PATIENCE = Config(connect_timeout=5, read_timeout=20, retries={"mode": "standard", "max_attempts": 3})
"""By default botocore waits for minutes; the monitor has to report a failed service within its interval."""

PATIENCE_SECONDS = 180.0
"""The mail server's answer may take this long; the connection's own `timeout` is for the connecting. Servers filter the
content before they answer (RFC 5321 asks clients to wait ten minutes). After an early end the mail is sent twice."""

_PAGE_PATIENCE = Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 1})
"""A person waits for the page, and the page renews itself, so there is no second attempt."""


def s3_client() -> S3Client:
    """S3 by the connection `aws_default`."""
    return cast("S3Client", S3Hook(aws_conn_id=AWS, config=_PATIENCE).get_conn())


def page_s3_client() -> S3Client:
    """S3 by the connection `aws_default`, for the page Pipeline Health."""
    return cast("S3Client", S3Hook(aws_conn_id=AWS, config=_PAGE_PATIENCE).get_conn())


def page_cloudwatch_client() -> CloudWatchClient:
    """CloudWatch by the connection `aws_default`, for the page Pipeline Health."""
    hook = AwsBaseHook(aws_conn_id=AWS, client_type="cloudwatch", config=_PAGE_PATIENCE)
    return cast("CloudWatchClient", hook.get_conn())


def own_s3_client(aws: AwsSettings) -> S3Client:
    """S3 with the credentials of this process (the usual AWS chain), where Airflow opens no connection."""
    return boto3.client("s3", region_name=aws.default_region, endpoint_url=aws.endpoint_url, config=_PATIENCE)


def bucket_store(storage: StorageSettings) -> S3Store:
    """The bucket by the connection `aws_default`, for what uses the landing's own S3 client.

    Raises:
        ValueError: the connection has no credentials.
    """
    client = s3_client()
    credentials = S3Hook(aws_conn_id=AWS).get_session().get_credentials()
    if credentials is None:
        raise ValueError(f"no AWS credentials: set them in the connection {AWS}, or give the worker a role")
    frozen = credentials.get_frozen_credentials()
    options: dict[str, Any] = {
        "region": client.meta.region_name,
        "access_key_id": frozen.access_key,
        "secret_access_key": frozen.secret_key,
    }
    if frozen.token:
        options["token"] = frozen.token
    endpoint = client.meta.endpoint_url
    if "amazonaws.com" not in endpoint:
        options |= {"endpoint": endpoint, "virtual_hosted_style_request": False}
    limits = client_options(allow_http=endpoint.startswith("http://"))
    return S3Store(storage.bucket, client_options=limits, **options)


def cloudwatch_client() -> CloudWatchClient:
    """CloudWatch by the connection `aws_default`."""
    return cast("CloudWatchClient", _aws("cloudwatch"))


def sns_client() -> SNSClient:
    """SNS by the connection `aws_default`."""
    return cast("SNSClient", _aws("sns"))


def _aws(service: str) -> Any:
    return AwsBaseHook(aws_conn_id=AWS, client_type=service, config=_PATIENCE).get_conn()


def kafka_admin() -> AdminClient:
    """Kafka's admin client by the connection `kafka_default`."""
    return cast("AdminClient", _AdminHook(kafka_config_id=KAFKA).get_conn)


def _without_creation(config: dict[str, Any]) -> dict[str, Any]:
    """The options of a connection, with which a client creates no topic and says why it gets no token."""
    token = {CALLBACK: _token(config[CALLBACK], config["bootstrap.servers"])} if CALLBACK in config else {}
    return config | token | {AUTO_CREATION: False}


def _token(callback: Callable[[str], Signed], servers: str) -> Token:
    """The connection's own callback, or ours instead of that which the provider adds for an address of Amazon MSK.

    The provider's does not say that credentials are missing, and does not keep them.
    """
    is_providers = getattr(callback, "func", callback).__module__ == KafkaBaseHook.__module__
    region = region_of(servers) if is_providers else None
    return iam_token(region) if region else Token(callback)


class _AdminHook(KafkaAdminClientHook):
    """The provider's hook, with a client that creates no topic when it asks for one."""

    def _get_client(self, config: dict[str, Any]) -> AdminClient:
        return cast("AdminClient", connected(super()._get_client, _without_creation(config)))


class _OffsetProbeHook(KafkaBaseHook):
    """A consumer of the same connection that only reads: no group membership, no commit."""

    group = ""

    def _get_client(self, config: dict[str, Any]) -> Consumer:
        return connected(Consumer, _without_creation(config | probe_config(self.group)))


class _OptionsHook(KafkaBaseHook):
    """The connection's options instead of a client."""

    def _get_client(self, config: dict[str, Any]) -> dict[str, Any]:
        return _without_creation(config)


def kafka_options() -> dict[str, Any]:
    """The options of librdkafka in the connection `kafka_default`, with a callback for tokens if it needs one."""
    return cast("dict[str, Any]", _OptionsHook(kafka_config_id=KAFKA).get_conn)  # type: ignore[no-untyped-call]


def offset_probe(group: str) -> Consumer:
    """A consumer by the connection `kafka_default`, see `probe_config`; the caller closes it."""
    hook = _OffsetProbeHook(kafka_config_id=KAFKA)  # type: ignore[no-untyped-call]
    hook.group = group
    return cast("Consumer", hook.get_conn)


class _MailHook(SmtpHook):
    """The SMTP provider's hook for a message with a plain-text and an HTML part."""

    def deliver(self, message: EmailMessage) -> None:
        """Send it. If the server refuses only some recipients, the others have the mail, so this is only logged."""
        client = cast("SMTP", self._smtp_client)
        if client.sock is not None:
            client.sock.settimeout(PATIENCE_SECONDS)
        refused = client.send_message(message)
        for address, (code, reason) in refused.items():
            text = reason.decode(errors="replace") if isinstance(reason, bytes) else reason
            log.error("the mail server refused %s (%d %s): check ALERT_EMAILS", address, code, text)


def send_mail(mail: Mail, to: list[str], sender: str) -> None:
    """Send by the connection `smtp_default`.

    Raises:
        SMTPException, OSError, AirflowException: the server cannot be reached, or refuses the mail or every recipient.
    """
    message = EmailMessage()
    message["Subject"] = mail.subject
    message["To"] = ", ".join(to)
    message["Date"] = format_datetime(datetime.now(UTC))
    domain = parseaddr(sender)[1].rpartition("@")[2]
    message["Message-ID"] = f"<{mail.id}@{domain}>" if mail.id and domain else make_msgid(domain=domain or None)
    if mail.replies_to and domain:  # mail programs show it below the mail about the start
        message["In-Reply-To"] = f"<{mail.replies_to[0]}@{domain}>"
        message["References"] = " ".join(f"<{thread}@{domain}>" for thread in mail.replies_to)
    message["Auto-Submitted"] = "auto-generated"  # so that no out-of-office reply is sent
    message["From"] = sender
    message.set_content(mail.text)
    message.add_alternative(mail.html, subtype="html")
    with _MailHook(smtp_conn_id=SMTP_SERVER) as server:
        cast("_MailHook", server).deliver(message)
