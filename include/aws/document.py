"""The template as data, with CloudFormation's short forms (`!Ref X`) as long forms (`{"Ref": "X"}`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

TEMPLATE = Path(__file__).with_name("template.yaml")


class _Loader(yaml.SafeLoader):
    """A SafeLoader that accepts CloudFormation's tags."""


def _intrinsic(loader: yaml.Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
        if suffix == "GetAtt":
            value = value.split(".", 1)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    elif isinstance(node, yaml.MappingNode):
        value = loader.construct_mapping(node, deep=True)
    else:
        raise TypeError(f"a YAML node of an unknown kind: {node!r}")
    return {suffix if suffix in {"Ref", "Condition"} else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _intrinsic)


def parse(template: str) -> dict[str, Any]:
    """A YAML template as plain dictionaries and lists."""
    document: dict[str, Any] = yaml.load(template, Loader=_Loader)  # noqa: S506 - a SafeLoader
    return document


def compact(template: str) -> str:
    """The same template as JSON without comments and spaces: the longer readable text is too large for a request."""
    return json.dumps(parse(template), separators=(",", ":"), ensure_ascii=True)
