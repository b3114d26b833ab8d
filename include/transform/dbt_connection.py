"""The connection options of every dbt invocation.

All invocations use the same options. With another profile or target on the command line than that of the saved parse,
dbt parses the whole project again (seconds), even if both mean the same connection.
"""

from __future__ import annotations

from include.settings import DBT_PROJECT, WarehouseSettings, load_group

PROFILE = "crypto_lakehouse"
PROFILES = DBT_PROJECT / "profiles.yml"


def arguments() -> list[str]:
    """The options; Cosmos passes the same."""
    target = load_group(WarehouseSettings).target
    return ["--profiles-dir", str(PROFILES.parent), "--profile", PROFILE, "--target", target]
