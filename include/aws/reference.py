"""The tables of docs/aws-reference.md: parameters from the template, permissions from permissions.py."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from include.aws.document import parse
from include.aws.permissions import POLICIES
from include.aws.render import TEMPLATE
from include.settings import PROJECT_ROOT

GUIDE = PROJECT_ROOT / "docs" / "aws-reference.md"

_TITLES = {"ConsumerPolicy": "Consumer", "AirflowPolicy": "Airflow", "BiReaderPolicy": "BI reader"}


class GuideError(ValueError):
    """A mark is missing in the guide."""


def parameters() -> Iterator[str]:
    """One row for each parameter, in the template's order."""
    yield "| parameter | default | meaning |"
    yield "|---|---|---|"
    for name, parameter in parse(TEMPLATE.read_text())["Parameters"].items():
        default = parameter["Default"]
        yield f"| `{name}` | {f'`{default}`' if default != '' else 'empty'} | {parameter['Description']} |"


def permissions() -> Iterator[str]:
    """A table for each policy, with one row for each action."""
    for policy, allowed in POLICIES.items():
        yield f"### {_TITLES[policy]}"
        yield ""
        yield "| action | called by | why |"
        yield "|---|---|---|"
        for permission in allowed:
            yield f"| `{permission.action}` | {', '.join(permission.used_by)} | {permission.why} |"
        yield ""


TABLES = {"parameters": parameters, "permissions": permissions}


def rendered(guide: str) -> str:
    """`guide` with the present tables between their marks.

    Raises:
        GuideError: a mark is missing.
    """
    for name, table in TABLES.items():
        body = "\n".join(table()).strip()
        pattern = re.compile(rf"<!-- >>> {name} -->\n.*?<!-- <<< {name} -->\n", re.DOTALL)
        if len(pattern.findall(guide)) != 1:
            raise GuideError(f"{GUIDE.name} needs the marks '<!-- >>> {name} -->' and '<!-- <<< {name} -->' once each")
        begin, end = pattern.search(guide).span()  # type: ignore[union-attr]
        guide = guide[:begin] + f"<!-- >>> {name} -->\n\n{body}\n\n<!-- <<< {name} -->\n" + guide[end:]
    return guide


def write(guide: Path = GUIDE) -> bool:
    """Bring the guide up to date; returns whether it changed."""
    before = guide.read_text()
    after = rendered(before)
    if after != before:
        guide.write_text(after)
    return after != before


def is_current() -> bool:
    """Whether the guide's tables follow from template and permissions."""
    text = GUIDE.read_text()
    return rendered(text) == text
