"""How every dbt invocation names its connection.

All name it alike: dbt parses the whole project anew (seconds) when the saved parse was made with
another profile or target on the command line, even if both mean the same.
"""

from __future__ import annotations

from include.settings import DBT_PROJECT, WarehouseSettings, load_group

PROFILE = "crypto_lakehouse"
PROFILES = DBT_PROJECT / "profiles.yml"


def arguments() -> list[str]:
    """Options of a dbt command; Cosmos passes the same."""
    target = load_group(WarehouseSettings).target
    return ["--profiles-dir", str(PROFILES.parent), "--profile", PROFILE, "--target", target]
