"""Writes the generated parts of pages and template: `make generate`, or `make generate CHECK=1` to compare only.

A part is the lines between the marks `>>> NAME` and `<<< NAME`, each in a comment of its file. All other lines are
written by hand. A part without a name is a whole file. The functions that make the lines are in the packages of their
subjects and do not know the files. This module is a program: it imports these packages, and no package imports it.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

from include import settings_reference
from include.aws import reference as aws
from include.aws import template_parts as template
from include.catalogue import CONDITIONS
from include.ingest import message_contract as message
from include.ingest.quote import TIME_PATTERN
from include.monitoring import reference as monitoring
from include.settings import PROJECT_ROOT


class Part(NamedTuple):
    """A generated part: its file below the project, its name there ('': the file), and the function of its lines."""

    file: str
    name: str
    lines: Callable[[], Iterable[str]]


PARTS = (
    Part(f"docs/contract/{message.schema_file()}", "", message.schema_lines),
    Part("docs/contract/quote.odcs.yaml", "", message.contract_lines),
    Part("include/dbt/macros/dialect.sql", "time_pattern", lambda: [TIME_PATTERN]),
    Part("include/aws/template.yaml", "thresholds", template.thresholds),
    Part("include/aws/template.yaml", "alarms", template.alarms),
    Part("include/aws/template.yaml", "dashboard", template.dashboard),
    Part("docs/aws-reference.md", "parameters", aws.parameters),
    Part("docs/aws-reference.md", "permissions", aws.permissions),
    Part("docs/monitoring.md", "conditions", monitoring.conditions),
    Part("docs/monitoring.md", "metrics", monitoring.metrics),
    Part("docs/settings.md", "settings", settings_reference.settings),
    *(
        Part(f"docs/runbooks/{condition.runbook}", "first-step", partial(monitoring.first_step, condition))
        for condition in CONDITIONS.values()
    ),
)
"""In the order of writing: docs/aws-reference.md lists the template's parameters, so the template comes first."""


class MarkError(ValueError):
    """A file has lost a mark of a part."""


def renewed(text: str, part: Part) -> str:
    """`text` with the present lines of the part.

    Raises:
        MarkError: a mark is missing, or is there twice.
    """
    if not part.name:
        return "".join(f"{line}\n" for line in part.lines())
    pattern = re.compile(rf"(^.*>>> {part.name}\b.*\n)(?s:.*?)(^.*<<< {part.name}\b)", re.MULTILINE)
    body = "".join(f"{line}\n" for line in part.lines())
    text, count = pattern.subn(lambda marks: marks[1] + body + marks[2], text)
    if count != 1:
        raise MarkError(f"{part.file} needs the marks '>>> {part.name}' and '<<< {part.name}' once each")
    return text


def main(arguments: list[str]) -> int:
    """Write each part that differs, or with `--check` only name it; returns 1 if `--check` found a difference."""
    parser = argparse.ArgumentParser(prog="python -m include.generated", description="Write the generated parts.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a part is out of date")
    check = parser.parse_args(arguments).check
    differing = 0
    for part in PARTS:
        path = PROJECT_ROOT / part.file
        before = path.read_text() if path.exists() else ""
        after = renewed(before, part)
        if after != before:
            differing += 1
            sys.stderr.write(
                f"{part.file}: {part.name or 'file'} {'is out of date: run make generate' if check else 'written'}\n"
            )
            if not check:
                path.write_text(after)
    return int(check and differing > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
