"""Tokens of AWS IAM for the login to Amazon MSK (SASL mechanism OAUTHBEARER), and why one is missing.

librdkafka asks for a token in a thread of its own: when a client is made, and again when 80 % of the token's life is
over. After a failure it keeps the token that it has, and asks again ten seconds later (`set_token_failure0` in
https://github.com/confluentinc/librdkafka/blob/master/src/rdkafka_sasl_oauthbearer.c). It drops the error of the
callback, so `Token` keeps the reason for log and health.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from functools import cache
from threading import Lock

from include.reasons import reason_of

log = logging.getLogger("kafka")

MECHANISM = "OAUTHBEARER"
CALLBACK = "oauth_cb"
"""The option of confluent-kafka that has the callback for tokens. No other option of librdkafka is a function."""
CONNECT_SECONDS, READ_SECONDS = 3, 5
"""Time limits of a request for credentials. Together they are less than the ten seconds that a new client waits for its
token, so that the reason is known then."""
Signed = tuple[str, float]
"""A token, and the end of its life in seconds since 1970."""

_HOST = re.compile(r"\.kafka(?:-serverless)?\.([a-z0-9-]+)\.amazonaws\.com", re.IGNORECASE)


def region_of(bootstrap_servers: str) -> str | None:
    """The region in an address like b-1.lake.abcde1.c2.kafka.eu-central-1.amazonaws.com:9098; None without one."""
    host = _HOST.search(bootstrap_servers)
    return host[1].lower() if host else None


class Token:
    """The callback for tokens of a process's Kafka clients; their threads call it."""

    def __init__(self, sign: Callable[[str], Signed]) -> None:
        self._sign = sign
        self._failure = ""

    def __call__(self, config: str) -> Signed:
        """A new token. `config` is librdkafka's `sasl.oauthbearer.config`.

        Raises:
            Exception: any error of the signer; librdkafka asks again.
        """
        try:
            signed = self._sign(config)
        except Exception as error:
            self._note(reason_of(error))
            raise
        self._note("")
        return signed

    def _note(self, failure: str) -> None:
        """Keep the reason, and log it when it changes."""
        before, self._failure = self._failure, failure
        if failure and failure != before:
            log.warning("no token for the login to Kafka: %s", failure)
        elif before and not failure:
            log.warning("Kafka's login has a token again")

    def problems(self) -> list[str]:
        """Why the last request for a token failed, in words; empty while tokens come."""
        failure = self._failure
        return [f"no new token for the login to Kafka: {failure}"] if failure else []


def iam_token(region: str) -> Token:
    """Tokens for the brokers of a region, signed with the credentials of this process (the usual AWS chain)."""
    lock, make = Lock(), cache(lambda: _signer(region))

    def sign(_config: str) -> Signed:
        with lock:  # several clients may ask at once, and botocore's session is not made for that
            return make()()

    return Token(sign)


def _signer(region: str) -> Callable[[], Signed]:
    """A signer that keeps its credentials, so a short outage of their source is not noticed. botocore renews them."""
    # Their import takes 0.3 s: only a program that logs in by IAM waits for it.
    from aws_msk_iam_sasl_signer.MSKAuthTokenProvider import generate_auth_token_from_credentials_provider
    from botocore.config import Config
    from botocore.credentials import CredentialProvider, Credentials
    from botocore.exceptions import NoCredentialsError
    from botocore.session import Session

    session = Session()
    session.set_default_client_config(
        Config(connect_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS, retries={"total_max_attempts": 1})
    )

    class Kept(CredentialProvider):
        def load(self) -> Credentials:
            kept = session.get_credentials()
            now = kept.get_frozen_credentials() if kept else None
            if now is None or not now.access_key or not now.secret_key:
                raise NoCredentialsError
            return Credentials(now.access_key, now.secret_key, now.token)

    def sign() -> Signed:
        token, expiry_ms = generate_auth_token_from_credentials_provider(region, Kept())
        return token, expiry_ms / 1000

    return sign
