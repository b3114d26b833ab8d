from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace

import pytest

from include.monitoring.page import render, view
from include.monitoring.page.health import PipelineHealth
from include.monitoring.page.read_model import ReadModel, State, TrendState
from include.monitoring.page.render import Links
from tests.unit.monitoring.page.states import NOW, alert, health, model, runs_of

LINKS = Links("http://runbooks.test/", "http://airflow.test", "http://airflow.test/docs.html")
STYLE = (render.STATIC / render.STYLE).read_text()


def page(seen: PipelineHealth | None = None, **more: object) -> str:
    return render.page(view.of(model(seen, **more), "1h"), LINKS)


def test_every_section_is_on_the_page_once() -> None:
    ids = re.findall(r'<(?:section|header) id="([a-z]+)"', page())
    assert ids == ["top", "flow", "alerts", "trends", "quality", "prices", "latency", "conditions", "layers"]


def test_an_id_stands_once() -> None:
    ids = re.findall(r' id="([^"]+)"', page(seen=health(alert("kafka_lag"), alert("stale_gold"))))
    assert len(ids) == len(set(ids))


def test_a_time_is_relative_and_has_the_exact_one_on_hover() -> None:
    assert '<time datetime="2026-11-30T05:59:00Z" title="2026-11-30T05:59:00Z">60 s ago</time>' in page()


def test_links_lead_to_runbooks_runs_and_the_data_dictionary() -> None:
    html = page(seen=health(alert("kafka_lag", run_url="http://airflow.test/dags/x")), tests=[runs_of("a", "p")])
    assert 'href="http://runbooks.test/kafka_lag.md"' in html
    assert 'href="http://airflow.test/dags/x" target="_top"' in html
    assert 'href="http://airflow.test/docs.html#!/model/model.crypto_lakehouse.crypto_x"' in html


def test_texts_are_escaped_and_secrets_left_out() -> None:
    html = page(seen=health(alert("kafka_lag", title="<b>", value="postgresql://u:hunter2@db")))
    assert "&lt;b&gt;" in html
    assert "<b>error" not in html
    assert "hunter2" not in html


def test_a_report_is_one_file_that_asks_for_nothing() -> None:
    html = render.report(view.of(model(), "1h"), LINKS)
    assert not re.search(r"<(?:link|img|iframe)|<script src|@import|url\(", html)
    style, script = (re.search(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL) for tag in ("style", "script"))
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', html)
    assert style
    assert script
    assert policy
    for text in (style[1], script[1]):
        assert base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() in policy[1].replace("&#39;", "'")
    assert policy[1].startswith("default-src &#39;none&#39;")
    assert "?range=" not in html, "a file has one range"


def test_nothing_known_is_a_page_too() -> None:
    """A fresh installation: no object in S3, and no number in CloudWatch."""
    empty = replace(health(), layers=(), lag=None, alerts=(), alerts_kept=False, judged=None)
    html = render.page(view.of(ReadModel(NOW, State(empty, [], [], {}), TrendState()), "24h"), LINKS)
    assert "Nothing is known yet: the monitor has never measured." in html
    assert "Gold has not written prices yet" in html
    assert "No run of a data test is stored yet" in html


def test_the_page_is_small_with_many_tests() -> None:
    """300 KB is the bound for the first load; a real project has 74 tests with 24 runs."""
    tests = [runs_of(f"assert_a_rule_with_a_long_name_{number}", "p" * 20 + "fpfp") for number in range(74)]
    whole = page(tests=tests).encode()
    beside = sum((render.STATIC / name).stat().st_size for name in (render.STYLE, render.SCRIPT))
    assert len(whole) + beside < 200_000


def luminance(color: str) -> float:
    """Relative luminance of #rrggbb (WCAG 2.2)."""
    parts = [int(color[begin : begin + 2], 16) / 255 for begin in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_each_colour_of_text_has_contrast_with_each_ground(theme: str) -> None:
    """WCAG AA wants 4.5 to 1. The grounds are set, so that the contrast does not depend on the browser."""
    block = re.search(r':root\[data-theme="dark"\] \{([^}]+)' if theme == "dark" else r"^:root \{([^}]+)", STYLE)
    assert block
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block[1]))
    used = set(re.findall(r"(?<![-\w])color: var\(--([\w-]+)\)", STYLE))
    assert used == {"ink", "quiet", "link", "ok", "bad", "warn", "wait"}
    for ground in ("ground", "sheet", "soft-ok", "soft-bad", "soft-warn", "soft-unknown"):
        for name in used:
            lighter, darker = sorted((luminance(colours[name]), luminance(colours[ground])), reverse=True)
            assert (lighter + 0.05) / (darker + 0.05) >= 4.5, (name, ground)
