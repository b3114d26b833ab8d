"""The locked jars are fetched once, checked, and a failure is one line with its remedy."""

from __future__ import annotations

import hashlib
import io
import ssl
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from include.local import jar_locks, jars, java
from include.local.jars import JarError, Source
from tests.integration.ingest.secure import certificates
from tests.servers import free_port

NAMES = ("server-1.2", "client-1.2", "codec-3")
CONTENT = {name: f"the classes of {name}".encode() * 1000 for name in NAMES}


class Repository(ThreadingHTTPServer):
    """Serves `files` by path. Each path in `breaks` breaks off once in the middle; `asked` counts the requests."""

    daemon_threads = True

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.breaks: set[str] = set()
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), _Handler)
        self.scheme = "http"

    @property
    def address(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_port}/maven"


class _Handler(BaseHTTPRequestHandler):
    server: Repository

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        content = self.server.files.get(self.path.removeprefix("/maven/"))
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.path in self.server.breaks:
            self.server.breaks.remove(self.path)
            content = content[: len(content) // 2]
            self.close_connection = True
        self.wfile.write(content)

    def log_message(self, *_arguments: object) -> None:
        """Print nothing."""


@pytest.fixture
def repository() -> Iterator[Repository]:
    server = Repository()
    server.files = {path_of(name): CONTENT[name] for name in NAMES}
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jars, "PAUSES", (0.0, 0.0))


def path_of(name: str) -> str:
    artifact, version = name.split("-")
    return f"org/example/{artifact}/{version}/{name}.jar"


@pytest.fixture
def locks(tmp_path: Path) -> Path:
    """Two locks: `server` has two jars and `plugin` has two, one of them the same."""
    folder = tmp_path / "locks"
    for part, names in {"server": NAMES[:2], "plugin": NAMES[1:]}.items():
        (folder / part).mkdir(parents=True)
        text = "[environment]\nmin_java_version = 17\n"
        for name in names:
            artifact, version = name.split("-")
            text += f'[[dependencies]]\ngroupId = "org.example"\nartifactId = "{artifact}"\nversion = "{version}"\n'
            text += f'packaging = "jar"\nsha256 = "{hashlib.sha256(CONTENT[name]).hexdigest()}"\n'
        (folder / part / "jgo.lock.toml").write_text(text)
    return folder


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "jars"


def names_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


COMPLETE = ["plugin/client-1.2.jar", "plugin/codec-3.jar", "server/client-1.2.jar", "server/server-1.2.jar"]


