"""Finds the browser that draws pages: Playwright's own, else the machine's Chromium; `get` may install one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

MACHINES = ("chromium", "chromium-browser", "google-chrome")
SYSTEM_FOLDERS = ("/usr/bin", "/bin", "/usr/local/bin", "/snap/bin", "/opt/homebrew/bin")
"""Where programs are installed, also when the path has only the tools that a build needs. Debian's Chromium is a script
that needs the tools of these folders."""
INSTALL_SECONDS = 600
PLAYWRIGHTS = (
    "chromium-*/chrome-linux*/chrome",
    "chromium-*/chrome-mac*/*.app/Contents/MacOS/*",
    "chromium_headless_shell-*/*/headless_shell",
    "chromium_headless_shell-*/*/chrome-headless-shell",
)
"""Programs in Playwright's folder; the folder's name ends with the build's number."""


class BrowserError(RuntimeError):
    """There is no browser; the text has the commands that install one."""


def playwright_folder() -> Path:
    """Where `playwright install` puts its browsers."""
    chosen = os.environ.get("PLAYWRIGHT_BROWSERS_PATH")
    caches = Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")
    return Path(chosen) if chosen else caches / "ms-playwright"


def search_path() -> str:
    """The path of this process, then the system's folders; a browser is started with it."""
    return os.pathsep.join(filter(None, (os.environ.get("PATH"), *SYSTEM_FOLDERS)))


def get() -> str:
    """As `find`; without a browser one is installed: Playwright's own, else (by root on Debian) the package chromium.

    Raises:
        BrowserError: there is no browser, and none can be installed.
    """
    try:
        return find()
    except BrowserError:
        for commands in _installations():
            if all(_succeeds(command) for command in commands):
                break
    return find()


def _installations() -> Iterator[list[list[str]]]:
    """The commands of each way to install a browser."""
    yield [[sys.executable, "-m", "playwright", "install", "--only-shell", "chromium"]]
    apt = shutil.which("apt-get", path=search_path())
    if apt and os.geteuid() == 0:
        yield [[apt, "update"], [apt, "install", "--yes", "--no-install-recommends", "chromium"]]


def _succeeds(command: list[str]) -> bool:
    path = os.pathsep.join((search_path(), "/usr/sbin", "/sbin"))  # Debian's packages need these
    environment = os.environ | {"PATH": path, "DEBIAN_FRONTEND": "noninteractive"}
    run = subprocess.run(command, env=environment, capture_output=True, timeout=INSTALL_SECONDS, check=False)
    return run.returncode == 0


def find() -> str:
    """The program of the newest browser of Playwright, or of the machine's.

    Raises:
        BrowserError: there is neither.
    """
    for pattern in PLAYWRIGHTS:
        found = list(playwright_folder().glob(pattern))
        if found:
            return str(max(found, key=_build))
    machines = next(filter(None, (shutil.which(name, path=search_path()) for name in MACHINES)), None)
    if machines is None:
        raise BrowserError(
            "no browser: run .venv/bin/python -m playwright install chromium, "
            "or install Chromium (Debian: apt-get install chromium)"
        )
    return machines


def _build(program: Path) -> int:
    folder = program.relative_to(playwright_folder()).parts[0]
    number = folder.rpartition("-")[2]
    return int(number) if number.isdigit() else 0
