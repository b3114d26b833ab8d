"""Resolves the declared jars into locks: `python -m include.local.jar_locks`, a part of `make lock`.

A `jgo.toml` declares the jars of a server; the lock beside it names every jar with its checksum. A lock is renewed only
after a change of its declaration, because a resolution of Trino takes minutes. The resolver is jgo's in Python. Its own
command `jgo lock` would fetch another Java, to find out which jars are modules; a class path does not need that.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from jgo.config import GlobalSettings
from jgo.constants import MAVEN_CENTRAL_URL
from jgo.env import EnvironmentBuilder, EnvironmentSpec, LockFile, compute_spec_hash, jar_java_version
from jgo.maven import MavenContext, PythonResolver

from include.local.jars import say
from include.local.java import LOCK
from include.settings import PROJECT_ROOT

DECLARATION = "jgo.toml"
FOLDERS = (PROJECT_ROOT / "include" / "local", PROJECT_ROOT / "tests" / "athena")


def declarations() -> list[Path]:
    """Every `jgo.toml` of the project."""
    return [path for folder in FOLDERS for path in sorted(folder.rglob(DECLARATION))]


def is_current(declaration: Path) -> bool:
    """Whether the lock beside the declaration was resolved from it."""
    lock = declaration.with_name(LOCK)
    return lock.exists() and LockFile.load(lock).spec_hash == compute_spec_hash(declaration)


def resolve(declaration: Path) -> LockFile:
    """Resolve the declaration, and read checksums and the needed Java from the jars (they are downloaded)."""
    settings, spec = GlobalSettings.load(), EnvironmentSpec.load(declaration)
    repositories = {"central": MAVEN_CENTRAL_URL} | settings.repositories
    resolver = PythonResolver()
    context = MavenContext(resolver=resolver, repo_cache=settings.repo_cache, remote_repos=repositories)
    named, others = resolver.resolve(EnvironmentBuilder(context).spec_to_dependencies(spec))
    dependencies = named + [other for other in others if other.scope in {"compile", "runtime"}]
    versions = [jar_java_version(dependency.artifact) or 0 for dependency in dependencies]
    lock: LockFile = LockFile.from_resolved_dependencies(
        dependencies,
        environment_name=spec.name,
        min_java_version=max(versions),
        spec_hash=compute_spec_hash(declaration),
    )
    return lock


def main() -> int:
    """Renew the locks that are out of date."""
    for declaration in declarations():
        if not is_current(declaration):
            began = time.monotonic()
            say(f"{declaration.parent.name}: resolving {declaration.relative_to(PROJECT_ROOT)}")
            lock = resolve(declaration)
            lock.save(declaration.with_name(LOCK))
            say(f"{declaration.parent.name}: {len(lock.dependencies)} jars locked in {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
