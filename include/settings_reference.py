"""Writes docs/settings.md from the settings tree: `make settings-reference` (`--check`: only compare)."""

from __future__ import annotations

import sys
from typing import Any, Literal, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from include import settings
from include.settings import PROJECT_ROOT

PAGE = PROJECT_ROOT / "docs" / "settings.md"
HEAD = """# Settings

Every program reads its settings from the environment, once, at its start. A value that cannot be used is refused with
the variable's name. This page is made from `include/settings.py` by `make settings-reference`.
"""


def groups() -> list[type[BaseSettings]]:
    """The groups of the tree in its order, then those of the laptop stack."""
    tree = list(get_type_hints(settings.Settings).values())
    rest = [
        value
        for value in vars(settings).values()
        if isinstance(value, type) and issubclass(value, BaseSettings) and value not in [BaseSettings, *tree]
    ]
    return [*tree, *rest]


def allowed(annotation: Any) -> str:
    """The values a setting takes, in words."""
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
    """The default as it would be written in the environment; a path below the project is shown relative to it."""
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value == {}:
        return ""
    text = str(value).replace(f"{PROJECT_ROOT}/", "")
    return f"`{text.lower() if isinstance(value, bool) else text}`"


def page() -> str:
    """The whole page as Markdown."""
    parts = [HEAD]
    for group in groups():
        prefix = str(group.model_config.get("env_prefix", ""))
        parts.append(f"\n## {prefix}*\n\n{(group.__doc__ or '').splitlines()[0]}\n")
        parts.append("| variable | default | values | meaning |\n|---|---|---|---|")
        parts += [
            f"| `{prefix}{name.upper()}` | {default(field)} | {allowed(field.annotation)}{bounds(field)} "
            f"| {field.description} |"
            for name, field in group.model_fields.items()
        ]
    return "\n".join(parts) + "\n"


def main() -> int:
    """Write the page, or with `--check` say whether it is up to date."""
    if "--check" in sys.argv:
        if PAGE.read_text() == page():
            return 0
        sys.stderr.write("docs/settings.md is not up to date: run make settings-reference\n")
        return 1
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
