"""An error of another program becomes a sentence: its code and message, what it means, what to do."""

from __future__ import annotations

import ast
import smtplib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.request import urlopen

import boto3
import httpx
import obstore
import pytest
from airflow.sdk.exceptions import AirflowNotFoundException
from botocore.config import Config
from botocore.exceptions import NoCredentialsError
from confluent_kafka import Consumer, KafkaError, KafkaException
from hypothesis import given
from hypothesis import strategies as st
from obstore.exceptions import GenericError
from obstore.store import S3Store

from include.meanings import KAFKA
from include.reasons import LONGEST, LONGEST_OTHER, reason_of
from include.settings import PROJECT_ROOT

KEY = "crypto_data/2026/11/30/crypto_data_p00000_2026-11-30T00-00-00_o00000000000000000000.json"
MESSAGES = {
    "AccessDenied": "User: arn:aws:sts::111122223333:assumed-role/c/s is not authorized to perform: s3:PutObject",
    "RequestTimeTooSkewed": "The difference between the request time and the current time is too large.",
    "SlowDown": "Please reduce your request rate.",
    "NoSuchBucket": "The specified bucket does not exist",
    "ExpiredToken": "The provided token has expired.",
    "InvalidAccessKeyId": "The AWS Access Key Id you provided does not exist in our records.",
    "InternalError": "We encountered an internal error. Please try again.",
    "SignatureDoesNotMatch": "The request signature we calculated does not match &amp; differs",
    "ThrottlingException": "Rate exceeded",
}
"""S3's own messages, from its list of error responses."""


@dataclass(frozen=True, slots=True)
class Servers:
    """A server that answers as the path `/STATUS/CODE/...` says, a port that is closed, and one that says nothing."""

    address: str
    closed: str
    silent: str

    def store(self, answer: str = "", address: str = "") -> S3Store:
        return S3Store(
            "lake", endpoint=(address or self.address) + answer, region="us-east-1", virtual_hosted_style_request=False,
            client_options={"allow_http": True, "timeout": "1s", "connect_timeout": "1s"},
            retry_config={"max_retries": 0},
        )  # fmt: skip

    def client(self, service: str, answer: str = "", address: str = "") -> Any:
        config = Config(retries={"total_max_attempts": 1}, read_timeout=1, connect_timeout=1)
        return boto3.client(service, endpoint_url=(address or self.address) + answer, config=config)  # type: ignore[call-overload]


