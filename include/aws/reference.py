"""The tables of docs/aws-reference.md: parameters from the template, permissions from permissions.py."""

from __future__ import annotations

from collections.abc import Iterator

from include.aws.document import TEMPLATE, parse
from include.aws.permissions import POLICIES

_TITLES = {"ConsumerPolicy": "Consumer", "AirflowPolicy": "Airflow", "BiReaderPolicy": "BI reader"}


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
