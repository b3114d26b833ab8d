"""Pipeline Health: a page in the Airflow UI that shows what is fresh, what waits and what is wrong.

Airflow imports this file in every process that looks at plugins, tasks included; so the page
itself, which needs FastAPI and Airflow's security, is imported only when the API server asks
for the apps. A copy of this folder without the project beside it (as with a Git bundle, whose
code Airflow's own plugin folder does not see) offers no page, and says so.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

from airflow.plugins_manager import AirflowPlugin

ROUTE = "pipeline-health"
ROOT = Path(__file__).resolve().parents[2]
COMPLETE = (ROOT / "include" / "monitoring").is_dir()


class PipelineHealthPlugin(AirflowPlugin):
    """Mounts the page, and puts it into the navigation."""

    name = "pipeline_health"
    external_views = (
        [
            {
                "name": "Pipeline Health",
                "href": f"{ROUTE}/",  # relative to the UI's <base>, which has the path that Airflow may live below
                "destination": "nav",
                "category": "browse",
                "url_route": ROUTE,
            }
        ]
        if COMPLETE
        else []
    )

    @property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The page's app; asked for by the API server only."""
        if not COMPLETE:
            logging.getLogger(__name__).warning("no page Pipeline Health: there is no include/monitoring in %s", ROOT)
            return []
        if str(ROOT) not in sys.path:
            sys.path.append(str(ROOT))
        from plugins.pipeline_health.page import create_app

        return [{"name": "Pipeline Health", "app": create_app(), "url_prefix": f"/{ROUTE}"}]
