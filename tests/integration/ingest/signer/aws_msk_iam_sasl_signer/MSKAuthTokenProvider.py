# ruff: noqa: N999 - the real module has this name
from __future__ import annotations

import base64
import json
import os
import time
from pathlib import Path

from botocore.credentials import CredentialProvider
from botocore.exceptions import EndpointConnectionError


def generate_auth_token(region: str) -> tuple[str, int]:
    """An unsecured JWS (RFC 7515) of user `lake`, and the end of its life in milliseconds since 1970."""
    folder, life = Path(os.environ["TEST_SIGNER"]), float(os.environ.get("TEST_SIGNER_SECONDS", "900"))
    if (folder / "fault").exists():
        raise EndpointConnectionError(endpoint_url="https://sts.eu-central-1.amazonaws.com/")
    with (folder / "regions").open("a") as regions:
        regions.write(region + "\n")
    now = int(time.time())
    claims = {"sub": "lake", "iat": now - 1, "exp": now + life}
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in ({"alg": "none"}, claims)]
    return b".".join([*parts, b""]).decode(), int((now + life) * 1000)


def generate_auth_token_from_credentials_provider(region: str, provider: CredentialProvider) -> tuple[str, int]:
    """The same, for somebody with AWS credentials."""
    assert provider.load() is not None
    return generate_auth_token(region)
