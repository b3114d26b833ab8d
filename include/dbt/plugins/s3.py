"""dbt-duckdb plugin: lets DuckDB read the landed files from S3.

DuckDB's httpfs extension comes as a wheel (duckdb-extension-httpfs). It is loaded from there, so nothing is downloaded
at run time and nothing is written to the home folder. Endpoint and credentials come from the environment:
AWS_ENDPOINT_URL (an emulator), AWS_DEFAULT_REGION, and AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY. Without a key,
boto3's usual chain (profile, role) provides the credentials.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dbt.adapters.duckdb.plugins import BasePlugin
from dbt.adapters.events.logging import AdapterLogger
from duckdb import DuckDBPyConnection
from duckdb import __version__ as duckdb_version

from include.transform import warehouse_file


class S3AccessError(RuntimeError):
    """DuckDB cannot be given access to S3; the text names what is missing."""


def httpfs_extension() -> Path:
    """The httpfs binary inside its wheel, made for the installed version of DuckDB.

    Raises:
        S3AccessError: the wheel is not installed, or is for another version of DuckDB.
    """
    spec = importlib.util.find_spec("duckdb_extension_httpfs")
    if spec is None or spec.origin is None:
        raise S3AccessError(f"install duckdb-extension-httpfs=={duckdb_version}: DuckDB needs it to read S3")
    path = Path(spec.origin).parent / "extensions" / f"v{duckdb_version}" / "httpfs.duckdb_extension"
    if not path.exists():
        raise S3AccessError(f"{path} is missing: install duckdb-extension-httpfs=={duckdb_version}, DuckDB's version")
    return path


def _credentials() -> dict[str, str]:
    key, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
    token = os.environ.get("AWS_SESSION_TOKEN")
    if not (key and secret):
        import boto3  # slow to import, so only when the environment has no keys

        credentials = boto3.Session().get_credentials()
        if credentials is None:
            raise S3AccessError("no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile")
        key, secret, token = credentials.get_frozen_credentials()
    return {"key_id": key, "secret": secret} | ({"session_token": token} if token else {})


def s3_secret() -> dict[str, str]:
    """Options of DuckDB's S3 secret, from the environment.

    Raises:
        S3AccessError: there are no credentials, or AWS_ENDPOINT_URL is not an address.
    """
    options = {"region": os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"} | _credentials()
    if endpoint := os.environ.get("AWS_ENDPOINT_URL"):
        parts = urlsplit(endpoint)
        if parts.scheme not in {"http", "https"} or not parts.netloc:
            raise S3AccessError(f"AWS_ENDPOINT_URL={endpoint!r}: expected an address like http://127.0.0.1:4566")
        options |= {"endpoint": parts.netloc, "url_style": "path", "use_ssl": str(parts.scheme == "https").lower()}
    return options


def _quoted(value: object) -> str:
    return "'" + str(value).replace("'", "''") + "'"


class Plugin(BasePlugin):
    """The class that dbt-duckdb looks for in a plugin module."""

    _opened: DuckDBPyConnection | None = None
    """Keeps the file open from the end of the wait until dbt has its own connection."""

    def update_connection_config(self, creds: Any, config: dict[str, Any]) -> None:
        """Forbid DuckDB to fetch an extension by itself; make the folder of the database file, and wait for the file.

        dbt-duckdb connects right after this call. Its own option `retries` waits without a word, and longer each time.

        Raises:
            WarehouseLockedError: another process kept the file open.
        """
        config["autoinstall_known_extensions"] = "false"
        if creds.path != ":memory:":
            path = Path(creds.path)
            path.parent.mkdir(parents=True, exist_ok=True)
            tell = AdapterLogger("DuckDB").warning
            self._opened = warehouse_file.open_when_free(path, read_only=False, config=config, tell=tell)

    def configure_connection(self, conn: DuckDBPyConnection) -> None:
        """Load httpfs and create the secret; both last as long as the connection."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None
        conn.execute(f"load {_quoted(httpfs_extension())}")
        # Landed files are small and many: one request for each instead of two. DuckDB uses one thread for each core;
        # four or eight did not make a day's first build faster (docs/performance.md).
        conn.execute("set force_download = true")
        # By default DuckDB 1.5 opens a connection for each request; later versions keep connections.
        conn.execute("set httpfs_connection_caching = true")
        options = ", ".join(f"{name} {_quoted(value)}" for name, value in s3_secret().items())
        conn.execute(f"create or replace temporary secret landing (type s3, {options})")
