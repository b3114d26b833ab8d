"""Playwright's own browser is used where it is, else the machine's Chromium."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.local import browser


@pytest.fixture
def empty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without a browser: Playwright's folder and the path are below the returned folder."""
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path / "playwright"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(browser, "SYSTEM_FOLDERS", (str(tmp_path / "system"),))
    return tmp_path


def program(path: Path) -> str:
    path.parent.mkdir(parents=True)
    path.touch(mode=0o755)
    return str(path)


def test_playwrights_newest_browser_comes_first(empty: Path) -> None:
    program(empty / "bin" / "chromium")
    program(empty / "playwright" / "chromium-999" / "chrome-linux" / "chrome")
    newest = program(empty / "playwright" / "chromium-1200" / "chrome-linux64" / "chrome")
    program(empty / "playwright" / "chromium_headless_shell-1300" / "chrome-linux" / "headless_shell")
    assert browser.find() == newest


def test_the_machines_chromium_comes_second(empty: Path) -> None:
    machines = program(empty / "bin" / "chromium-browser")
    assert browser.find() == machines


def test_a_browser_of_the_system_needs_no_path(empty: Path) -> None:
    installed = program(empty / "system" / "chromium")
    assert browser.get() == installed


def test_without_a_browser_the_commands_are_named(empty: Path) -> None:
    commands = r"-m playwright install chromium.*apt-get install chromium"
    with pytest.raises(browser.BrowserError, match=commands) as raised:
        browser.find()
    assert "\n" not in str(raised.value)


def test_root_on_debian_installs_the_package_without_playwrights_server(
    empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(empty / "bin" / "apt-get")
    tried = []

    def succeeds(command: list[str]) -> bool:
        tried.append(command[-1])
        if "apt-get" in command[0] and command[-1] == "chromium":
            (empty / "bin" / "chromium").touch(mode=0o755)
        return "apt-get" in command[0]

    monkeypatch.setattr(browser, "_succeeds", succeeds)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert browser.get() == str(empty / "bin" / "chromium")
    assert tried == ["chromium", "update", "chromium"]
