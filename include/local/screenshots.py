"""Renews the README's pictures from a running demo: `make screenshots`.

The demo's own code draws the status screen. A Chromium draws the Airflow pages.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from include.local import browser, environment, screen
from include.local.airflow_api import AirflowApi
from include.local.process_control import ProcessControl
from include.local.stack import Demo
from include.local.start import make_observer
from include.local.status import MONITOR, TRANSFORM
from include.settings import PROJECT_ROOT, LocalSettings, load_group

PICTURES = PROJECT_ROOT / "docs" / "images"
OPTIONS = (
    "--headless --no-sandbox --disable-gpu --no-first-run --hide-scrollbars --disable-background-networking "
    "--disable-component-update --disable-sync --window-size=1400,900 --virtual-time-budget=20000"
)
PAGES = {
    "transform-grid.png": f"/dags/{TRANSFORM}",
    "monitor-grid.png": f"/dags/{MONITOR}",
    "pipeline-health.png": "/plugin/pipeline-health",
}


def draw_status(demo: Demo, api: AirflowApi) -> None:
    """Save the status screen as SVG."""
    observer = make_observer(demo.values, demo, api)
    status = observer.read_status(demo.control.status())
    console = Console(record=True, width=92, file=Path("/dev/null").open("w"))  # noqa: SIM115 (closed at exit)
    console.print(screen.render(status, Path(".local/demo"), elapsed=None))
    console.save_svg(str(PICTURES / "status-screen.svg"), title="make demo")


def take_screenshot(program: str, url: str, picture: Path) -> None:
    """Save a picture of one page, after 20 s of the browser's virtual time for loading."""
    with tempfile.TemporaryDirectory() as profile:
        options = [*OPTIONS.split(), f"--user-data-dir={profile}", f"--screenshot={picture}"]
        subprocess.run([program, *options, url], check=True, capture_output=True, timeout=120)


def main() -> int:
    """Save all pictures; returns 1 without a running demo or a browser."""
    local = load_group(LocalSettings)
    demo = Demo(local, ProcessControl(local.state), Console(stderr=True)).as_it_runs()
    try:
        program = browser.find()
    except browser.BrowserError as error:
        demo.console.print(f"screenshots: {error}", markup=False, soft_wrap=True)
        return 1
    if not demo.control.running():
        demo.console.print("screenshots: the demo is not running: start it with make demo in another terminal")
        return 1
    api = AirflowApi(environment.airflow_url(demo.local))
    PICTURES.mkdir(parents=True, exist_ok=True)
    draw_status(demo, api)
    for name, path in PAGES.items():
        take_screenshot(program, api.base_url + path, PICTURES / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
