"""The tables of docs/settings.md, which `make generate` writes from the settings tree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from include import settings as tree
from include.settings import PROJECT_ROOT


def groups() -> list[type[BaseSettings]]:
    """The groups of the tree in its order, then those of the laptop stack."""
    members = list(get_type_hints(tree.Settings).values())
    rest = [
        value
        for value in vars(tree).values()
        if isinstance(value, type) and issubclass(value, BaseSettings) and value not in [BaseSettings, *members]
    ]
    return [*members, *rest]


def allowed(annotation: Any) -> str:
    """The values that a setting may have, in words."""
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation))
    options = [option for option in get_args(annotation) if option is not type(None)]
    if get_origin(annotation) not in {list, dict, None} and options:
        return " or ".join(allowed(option) for option in options)
    names = {"str": "text", "int": "whole number", "float": "number", "bool": "`true`, `false`", "Path": "path"}
    name = getattr(annotation, "__name__", str(annotation))
    return names.get(name, {"SecretStr": "secret", "list": "JSON list", "dict": "JSON object"}.get(name, name))


def bounds(field: FieldInfo) -> str:
    """The range of a number in words, each bound after a comma; nothing for a setting without bounds."""
    words = {Ge: ("ge", "at least"), Gt: ("gt", "above"), Le: ("le", "at most"), Lt: ("lt", "below")}
    return "".join(
        f", {words[type(bound)][1]} {getattr(bound, words[type(bound)][0])}"
        for bound in field.metadata
        if type(bound) in words
    )


def default(field: FieldInfo) -> str:
    """The default as a user would write it in the environment; a path in the project is relative to the project."""
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value == {}:
        return ""
    text = str(value).replace(f"{PROJECT_ROOT}/", "")
    return f"`{text.lower() if isinstance(value, bool) else text}`"


def settings() -> Iterator[str]:
    """A heading and a table for each group."""
    for group in groups():
        prefix = str(group.model_config.get("env_prefix", ""))
        yield from ("", f"## {prefix}*", "", (group.__doc__ or "").splitlines()[0], "")
        yield "| variable | default | values | meaning |"
        yield "|---|---|---|---|"
        for name, field in group.model_fields.items():
            values = allowed(field.annotation) + bounds(field)
            yield f"| `{prefix}{name.upper()}` | {default(field)} | {values} | {field.description} |"
