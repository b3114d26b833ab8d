"""The clone's own pages in Airflow: every runbook and every link of a page opens, and nothing else of the clone."""

from __future__ import annotations

import re
from html import unescape
from urllib.parse import urljoin

import pytest
from fastapi.testclient import TestClient

from include.catalogue import CONDITIONS
from include.local import environment
from include.settings import PROJECT_ROOT, LocalSettings
from plugins.project_docs import ROUTE, ProjectDocsPlugin
from plugins.project_docs.pages import create_app, pages


@pytest.fixture
def docs() -> TestClient:
    """A client whose every request is that of a user who may see the UI."""
    app = create_app(PROJECT_ROOT)
    for route in app.routes:
        for dependency in getattr(getattr(route, "dependant", None), "dependencies", ()):
            app.dependency_overrides[dependency.call] = lambda: None
    return TestClient(app)


def test_a_user_who_is_not_logged_in_sees_no_page() -> None:
    assert TestClient(create_app(PROJECT_ROOT)).get("/docs/runbooks/kafka_lag.md").status_code == 401


def test_the_runbook_links_of_the_demo_open(docs: TestClient) -> None:
    (app,) = ProjectDocsPlugin().fastapi_apps
    values = environment.build(LocalSettings(airflow_port=8123), "127.0.0.1:1", built_in_broker=False, previous={})
    served = f"http://127.0.0.1:8123{app['url_prefix']}"
    assert served == f"http://127.0.0.1:8123/{ROUTE}"
    for condition in CONDITIONS.values():
        address = f"{values['ALERT_RUNBOOK_URL']}{condition.runbook}"
        response = docs.get(address.removeprefix(served))
        assert response.status_code == 200, address
        assert "<h1" in response.text


def test_every_link_of_every_page_opens(docs: TestClient) -> None:
    checked = 0
    for page in pages(PROJECT_ROOT):
        address = f"/{page.relative_to(PROJECT_ROOT).as_posix()}"
        html = docs.get(address).text
        for link in {unescape(link) for link in re.findall(r'(?:href|src)="([^"]+)"', html)}:
            if "://" in link:
                continue
            target, _, anchor = urljoin(address, link).partition("#")
            response = docs.get(target)
            assert response.status_code == 200, (address, link)
            assert not anchor or f'id="{anchor}"' in response.text, (address, link)
            checked += 1
    assert checked > 100


def test_a_page_is_rendered_with_its_tables_and_a_policy(docs: TestClient) -> None:
    response = docs.get("/docs/settings.md")
    assert "<table" in response.text
    assert "<code>LOCAL_STATE</code>" in response.text
    assert "<main>" in response.text
    assert "script-src" not in response.headers["Content-Security-Policy"], "default-src forbids every script"
    assert docs.head("/docs/settings.md").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        ".local/demo/environment",
        "include/settings.py",
        "docs/../.local/demo/environment",
        "docs/%2e%2e/pyproject.toml",
        "/etc/passwd",
        "docs/runbooks/none.md",
    ],
)
def test_no_other_file_of_the_clone_is_shown(docs: TestClient, path: str) -> None:
    response = docs.get(f"/{path}")
    assert response.status_code == 404
    assert "No such page" in response.text
