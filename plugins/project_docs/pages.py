"""Renders the Markdown pages of the clone. An address below the route is the file's path in the clone.

Only the pages themselves and the files that they link to are shown: the clone also holds secrets, such as the demo's
environment.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from urllib.parse import quote

from airflow.api_fastapi.auth.managers.models.resource_details import AccessView
from airflow.api_fastapi.core_api.security import requires_access_view
from fastapi import Depends, FastAPI
from fastapi.responses import FileResponse, HTMLResponse, PlainTextResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

START = "docs/README.md"
IMAGES = {".png", ".svg"}
LINK = re.compile(r"\]\(([^)\s#]+)")
TEMPLATES = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined)


def pages(root: Path) -> Iterator[Path]:
    """The Markdown pages of the clone."""
    yield from root.glob("*.md")
    yield from (root / "docs").rglob("*.md")
    yield root / "benchmarks" / "README.md"


def shown_files(root: Path) -> frozenset[str]:
    """Paths in the clone of the pages, and of the files and folders that they link to."""
    files = {page for page in pages(root) if page.exists()}
    links = {(page.parent / link).resolve() for page in files for link in LINK.findall(page.read_text())}
    files |= {target for target in links if target.exists() and target.is_relative_to(root)}
    return frozenset(file.relative_to(root).as_posix() for file in files)


def to_html(text: str) -> str:
    """A page's Markdown as HTML; headings get the ids that GitHub gives them, so that links to them work."""
    markdown = MarkdownIt("gfm-like", {"linkify": False, "html": True})
    tokens = markdown.parse(text)
    for token, content in pairwise(tokens):
        if token.type == "heading_open":
            token.attrSet("id", _anchor(content))
        elif token.type == "table_open":
            token.attrSet("tabindex", "0")  # it scrolls on a narrow screen
    return str(markdown.renderer.render(tokens, markdown.options, {}))


def _anchor(heading: Token) -> str:
    text = "".join(child.content for child in heading.children or ())
    return re.sub(r"[^\w -]", "", text.lower()).strip().replace(" ", "-")


def _html(title: str, content: str, status: int = 200) -> HTMLResponse:
    nonce = secrets.token_urlsafe(16)
    policy = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; img-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'self'"
    )
    html = TEMPLATES.get_template("page.html").render(title=title, content=Markup(content), nonce=nonce)  # noqa: S704
    return HTMLResponse(html, status, {"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff"})


def _folder(folder: Path) -> str:
    """A list of the pages in a folder."""
    names = sorted(page.name for page in folder.glob("*.md"))
    rows = "".join(f'<li><a href="{quote(name)}">{name}</a></li>' for name in names)
    return f"<h1>{folder.name}</h1><ul>{rows}</ul>"


def create_app(root: Path) -> FastAPI:
    """An app with the clone's pages, for every user who may see the Airflow UI."""
    app = FastAPI(title="Project documentation", docs_url=None, redoc_url=None, openapi_url=None)
    files = shown_files(root)
    allowed = [Depends(requires_access_view(AccessView.WEBSITE))]

    @app.api_route("/{path:path}", methods=["GET", "HEAD"], dependencies=allowed)
    def show(path: str) -> Response:
        if not path:
            return RedirectResponse(START)
        file = root / path.rstrip("/")
        if path.rstrip("/") not in files:
            up = "../" * path.count("/")
            return _html("No such page", f'<h1>No such page</h1><p><a href="{up}{START}">All pages</a></p>', 404)
        if file.is_dir():
            return _html(file.name, _folder(file)) if path.endswith("/") else RedirectResponse(f"{file.name}/")
        if file.suffix == ".md":
            text = file.read_text()
            return _html(text.partition("\n")[0].lstrip("# "), to_html(text))
        return FileResponse(file) if file.suffix in IMAGES else PlainTextResponse(file.read_text())

    return app
