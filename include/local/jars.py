"""Fetches the locked jars of a server: `python -m include.local.jars NAME LOCKS TARGET`.

jgo resolves (`make lock`), but it cannot install from its lock: it would resolve again at each first start, which takes
2 min 44 s for Trino, and it only warns about a wrong checksum. So this module downloads the lock's list. It has jgo's
repositories (jgo's default, or `[repositories]` in ~/.config/jgo.conf) and jgo's cache (~/.m2/repository, or M2_REPO).
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import ssl
import sys
import tempfile
import time
from collections.abc import Collection
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import httpx
from jgo.config import GlobalSettings
from jgo.constants import MAVEN_CENTRAL_URL

from include.local.java import Jar, home, jars_of, oldest_version, platform_name
from include.settings import SettingsError

CONNECTIONS = 8
PAUSES = (1.0, 2.0)
"""Seconds before a failed transfer is tried again."""
SILENCE_SECONDS = 30.0
PROGRESS_SECONDS = 5.0


class JarError(RuntimeError):
    """A jar could not be fetched; the text says why and what to do."""


class AnotherContentError(Exception):
    """The file that arrived is not the locked one."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where jars come from: base addresses in the order of asking, and the folder that keeps what was fetched."""

    repositories: tuple[str, ...]
    cache: Path


def source() -> Source:
    """The repositories and the cache of jgo on this machine. A repository named `central` replaces jgo's default."""
    settings = GlobalSettings.load()
    repositories = {"central": MAVEN_CENTRAL_URL} | settings.repositories
    return Source(tuple(address.rstrip("/") for address in repositories.values()), Path(settings.repo_cache))


def sha256_of(file: Path) -> str:
    """The file's SHA-256 in hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def download(client: httpx.Client, address: str, place: Path, sha256: str) -> bool:
    """Put the file at `address` into `place`; False if the repository does not have it.

    Raises:
        httpx.HTTPError: the repository does not answer, or answers with an error.
        AnotherContentError: the file has another checksum.
        OSError: `place` cannot be written.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    with (
        client.stream("GET", address) as response,
        tempfile.NamedTemporaryFile(dir=place.parent, prefix=".", delete=False) as part,
    ):
        try:
            if response.status_code == httpx.codes.NOT_FOUND:
                return False
            response.raise_for_status()
            for block in response.iter_bytes(1 << 16):
                part.write(block)
            part.flush()
            if sha256_of(Path(part.name)) != sha256:
                raise AnotherContentError
            Path(part.name).chmod(0o644)
            Path(part.name).replace(place)
        finally:
            Path(part.name).unlink(missing_ok=True)
    return True


def reason_of(error: Exception, address: str) -> str:
    """Why the request to `address` failed, and what to do, in one line."""
    url = httpx.URL(address)
    if isinstance(error, AnotherContentError):
        return f"{address} is not the locked file (its SHA-256 is another): a proxy or a mirror has changed it"
    if isinstance(error, httpx.HTTPStatusError):
        return f"{url.host} answers {error.response.status_code} to {url.path}"
    if "CERTIFICATE_VERIFY_FAILED" in str(error) or isinstance(error.__cause__, ssl.SSLError):
        return (
            f"the certificate of {url.host} is not trusted: behind a proxy with its own certificate, "
            "name its CA's file in SSL_CERT_FILE"
        )
    text = str(error) or type(error).__name__
    return f"{url.host} cannot be reached ({text}): check the network; behind a proxy, set HTTPS_PROXY"


def cached(client: httpx.Client, places: Source, jar: Jar) -> Path:
    """The jar's file in the cache, downloaded if it is not there or has another content.

    Raises:
        JarError: no repository gives the jar, or the cache cannot be written.
    """
    place = places.cache / jar.path
    try:
        if place.exists() and sha256_of(place) == jar.sha256:
            return place
        for repository in places.repositories:
            if _download_again(client, f"{repository}/{jar.path}", place, jar.sha256):
                return place
    except OSError as error:
        raise JarError(
            f"the cache {places.cache} cannot be used ({error.strerror}): name another folder in M2_REPO"
        ) from error
    raise JarError(f"no repository has {jar.path}; asked: {', '.join(places.repositories)}")


