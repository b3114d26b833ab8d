"""Every command in docs/dbt-tests.md selects nodes; this module runs one command of each kind."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from include.settings import PROJECT_ROOT
from tests.warehouse.warehouse import Warehouse

pytestmark = pytest.mark.servers

GUIDE = (PROJECT_ROOT / "docs" / "dbt-tests.md").read_text()
COMMANDS = re.findall(r"\| `(dbt [^`]+)`", GUIDE)
COMMA_FORM = re.search(r"^(dbt test .*)# selects nothing$", GUIDE, re.MULTILINE)


def arguments(command: str) -> list[str]:
    """A command's arguments without the folders, which the test adds."""
    return [word for word in shlex.split(command)[1:] if word != "$DBT"]


@pytest.fixture(scope="module")
def warehouse(built_warehouse: Callable[[Path], Warehouse], tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    return built_warehouse(tmp_path_factory.mktemp("documented") / "warehouse")


def selected(warehouse: Warehouse, command: list[str]) -> list[str]:
    """The nodes that the command would run, by `dbt list` with the same selection."""
    verb, *options = command
    kinds = {"test": ["test", "unit_test"], "source": ["source"]}.get(verb, [])
    options = [option for option in options if option not in {"freshness", "--full-refresh"}]
    if "--resource-type" not in options:
        options += [word for kind in kinds for word in ("--resource-type", kind)]
    return list(warehouse.invoke("list", "--output", "name", *options))


@pytest.mark.parametrize("command", [c for c in COMMANDS if "run-operation" not in c])
def test_a_documented_command_selects_nodes(command: str, warehouse: Warehouse) -> None:
    assert selected(warehouse, arguments(command))


def test_the_commands_for_the_three_layers_run(warehouse: Warehouse) -> None:
    for command in COMMANDS[:4]:
        assert len(warehouse.dbt(*arguments(command))) >= 11


def test_the_command_for_all_layers_includes_the_others(warehouse: Warehouse) -> None:
    each = [set(selected(warehouse, arguments(command))) for command in COMMANDS[:3]]
    assert each[0] | each[1] | each[2] <= set(selected(warehouse, arguments(COMMANDS[3])))


def test_the_unit_tests_of_the_models_pass(warehouse: Warehouse) -> None:
    [command] = [c for c in COMMANDS if c.endswith("--select test_type:unit")]
    results = warehouse.dbt(*arguments(command))
    assert {name: result.message for name, result in results.items() if result.status != "pass"} == {}
    assert len(results) == len(selected(warehouse, arguments(command))) > 0


@pytest.mark.parametrize("command", [c for c in COMMANDS if "dbt build" in c or "--vars" in c])
def test_a_command_that_builds_or_takes_variables_runs(command: str, warehouse: Warehouse) -> None:
    assert warehouse.dbt(*arguments(command))


def test_freshness_of_the_three_layers_is_measured(warehouse: Warehouse) -> None:
    [command] = [c for c in COMMANDS if "freshness" in c]
    statuses = {node.node.name: str(node.status) for node in warehouse.invoke(*arguments(command))}
    assert statuses == {"crypto_raw": "pass", "crypto_stage": "pass", "crypto_curated": "pass"}


def test_maintenance_runs(warehouse: Warehouse) -> None:
    [command] = [c for c in COMMANDS if "run-operation" in c]
    warehouse.invoke(*arguments(command))


def test_the_comma_form_selects_nothing_and_succeeds(warehouse: Warehouse) -> None:
    assert COMMA_FORM is not None
    assert warehouse.dbt(*arguments(COMMA_FORM[1])) == {}
