"""The tables of docs/aws.md, which `make generate` writes: parameters and permissions."""

from __future__ import annotations

from collections.abc import Iterator

from include.aws.document import TEMPLATE, parse
from include.aws.permissions import POLICIES

_TITLES = {"ConsumerPolicy": "Consumer", "AirflowPolicy": "Airflow", "BiReaderPolicy": "BI reader"}


def parameters() -> Iterator[str]:
    """One row a parameter, in the template's order."""
    yield "| parameter | default | meaning |"
    yield "|---|---|---|"
    for name, parameter in parse(TEMPLATE.read_text())["Parameters"].items():
        default = parameter["Default"]
        yield f"| `{name}` | {f'`{default}`' if default != '' else 'empty'} | {parameter['Description']} |"


def permissions() -> Iterator[str]:
    """One row an action, by policy."""
    yield "| policy | action | called by | why |"
    yield "|---|---|---|---|"
    for policy, permitted in POLICIES.items():
        for permission in permitted:
            callers = ", ".join(permission.used_by)
            yield f"| {_TITLES[policy]} | `{permission.action}` | {callers} | {permission.why} |"
