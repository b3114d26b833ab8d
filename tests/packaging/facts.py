"""Facts that several packaging tests compare with: the project's environment variables and its uv."""

from __future__ import annotations

from pydantic_settings import BaseSettings

from include import settings
from include.settings import PROJECT_ROOT

UV = PROJECT_ROOT / ".local" / "uv" / "bin" / "uv"


def environment_variables() -> set[str]:
    """Every environment variable of the settings tree."""
    groups = [
        group
        for group in vars(settings).values()
        if isinstance(group, type) and issubclass(group, BaseSettings) and group is not BaseSettings
    ]
    return {f"{group.model_config['env_prefix']}{name}".upper() for group in groups for name in group.model_fields}
