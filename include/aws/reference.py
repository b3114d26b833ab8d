"""The tables of docs/aws.md: parameters from the template, permissions from their table."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from include.aws.document import parse
from include.aws.permissions import POLICIES
from include.aws.render import TEMPLATE
from include.settings import PROJECT_ROOT

GUIDE = PROJECT_ROOT / "docs" / "aws.md"

_TITLES = {"ConsumerPolicy": "Consumer", "AirflowPolicy": "Airflow", "BiReaderPolicy": "BI reader"}


class GuideError(ValueError):
    """The guide has lost one of its marks."""


def parameters() -> Iterator[str]:
    """One row a parameter, in the template's order."""
    yield "| parameter | default | meaning |"
    yield "|---|---|---|"
    for name, one in parse(TEMPLATE.read_text())["Parameters"].items():
        default = one["Default"]
        yield f"| `{name}` | {f'`{default}`' if default != '' else 'empty'} | {one['Description']} |"


def permissions() -> Iterator[str]:
    """One row an action, by policy."""
    yield "| policy | action | called by | why |"
    yield "|---|---|---|---|"
    for policy, allowed in POLICIES.items():
        for one in allowed:
            yield f"| {_TITLES[policy]} | `{one.action}` | {', '.join(one.used_by)} | {one.why} |"


TABLES = {"parameters": parameters, "permissions": permissions}


def rendered(guide: str) -> str:
    """`guide` with each table between its marks as it should be now.

    Raises:
        GuideError: a mark is missing.
    """
    for name, table in TABLES.items():
        body = "".join(f"{row}\n" for row in table())
        pattern = re.compile(rf"<!-- >>> {name} -->\n.*?<!-- <<< {name} -->\n", re.DOTALL)
        if len(pattern.findall(guide)) != 1:
            raise GuideError(f"{GUIDE.name} needs the marks '<!-- >>> {name} -->' and '<!-- <<< {name} -->' once each")
        begin, end = pattern.search(guide).span()  # type: ignore[union-attr]
        guide = guide[:begin] + f"<!-- >>> {name} -->\n\n{body}\n<!-- <<< {name} -->\n" + guide[end:]
    return guide


def write(guide: Path = GUIDE) -> bool:
    """Bring the guide up to date; True when it changed."""
    before = guide.read_text()
    after = rendered(before)
    if after != before:
        guide.write_text(after)
    return after != before


def is_current() -> bool:
    """Whether the guide's tables are what template and permissions make of them."""
    text = GUIDE.read_text()
    return rendered(text) == text
