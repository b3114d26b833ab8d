"""What every model and test of the project owes its reader."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from dbt.artifacts.schemas.manifest import WritableManifest
from dbt.cli.main import dbtRunner

from tests.warehouse.warehouse import DBT_PROJECT, environment

MAIN_MODELS = {"bronze": "crypto_raw", "silver": "crypto_stage", "gold": "crypto_curated"}
LEAST_TESTS = 11


def parse(target: str, folder: Path) -> Any:
    """The manifest; any warning of dbt's is an error."""
    command = ["--quiet", "--warn-error", "--log-level-file", "none", "parse", "--target", target]
    command += ["--project-dir", str(DBT_PROJECT), "--profiles-dir", str(DBT_PROJECT), "--target-path", str(folder)]
    with environment({}):
        answer = dbtRunner().invoke(command)
    assert answer.success, answer.exception
    return answer.result


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return parse("athena", tmp_path_factory.mktemp("athena"))


def of_kind(manifest: Any, kind: str) -> list[Any]:
    return [node for node in manifest.nodes.values() if node.resource_type == kind]


@pytest.mark.parametrize("target", ["athena", "local", "ci"])
def test_the_project_parses_without_a_warning(target: str, tmp_path: Path) -> None:
    assert isinstance(parse(target, tmp_path).writable_manifest(), WritableManifest)


def test_every_model_and_every_column_is_described(manifest: Any) -> None:
    nodes = [n for kind in ("model", "seed", "snapshot") for n in of_kind(manifest, kind)] + list(
        manifest.sources.values()
    )
    assert [n.unique_id for n in nodes if not n.description] == []
    assert [f"{n.unique_id}.{c.name}" for n in nodes for c in n.columns.values() if not c.description] == []


def test_every_model_has_a_file_of_its_own_beside_it(manifest: Any) -> None:
    for model in of_kind(manifest, "model"):
        sql = DBT_PROJECT / model.original_file_path
        assert model.patch_path.split("://")[1] == str(sql.with_suffix(".yml").relative_to(DBT_PROJECT))


def test_every_model_has_a_group_whose_owner_can_be_reached(manifest: Any) -> None:
    owners = {group.name: group.owner.email for group in manifest.groups.values()}
    assert all(owners[model.group] for model in of_kind(manifest, "model"))


def test_every_gold_model_has_a_contract(manifest: Any) -> None:
    gold = [model for model in of_kind(manifest, "model") if "gold" in model.tags]
    assert gold
    assert [model.name for model in gold if not model.config.contract.enforced] == []


@pytest.mark.parametrize(("layer", "model"), MAIN_MODELS.items())
def test_each_layer_has_its_data_tests(manifest: Any, layer: str, model: str) -> None:
    counts = Counter(
        node for test in of_kind(manifest, "test") for node in test.depends_on.nodes if "cross_layer" not in test.tags
    )
    assert counts[f"model.crypto_lakehouse.{model}"] >= LEAST_TESTS


def test_every_data_test_has_a_severity_and_an_owner(manifest: Any) -> None:
    groups = {group.name for group in manifest.groups.values()}
    for test in of_kind(manifest, "test"):
        assert test.config.severity.lower() in {"warn", "error"}
        assert test.config.meta.get("owner") in groups, test.name


def test_every_model_with_logic_has_unit_tests(manifest: Any) -> None:
    tested = {test.model for test in manifest.unit_tests.values()}
    assert {model.name for model in of_kind(manifest, "model")} == tested


def test_tests_across_layers_are_tagged(manifest: Any) -> None:
    """A test of two models is tagged `cross_layer`, unless the other is reference data."""
    for test in of_kind(manifest, "test"):
        models = [node for node in test.depends_on.nodes if node.startswith("model.")]
        assert (len(models) > 1) == ("cross_layer" in test.tags), test.name


def test_gold_is_exposed_to_bi_tools(manifest: Any) -> None:
    used = {node for exposure in manifest.exposures.values() for node in exposure.depends_on.nodes}
    gold = {model.unique_id for model in of_kind(manifest, "model") if "gold" in model.tags}
    assert gold <= used