def test_each_jar_comes_once_and_sizes_are_shown(
    repository: Repository, locks: Path, target: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = Source((repository.address,), tmp_path / "cache")
    jars.fetch("trino", locks, target, places)
    assert names_in(target) == COMPLETE
    assert len(repository.asked) == 3
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "trino: fetching 3 jars (once)"
    assert lines[-1].startswith("trino: 3 of 3 jars, 0 MB, ")


def test_another_clone_takes_the_jars_from_the_cache(
    repository: Repository, locks: Path, target: Path, tmp_path: Path
) -> None:
    places = Source((repository.address,), tmp_path / "cache")
    jars.fetch("trino", locks, target, places)
    jars.fetch("trino", locks, tmp_path / "second", places)
    jars.fetch("trino", locks, target, Source((), tmp_path / "no-cache"))  # nothing is missing
    assert names_in(tmp_path / "second") == COMPLETE
    assert len(repository.asked) == 3


def test_a_damaged_file_of_the_cache_is_fetched_again(
    repository: Repository, locks: Path, target: Path, tmp_path: Path
) -> None:
    """Another program's download may have been cut off."""
    damaged = tmp_path / "cache" / path_of(NAMES[0])
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(CONTENT[NAMES[0]][:100])
    jars.fetch("trino", locks, target, Source((repository.address,), tmp_path / "cache"))
    assert (target / "server" / f"{NAMES[0]}.jar").read_bytes() == damaged.read_bytes() == CONTENT[NAMES[0]]


def test_a_jar_of_an_earlier_lock_is_removed(repository: Repository, locks: Path, target: Path, tmp_path: Path) -> None:
    (target / "server").mkdir(parents=True)
    (target / "server" / "server-1.1.jar").touch()
    jars.fetch("trino", locks, target, Source((repository.address,), tmp_path / "cache"))
    assert names_in(target) == COMPLETE


def test_a_transfer_that_breaks_off_begins_again(
    repository: Repository, locks: Path, target: Path, tmp_path: Path
) -> None:
    repository.breaks = {f"/maven/{path_of(name)}" for name in NAMES}
    jars.fetch("trino", locks, target, Source((repository.address,), tmp_path / "cache"))
    assert names_in(target) == COMPLETE
    assert len(repository.asked) == 6


def test_the_next_repository_is_asked_for_a_missing_jar(
    repository: Repository, locks: Path, target: Path, tmp_path: Path
) -> None:
    empty = f"{repository.address}/empty"
    jars.fetch("trino", locks, target, Source((empty, repository.address), tmp_path / "cache"))
    assert names_in(target) == COMPLETE


POM = """<project><modelVersion>4.0.0</modelVersion><groupId>org.example</groupId><artifactId>{0}</artifactId>
<version>{1}</version><dependencies>{2}</dependencies></project>"""
DEPENDENCY = "<dependency><groupId>org.example</groupId><artifactId>{0}</artifactId><version>{1}</version></dependency>"
CLASS_OF_JAVA_17 = bytes.fromhex("cafebabe0000003d")


def test_a_declaration_is_resolved_locked_and_fetched(
    repository: Repository, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`server` needs `client` and `codec`; `codec` is excluded. The machine's configuration names the repository."""
    needs = {NAMES[0]: NAMES[1:], NAMES[1]: (), NAMES[2]: ()}
    for name, others in needs.items():
        dependencies = "".join(DEPENDENCY.format(*other.split("-")) for other in others)
        repository.files[path_of(name).replace(".jar", ".pom")] = POM.format(*name.split("-"), dependencies).encode()
        jar = io.BytesIO()
        with zipfile.ZipFile(jar, "w") as classes:
            classes.writestr(f"{name}.class", CLASS_OF_JAVA_17)
        repository.files[path_of(name)] = jar.getvalue()
    (tmp_path / "jgo.conf").write_text(f"[repositories]\ncentral = {repository.address}\n")
    for variable, name in {"JGO_CONFIG_FILE": "jgo.conf", "M2_REPO": "cache", "JGO_CACHE_DIR": "jgo"}.items():
        monkeypatch.setenv(variable, str(tmp_path / name))
    declaration = tmp_path / "locks" / "jgo.toml"
    declaration.parent.mkdir()
    declaration.write_text(
        '[dependencies]\ncoordinates = ["org.example:server:1.2"]\nexclusions = ["org.example:codec"]\n'
    )
    assert not jar_locks.is_current(declaration)
    jar_locks.resolve(declaration).save(declaration.with_name(java.LOCK))
    assert jar_locks.is_current(declaration)
    assert java.oldest_version(declaration.parent) == 17
    jars.fetch("server", declaration.parent, target, jars.source())
    assert names_in(target) == ["client-1.2.jar", "server-1.2.jar"]
    declaration.write_text('[dependencies]\ncoordinates = ["org.example:server:1.3"]\n')
    assert not jar_locks.is_current(declaration)


# ---- failures: one line each, and no part of a jar stays


def wrong_content(repository: Repository, tmp_path: Path) -> Source:
    repository.files[path_of(NAMES[2])] = b"<html>Please log in</html>"
    return Source((repository.address,), tmp_path / "cache")


def no_network(repository: Repository, tmp_path: Path) -> Source:
    return Source((f"http://127.0.0.1:{free_port()}/maven",), tmp_path / "cache")


def no_such_jar(repository: Repository, tmp_path: Path) -> Source:
    repository.files.pop(path_of(NAMES[2]))
    return Source((repository.address,), tmp_path / "cache")


def own_certificate(repository: Repository, tmp_path: Path) -> Source:
    serve_tls(repository, tmp_path)
    return Source((repository.address,), tmp_path / "cache")


def unwritable_cache(repository: Repository, tmp_path: Path) -> Source:
    (tmp_path / "file").touch()
    return Source((repository.address,), tmp_path / "file" / "cache")


def serve_tls(repository: Repository, tmp_path: Path) -> Path:
    """From now on the repository has a certificate; returns the file of its CA."""
    ca, key = certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(key)
    repository.socket = context.wrap_socket(repository.socket, server_side=True)
    repository.scheme = "https"
    return ca


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (no_network, "127.0.0.1 cannot be reached .*: check the network; behind a proxy, set HTTPS_PROXY"),
        (own_certificate, "certificate of 127.0.0.1 is not trusted: .* name its CA's file in SSL_CERT_FILE"),
        (wrong_content, "codec-3.jar is not the locked file"),
        (no_such_jar, "no repository has org/example/codec/3/codec-3.jar; asked: http://127.0.0.1"),
        (unwritable_cache, r"cache .*/file/cache cannot be used \(Not a directory\): name another folder in M2_REPO"),
    ],
)
def test_a_failure_is_one_line_with_its_remedy(
    repository: Repository, locks: Path, target: Path, tmp_path: Path,
    fault: Callable[[Repository, Path], Source], text: str,
) -> None:  # fmt: skip
    places = fault(repository, tmp_path)
    with pytest.raises(JarError, match=text) as raised:
        jars.fetch("trino", locks, target, places)
    assert "\n" not in str(raised.value)
    assert not target.exists()
    kept = places.cache.rglob("*") if places.cache.is_dir() else []
    assert {path.read_bytes() for path in kept if path.is_file()} <= set(CONTENT.values())


