"""The dbt profile and the settings tree have the same variables with the same defaults."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from include.settings import PROJECT_ROOT, AwsSettings, StorageSettings, WarehouseSettings
from tests.warehouse.warehouse import DBT_PROJECT

ENV_VAR = re.compile(r"env_var\(\s*'(\w+)'\s*,\s*'([^']*)'\s*\)")
GROUPS = (AwsSettings, StorageSettings, WarehouseSettings)
SETTINGS = {
    (str(group.model_config["env_prefix"]) + name).upper(): field.default
    for group in GROUPS
    for name, field in group.model_fields.items()
}


def uses() -> list[tuple[str, str, str]]:
    """(file, variable, default) of every env_var() in the project."""
    files = [DBT_PROJECT / "profiles.yml", DBT_PROJECT / "dbt_project.yml"]
    for folder in ("macros", "models", "tests", "snapshots", "seeds", "analyses"):
        files += [path for path in (DBT_PROJECT / folder).rglob("*") if path.suffix in {".sql", ".yml"}]
    return [(str(path.relative_to(DBT_PROJECT)), *use) for path in files for use in ENV_VAR.findall(path.read_text())]


@pytest.mark.parametrize(("file", "variable", "default"), uses())
def test_a_variable_has_the_default_of_the_settings_tree(file: str, variable: str, default: str) -> None:
    expected = SETTINGS[variable]
    if isinstance(expected, Path):
        expected = expected.relative_to(PROJECT_ROOT)
    assert default == str(expected)


def test_every_use_of_a_variable_has_a_default() -> None:
    for path in DBT_PROJECT.rglob("*.sql"):
        if "target" not in path.parts:
            assert path.read_text().count("env_var(") == len(ENV_VAR.findall(path.read_text())), path


def test_the_athena_target_has_no_credentials() -> None:
    profile = yaml.safe_load((DBT_PROJECT / "profiles.yml").read_text())
    athena = profile["crypto_lakehouse"]["outputs"]["athena"]
    assert not [name for name in athena if "key" in name or "secret" in name or "token" in name or "profile" in name]
