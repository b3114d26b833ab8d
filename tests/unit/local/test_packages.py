"""A failed installation of packages ends with one line: the reason and the remedy."""

from __future__ import annotations

import hashlib
import os
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from include.settings import PROJECT_ROOT
from tests.integration.ingest.secure import certificates
from tests.servers import free_port

WHEEL = "thing-1.0-py3-none-win_amd64.whl"
SHA256 = hashlib.sha256(b"").hexdigest()


class _Index(BaseHTTPRequestHandler):
    """A package index with one package, which has a wheel for Windows only."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(f'<a href="/files/{WHEEL}#sha256={SHA256}">{WHEEL}</a>'.encode())

    def log_message(self, *_arguments: object) -> None:
        """Print nothing."""


@pytest.fixture
def index(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Address of the index; with the parameter `https` it has a certificate of its own."""
    scheme = getattr(request, "param", "http")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Index)
    if scheme == "https":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates(tmp_path)[1])
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"{scheme}://127.0.0.1:{server.server_port}/simple"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone with the script, the uv of this clone, and one locked package."""
    folder = tmp_path / "clone"
    (folder / "include" / "local").mkdir(parents=True)
    shutil.copy(PROJECT_ROOT / "include" / "local" / "packages.sh", folder / "include" / "local")
    (folder / ".local").mkdir()
    (folder / ".local" / "uv").symlink_to(PROJECT_ROOT / ".local" / "uv")
    (folder / "lock.txt").write_text(f"thing==1.0 --hash=sha256:{SHA256}\n")
    return folder


def script(clone: Path, *arguments: str, **variables: str) -> str:
    """Run the script, which must fail and leave stdout empty; returns its last line."""
    own = ("PIP_", "UV_", "SSL_", "REQUESTS_", "CURL_", "HTTP", "http", "ALL_PROXY", "all_proxy")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    environment |= {"UV_CACHE_DIR": str(clone / "cache"), "UV_HTTP_RETRIES": "0", "PIP_RETRIES": "0"} | variables
    result = subprocess.run(
        [str(clone / "include" / "local" / "packages.sh"), *arguments],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert result.returncode == 1, result.stderr
    assert result.stdout == ""
    return result.stderr.splitlines()[-1]


def sync(clone: Path, **variables: str) -> str:
    return script(clone, "sync", "environment", "lock.txt", **variables)


def test_no_network(clone: Path) -> None:
    line = sync(clone, UV_DEFAULT_INDEX=f"http://127.0.0.1:{free_port()}/simple")
    assert line == (
        "environment: lock.txt could not be installed: is the package index reachable? Behind a proxy, set HTTPS_PROXY"
    )


@pytest.mark.parametrize("index", ["https"], indirect=True)
def test_a_certificate_that_is_not_trusted(clone: Path, index: str) -> None:
    line = sync(clone, UV_DEFAULT_INDEX=index)
    assert "the package index's certificate is not trusted" in line
    assert line.endswith("name its CA's file in SSL_CERT_FILE")


def test_a_cache_that_cannot_be_written(clone: Path, index: str) -> None:
    line = sync(clone, UV_DEFAULT_INDEX=index, UV_CACHE_DIR=str(clone / "lock.txt" / "cache"))
    assert line.endswith("uv's cache cannot be written: name another folder in UV_CACHE_DIR")


def test_a_platform_without_a_wheel(clone: Path, index: str) -> None:
    line = sync(clone, UV_DEFAULT_INDEX=index)
    assert line.endswith("a package has no wheel for this platform: use Linux or macOS on x86-64 or arm64")


@pytest.mark.parametrize("index", ["https"], indirect=True)
def test_uv_behind_a_proxy_with_its_own_certificate(clone: Path, index: str) -> None:
    (clone / ".local" / "uv").unlink()
    line = script(clone, "uv", "0.13.9", PIP_INDEX_URL=index)
    assert line.startswith(
        "environment: uv 0.13.9 could not be installed: the package index's certificate is not trusted"
    )
    assert not (clone / ".local" / "uv").exists(), "the next make begins again"


@pytest.mark.parametrize("index", ["https"], indirect=True)
def test_one_variable_makes_pip_trust_a_ca(clone: Path, index: str, tmp_path: Path) -> None:
    """The index answers, and has no such version."""
    (clone / ".local" / "uv").unlink()
    line = script(clone, "uv", "0.13.9", PIP_INDEX_URL=index, SSL_CERT_FILE=str(tmp_path / "ca.pem"))
    assert "certificate" not in line


def test_no_python(clone: Path, tmp_path: Path) -> None:
    """The path has the tools and no Python."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("bash", "dirname", "mktemp", "rm"):
        (tools / name).symlink_to(shutil.which(name) or name)
    line = script(clone, "uv", "0.13.9", PATH=str(tools))
    assert line.startswith("environment: no Python 3.11, 3.12 or 3.13 with venv on the path")
