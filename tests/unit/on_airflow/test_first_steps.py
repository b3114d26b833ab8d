"""The commands of the first steps are commands that the programs know."""

from __future__ import annotations

import shlex

import pytest

from include.audit import __main__ as audit
from include.catalogue import CONDITIONS, Condition
from include.ingest.__main__ import parser

PROGRAMS = {"include.ingest": parser, "include.audit": audit.parser}
INGEST = (["docker", "exec", "consumer"], ["docker", "exec", "producer"])


@pytest.mark.parametrize("condition", CONDITIONS.values(), ids=lambda condition: condition.name)
def test_the_command_of_a_first_step_exists(condition: Condition) -> None:
    from airflow.cli.cli_parser import get_parser

    words = shlex.split(condition.first_step.command.format(subject="SUBJECT", dag="DAG"))
    if words[0] == "airflow":
        assert callable(get_parser().parse_args(words[1:]).func)
    elif words[0] == "docker":
        assert words[:3] in INGEST
        assert words[3:6] == ["python", "-m", "include.ingest"]
        assert callable(parser().parse_args(words[6:]).run)
    elif words[0] == "python":
        assert words[1] == "-m"
        assert callable(PROGRAMS[words[2]]().parse_args(words[3:]).run)
    else:
        assert words[0] == "select"