class _Answers(BaseHTTPRequestHandler):
    """Answers with the status and S3's XML for the code that the path names."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        _, status, code, *_ = [*self.path.split("/"), "", ""]
        xml = (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{MESSAGES.get(code, "")}'
            f"</Message><Key>{KEY}</Key><RequestId>4442587FB7D0A2F9</RequestId></Error>"
        )
        body = b"" if self.command == "HEAD" or code == "nothing" else xml.encode()
        self.send_response(int(status))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = do_HEAD = do_POST = answer  # noqa: N815 - the base class's names

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with (
        ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as server,
        socket.socket() as silent,
        socket.socket() as closed,
    ):
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        closed.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        addresses = (f"http://127.0.0.1:{each.getsockname()[1]}" for each in (server.socket, closed, silent))
        yield Servers(*addresses)
        server.shutdown()


def put(store: S3Store) -> object:
    return obstore.put(store, KEY, b"x", mode="create", use_multipart=False)


def kafka(code: int) -> KafkaException:
    return KafkaException(KafkaError(code))


def raising(error: BaseException) -> Callable[[Servers], object]:
    def fail(_: Servers) -> object:
        raise error

    return fail


def no_such_setting(_: Servers) -> object:
    return Consumer({"group.id": "g", "no.such": 1})


def no_broker(servers: Servers) -> object:
    address = servers.closed.removeprefix("http://")
    return Consumer({"bootstrap.servers": address, "group.id": "g", "log_level": 0}).list_topics(timeout=0.5)


def opened(address: str) -> object:
    return urlopen(address)  # noqa: S310 - a loopback address


TABLE: list[tuple[str, Callable[[Servers], object], str, str]] = [
    # S3, by the consumer's client
    ("put", lambda s: put(s.store("/403/AccessDenied")), "AccessDenied (HTTP 403): User: arn:aws", "aws-reference.md"),
    ("skew", lambda s: put(s.store("/403/RequestTimeTooSkewed")), "RequestTimeTooSkewed (HTTP 403): The", "clock"),
    ("503", lambda s: put(s.store("/503/SlowDown")), "SlowDown (HTTP 503): Please", "CONSUMER_BATCH_REC"),
    ("bucket", lambda s: put(s.store("/404/NoSuchBucket")), "NoSuchBucket (HTTP 404): The specified", "S3_BUCKET"),
    ("token", lambda s: put(s.store("/400/ExpiredToken")), "ExpiredToken (HTTP 400): The provided", "Renew them"),
    ("key", lambda s: put(s.store("/403/InvalidAccessKeyId")), "InvalidAccessKeyId (HTTP 403)", "credentials"),
    ("500", lambda s: put(s.store("/500/InternalError")), "InternalError (HTTP 500): We", "repeated"),
    ("&", lambda s: put(s.store("/403/SignatureDoesNotMatch")), "SignatureDoesNotMatch (HTTP 403): The", "& differs"),
    ("no body", lambda s: put(s.store("/403/nothing")), "HTTP 403: Forbidden.", "policy"),
    ("head", lambda s: obstore.head(s.store("/403/AccessDenied"), KEY), "HTTP 403: Forbidden.", "Request: HEAD"),
    ("list", lambda s: list(obstore.list(s.store("/403/AccessDenied"))), "AccessDenied (HTTP 403)", "GET"),
    ("region", lambda s: put(s.store("/301/PermanentRedirect")), "redirect.", "AWS_DEFAULT_REGION"),
    ("refused", lambda s: put(s.store(address=s.closed)), "ECONNREFUSED: Connection refused.", "the server runs"),
    ("silent", lambda s: put(s.store(address=s.silent)), "timeout.", "in time"),
    ("dns", lambda s: put(s.store(address="http://nohost.invalid")), "unknown host.", "DNS"),
    ("tls", lambda s: put(s.store(address=s.address.replace("http", "https"))), "no TLS.", "http://"),
    # AWS, by the monitor's client
    ("boto", lambda s: s.client("s3", "/403/AccessDenied").list_objects_v2(Bucket="b"), "AccessDenied (HTTP 403)",
     "Request: ListObjectsV2"),
    ("boto head", lambda s: s.client("s3", "/403/x").head_object(Bucket="b", Key="k"), "HTTP 403: Forbidden", "policy"),
    ("boto refused", lambda s: s.client("s3", address=s.closed).list_buckets(), "EndpointConnectionError: Could",
     "AWS_ENDPOINT_URL"),
    ("boto silent", lambda s: s.client("s3", address=s.silent).list_buckets(), "ReadTimeoutError: Read", "in time"),
    ("no keys", raising(NoCredentialsError()), "NoCredentialsError: Unable to locate credentials.", "role"),
    # Kafka
    ("broker", no_broker, "_TRANSPORT: Failed to get metadata", "KAFKA_BOOTSTRAP_SERVERS"),
    ("setting", no_such_setting, "_INVALID_ARG: No such configuration property", "KAFKA_OPTIONS"),
    ("login", raising(kafka(KafkaError._AUTHENTICATION)), "_AUTHENTICATION: Local: Auth", "KAFKA_SASL_PASSWORD"),
    ("topic", raising(kafka(KafkaError.UNKNOWN_TOPIC_OR_PART)), "UNKNOWN_TOPIC_OR_PART: Broker", "KAFKA_TOPIC"),
    ("acl", raising(kafka(KafkaError.GROUP_AUTHORIZATION_FAILED)), "GROUP_AUTHORIZATION_FAILED", "right"),
    ("coordinator", raising(kafka(KafkaError.NOT_COORDINATOR)), "NOT_COORDINATOR: Broker", "asked again"),
    ("ssl", raising(kafka(KafkaError._SSL)), "_SSL: Local: SSL error.", "KAFKA_SSL_CA_LOCATION"),
    ("fenced", raising(kafka(KafkaError.FENCED_INSTANCE_ID)), "FENCED_INSTANCE_ID", "CONSUMER_GROUP_INSTANCE_ID"),
    ("size", raising(kafka(KafkaError.MSG_SIZE_TOO_LARGE)), "MSG_SIZE_TOO_LARGE", "max.message.bytes"),
    ("our text", raising(KafkaException("t/0/7 was not acknowledged")), "Kafka: t/0/7 was not acknowledged.", ""),
    # HTTP
    ("401", lambda s: httpx.get(s.address + "/401/").raise_for_status(), "HTTP 401: Unauthorized.", "key"),
    ("429", lambda s: httpx.get(s.address + "/429/").raise_for_status(), "HTTP 429: Too Many Requests.", "less often"),
    ("502", lambda s: opened(s.address + "/502/"), "HTTP 502: Bad Gateway.", "proxy"),
    ("httpx", lambda s: httpx.get(s.closed), "ECONNREFUSED: Connection refused.", "the server runs"),
    ("urllib", lambda s: opened(s.closed), "ECONNREFUSED: Connection refused.", "the server runs"),
    ("slow", lambda s: httpx.get(s.silent, timeout=0.2), "TimeoutError: timed out.", "in time"),
    # mail and Airflow
    ("smtp", lambda s: smtplib.SMTP("127.0.0.1", int(s.closed.rpartition(":")[2])), "ECONNREFUSED", "the server runs"),
    ("smtp login", raising(smtplib.SMTPAuthenticationError(535, b"5.7.8 no")), "SMTPAuthenticationError: 535 5.7.8 no.",
     "smtp_default"),
    ("smtp to", raising(smtplib.SMTPRecipientsRefused({"a@b": (550, b"unknown")})),
     "SMTPRecipientsRefused: a@b (550 unknown).", "ALERT_EMAILS"),
    ("connection", raising(AirflowNotFoundException("The conn_id `kafka_default` isn't defined")),
     "AirflowNotFoundException: The conn_id `kafka_default`", "airflow_settings.yaml"),
    ("no credentials", raising(GenericError(
        "Generic S3 error: Error performing PUT http://169.254.169.254/latest/api/token in 2.1ms - Server returned "
        "non-2xx status code: 403 Forbidden: ")), "NoCredentialsError: neither key nor role.", "demo/environment"),
    ("certificate", raising(ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED]")),
     "TLS: [SSL: CERTIFICATE_VERIFY_FAILED]", "the CA"),
]  # fmt: skip


@pytest.mark.parametrize(("fail", "head", "remedy"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_an_error_becomes_its_code_message_and_remedy(
    servers: Servers, fail: Callable[[Servers], object], head: str, remedy: str
) -> None:
    with pytest.raises(Exception) as caught:
        fail(servers)
    sentence = reason_of(caught.value)
    assert sentence.startswith(head)
    assert remedy in sentence
    assert "<?xml" not in sentence
    assert len(sentence) <= LONGEST
    assert len(sentence.splitlines()) == 1


def test_two_refusals_of_s3_do_not_read_alike(servers: Servers) -> None:
    """Both are PermissionDeniedError with the same text until the XML, which names the code."""
    sentences = set()
    for code in ("AccessDenied", "RequestTimeTooSkewed"):
        with pytest.raises(obstore.exceptions.PermissionDeniedError) as caught:
            put(servers.store(f"/403/{code}"))
        sentences.add(reason_of(caught.value).partition(" (")[0])
    assert sentences == {"AccessDenied", "RequestTimeTooSkewed"}


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=3000), st.integers(0, 999))
def test_code_and_length_hold_for_any_message(message: str, status: int) -> None:
    error = obstore.exceptions.GenericError(
        f"Generic S3 error: Error performing PUT http://h/{KEY * 4} in 1ms - Server returned non-2xx status code: "
        f"{status:03d} X: <Error><Code>SlowDown</Code><Message>{message}</Message></Error>\n\nDebug source:\n{message}"
    )
    sentence = reason_of(error)
    assert sentence.startswith("SlowDown")
    assert len(sentence) <= LONGEST


def test_an_error_of_no_known_program_keeps_its_text() -> None:
    text = "line 1\nline 2"
    assert reason_of(RuntimeError(text)) == f"RuntimeError: {text}"
    assert len(reason_of(RuntimeError("x" * 10_000))) == LONGEST_OTHER


@pytest.mark.parametrize(
    ("error", "secret"),
    [
        (httpx.ConnectError("proxy http://user:geheim@proxy:3128 failed"), "geheim"),
        (KafkaException(KafkaError(KafkaError._AUTHENTICATION, "password=geheim was refused")), "geheim"),
        (RuntimeError("GET http://h/?X-Amz-Signature=geheim"), "geheim"),
        (RuntimeError("key AKIAIOSFODNN7EXAMPLE"), "AKIAIOSFODNN7EXAMPLE"),
    ],
)
def test_a_reason_holds_no_secret(error: Exception, secret: str) -> None:
    assert secret not in reason_of(error)


def test_every_kafka_code_of_the_table_is_one_of_the_client() -> None:
    codes = (value for name, value in vars(KafkaError).items() if name.isupper() and isinstance(value, int))
    assert KAFKA.keys() <= {KafkaError(code).name() for code in codes}


FOREIGN = {
    "KafkaException", "BotoCoreError", "ClientError", "BaseError", "GenericError", "HTTPError", "HTTPStatusError",
    "TransportError", "InvalidURL", "HTTPException", "SMTPException",
}  # fmt: skip
"""Errors of other programs, whose own text has no meaning and no remedy."""


def shown_raw(handler: ast.ExceptHandler) -> Iterator[int]:
    """Lines in which an except clause puts the error itself into a text or a log line."""
    for node in ast.walk(handler):
        shown: list[ast.expr] = []
        if isinstance(node, ast.FormattedValue):
            shown = [node.value]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            is_log = node.func.attr in ("debug", "info", "warning", "error")
            shown = [*node.args, *(keyword.value for keyword in node.keywords)] if is_log else []
        yield from (part.lineno for part in shown if isinstance(part, ast.Name) and part.id == handler.name)


def test_no_error_of_another_program_is_shown_as_it_is() -> None:
    raw = []
    for folder in ("include", "dags", "plugins"):
        for path in sorted((PROJECT_ROOT / folder).rglob("*.py")):
            for handler in ast.walk(ast.parse(path.read_text())):
                if isinstance(handler, ast.ExceptHandler) and handler.type is not None:
                    names = {getattr(node, "attr", getattr(node, "id", "")) for node in ast.walk(handler.type)}
                    raw += [f"{path.name}:{line}" for line in shown_raw(handler) if names & FOREIGN]
    assert raw == []