def _download_again(client: httpx.Client, address: str, place: Path, sha256: str) -> bool:
    pauses = list(PAUSES)
    while True:
        try:
            return download(client, address, place, sha256)
        except (httpx.HTTPError, AnotherContentError) as error:
            if not pauses or isinstance(error, AnotherContentError):
                raise JarError(reason_of(error, address)) from error
            time.sleep(pauses.pop(0))


def download_all(name: str, places: Source, jars: Collection[Jar]) -> dict[Jar, Path]:
    """The cache's files of all jars. Every few seconds prints how much of them has come.

    Raises:
        JarError: see `cached`. The first error ends the other downloads.
    """
    began = time.monotonic()
    say(f"{name}: fetching {len(jars)} jars (once)")
    with httpx.Client(timeout=SILENCE_SECONDS, follow_redirects=True) as client:
        threads = ThreadPoolExecutor(CONNECTIONS)
        try:
            futures = {jar: threads.submit(cached, client, places, jar) for jar in jars}
            while True:
                ended, waiting = wait(futures.values(), PROGRESS_SECONDS, FIRST_EXCEPTION)
                files = [future.result() for future in ended]
                megabytes = sum(file.stat().st_size for file in files) / 1e6
                say(f"{name}: {len(files)} of {len(jars)} jars, {megabytes:.0f} MB, {time.monotonic() - began:.0f} s")
                if not waiting:
                    return {jar: future.result() for jar, future in futures.items()}
        finally:
            threads.shutdown(cancel_futures=True)


def put(file: Path, place: Path) -> None:
    """Make `place` the same file, as a link if both are on one file system. Its name appears when it is complete."""
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        os.link(file, part)
    except OSError:
        shutil.copyfile(file, part)
    part.replace(place)


def fetch(name: str, locks: Path, target: Path, places: Source) -> None:
    """Give `target` the jars that are locked below `locks`, and no other jar (see `java.jars_of`).

    Raises:
        JarError: a jar could not be fetched, or `target` cannot be written.
    """
    wanted = jars_of(locks, target)
    missing = {file: jar for file, jar in wanted.items() if not file.exists()}
    if missing:
        files = download_all(name, places, set(missing.values()))
    try:
        for file, jar in missing.items():
            put(files[jar], file)
        for file in set(target.rglob("*.jar")) - set(wanted):
            file.unlink()
    except OSError as error:
        raise JarError(f"{target} cannot be written ({error.strerror})") from error


def say(line: str) -> None:
    """Print a line for the person who waits. It goes to stderr: stdout of `make demo` is for the JSON status."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201


def main(arguments: list[str] | None = None) -> int:
    """Command line of `python -m include.local.jars`; returns 1 if the server's jars could not be fetched."""
    parser = argparse.ArgumentParser(prog="python -m include.local.jars", description=__doc__)
    parser.add_argument("name", help="the server's name in the messages")
    parser.add_argument("locks", type=Path, help="folder with the locks")
    parser.add_argument("target", type=Path, help="folder for the jars")
    parser.add_argument("--otherwise", default="", help="advice for a user without them")
    options = parser.parse_args(arguments)
    otherwise = options.otherwise and f"; {options.otherwise}"
    try:
        if home(options.locks) is None:
            say(
                f"{options.name}: its runtime has no wheel for {platform_name()}: "
                f"name the folder of a Java {oldest_version(options.locks)} or later in LOCAL_JAVA_HOME{otherwise}"
            )
            return 0 if otherwise else 1
        fetch(options.name, options.locks, options.target, source())
    except (JarError, SettingsError) as error:
        say(f"{options.name}: {error}{otherwise}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