def test_an_unwritable_target_is_named(repository: Repository, locks: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(JarError, match=r"/file/jars cannot be written \(Not a directory\)"):
        jars.fetch("trino", locks, tmp_path / "file" / "jars", Source((repository.address,), tmp_path / "cache"))


def test_a_trusted_ca_makes_the_download_work(
    repository: Repository, locks: Path, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(serve_tls(repository, tmp_path)))
    jars.fetch("trino", locks, target, Source((repository.address,), tmp_path / "cache"))
    assert names_in(target) == COMPLETE


# ---- the machine's repositories, and the command


def test_the_machines_repository_replaces_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "jgo.conf").write_text("[repositories]\ncentral = https://jars.example.com/maven/\n")
    monkeypatch.setenv("JGO_CONFIG_FILE", str(tmp_path / "jgo.conf"))
    monkeypatch.setenv("M2_REPO", str(tmp_path / "cache"))
    assert jars.source() == Source(("https://jars.example.com/maven",), tmp_path / "cache")


def command(locks: Path, target: Path, *options: str) -> int:
    return jars.main(["kafka", str(locks), str(target), *options])


def test_the_command_ends_with_the_reason_and_the_way_without(
    repository: Repository, locks: Path, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(jars, "source", lambda: no_network(repository, tmp_path))
    assert command(locks, target, "--otherwise", "LOCAL_BROKER=built-in make demo goes without") == 1
    output = capsys.readouterr()
    last = output.err.splitlines()[-1]
    assert last.startswith("kafka: 127.0.0.1 cannot be reached")
    assert last.endswith("set HTTPS_PROXY; LOCAL_BROKER=built-in make demo goes without")
    assert output.out == "", "stdout of make demo has only the JSON status"


@pytest.mark.parametrize(("options", "code"), [(("--otherwise", "go without"), 0), ((), 1)])
def test_a_platform_without_the_wheel_is_one_line(
    locks: Path, target: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...], code: int,
) -> None:  # fmt: skip
    """It is no failure where the demo can go without the jars."""
    monkeypatch.setattr(jars, "home", lambda _locks: None)
    assert command(locks, target, *options) == code
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("kafka: its runtime has no wheel for ")
    assert "Java 17 or later in LOCAL_JAVA_HOME" in line
    assert not target.exists()
