"""The tokens of AWS IAM for Amazon MSK: what the real signer makes without a network, and why one is missing."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from confluent_kafka import Consumer, KafkaException, Producer

from include import msk_iam
from include.ingest.topic import connected
from include.settings import KafkaSettings, SettingsError, load_group

KEY, SECRET, SESSION = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "a+session/token=="
HOST = "b-1.lake.abcde1.c2.kafka.eu-central-1.amazonaws.com:9098"


@pytest.fixture
def identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process has the fixed credentials."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", SESSION)


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process has no credentials."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, "/nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def signature(query: dict[str, str], host: str, region: str) -> str:
    """Signature version 4 of a GET with the fixed secret, as AWS documents it.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html
    """
    canonical = "&".join(f"{quote(name, safe='-_.~')}={quote(query[name], safe='-_.~')}" for name in sorted(query))
    request = f"GET\n/\n{canonical}\nhost:{host}\n\nhost\n{hashlib.sha256(b'').hexdigest()}"
    at = query["X-Amz-Date"]
    scope = f"{at[:8]}/{region}/kafka-cluster/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{at}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = f"AWS4{SECRET}".encode()
    for part in (at[:8], region, "kafka-cluster", "aws4_request", text):
        key = hmac.digest(key, part.encode(), "sha256")
    return key.hex()


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Our own lines; libraries may log too."""
    return [record.getMessage() for record in caplog.records if record.name == msk_iam.log.name]


def test_a_token_is_a_signed_request_to_connect(identity: None) -> None:
    asked = time.time()
    token, ends = msk_iam.iam_token("eu-central-1")("")
    url = urlsplit(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode())
    query = {name: values[0] for name, values in parse_qs(url.query, strict_parsing=True).items()}
    assert (url.scheme, url.netloc, url.path) == ("https", "kafka.eu-central-1.amazonaws.com", "/")
    assert query.pop("User-Agent").startswith("aws-msk-iam-sasl-signer-python/")  # added after the signing
    assert query.pop("X-Amz-Signature") == signature(query, url.netloc, "eu-central-1")
    assert query["Action"] == "kafka-cluster:Connect"
    assert query["X-Amz-Expires"] == "900"
    assert query["X-Amz-Credential"].startswith(f"{KEY}/")
    assert query["X-Amz-Security-Token"] == SESSION
    assert asked + 900 - 1 <= ends <= time.time() + 900
    assert "=" not in token  # Amazon MSK wants base64url without padding


def test_a_process_without_credentials_gets_no_token(nobody: None, caplog: pytest.LogCaptureFixture) -> None:
    token = msk_iam.iam_token("eu-central-1")
    for _ in range(2):
        with pytest.raises(Exception, match="Unable to locate credentials"):
            token("")
    (problem,) = token.problems()
    assert problem.startswith("no new token for the login to Kafka: NoCredentialsError")
    assert len(logged(caplog)) == 1


def test_the_first_token_after_a_failure_ends_the_problem(caplog: pytest.LogCaptureFixture) -> None:
    answers: list[Exception | msk_iam.Signed] = [OSError("away"), ("signed", 1.0)]

    def sign(_config: str) -> msk_iam.Signed:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    token = msk_iam.Token(sign)
    with pytest.raises(OSError, match="away"):
        token("")
    assert len(token.problems()) == 1
    assert token("") == ("signed", 1.0)
    assert token.problems() == []
    assert logged(caplog)[1:] == ["Kafka's login has a token again"]


def test_credentials_are_kept_when_their_source_is_away(identity: None, monkeypatch: pytest.MonkeyPatch) -> None:
    token = msk_iam.iam_token("eu-central-1")
    token("")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert token("")[0]


@pytest.mark.parametrize(
    ("address", "region"),
    [
        (HOST, "eu-central-1"),
        (f"kafka.example.com:9098,{HOST}", "eu-central-1"),
        ("boot-abcde1.c2.kafka-serverless.us-east-2.amazonaws.com:9098", "us-east-2"),
        ("b-1.lake.abcde1.c2.kafka.cn-north-1.amazonaws.com.cn:9098", "cn-north-1"),
        ("kafka.example.com:9098", None),
    ],
)
def test_the_region_is_in_the_address_of_amazon_msk(address: str, region: str | None) -> None:
    assert msk_iam.region_of(address) == region


def settings(monkeypatch: pytest.MonkeyPatch, **changes: str) -> KafkaSettings:
    environment = {"SECURITY_PROTOCOL": "SASL_SSL", "SASL_MECHANISM": "AWS_MSK_IAM", "BOOTSTRAP_SERVERS": HOST}
    for name, value in (environment | changes).items():
        monkeypatch.setenv(f"KAFKA_{name}", value)
    return load_group(KafkaSettings)


def test_every_client_of_a_process_has_the_same_callback(monkeypatch: pytest.MonkeyPatch) -> None:
    kafka = settings(monkeypatch)
    config = kafka.client_config()
    assert config["sasl.mechanism"] == "OAUTHBEARER"
    assert config["oauth_cb"] is kafka.token
    assert config["oauth_cb"] is kafka.client_config()["oauth_cb"]
    assert "sasl.username" not in config


def test_a_token_is_not_sent_without_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match=r"AWS_MSK_IAM needs KAFKA_SECURITY_PROTOCOL=SASL_SSL"):
        settings(monkeypatch, SECURITY_PROTOCOL="SASL_PLAINTEXT")


def test_other_mechanisms_have_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    kafka = settings(monkeypatch, SASL_MECHANISM="PLAIN", SASL_USERNAME="lake", SASL_PASSWORD="secret")
    assert kafka.token is None
    assert "oauth_cb" not in kafka.client_config()


def test_a_refused_setting_is_not_a_missing_token(monkeypatch: pytest.MonkeyPatch) -> None:
    config = settings(monkeypatch).client_config() | {"no.such.setting": 1}
    for client in (Consumer, Producer):
        with pytest.raises(KafkaException, match=r"no\.such\.setting"):
            connected(client, config | {"group.id": "g"} if client is Consumer else config)
