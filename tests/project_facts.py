"""Facts of the project that several suites compare with."""

from __future__ import annotations

from include import settings_reference
from include.settings import PROJECT_ROOT

UV = PROJECT_ROOT / ".local" / "uv" / "bin" / "uv"


def environment_variables() -> set[str]:
    """Every environment variable of the settings tree."""
    return {
        f"{group.model_config['env_prefix']}{name}".upper()
        for group in settings_reference.groups()
        for name in group.model_fields
    }
