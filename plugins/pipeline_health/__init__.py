"""Pipeline Health: a page in the Airflow UI that shows the layers' freshness, the lag and the open alerts.

Airflow imports this file in every process that looks at plugins, tasks included. The page itself
needs FastAPI and Airflow's security, so it is imported only when the API server asks for the
apps. A copy of this folder without the project beside it offers no page, and logs that. (Airflow's
own plugin folder does not see the code of a Git bundle.)
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
                "href": f"{ROUTE}/",  # relative to the UI's <base>, which contains the base path of Airflow
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
        """The page's app; only the API server asks for it."""
        if not COMPLETE:
            logging.getLogger(__name__).warning("no page Pipeline Health: there is no include/monitoring in %s", ROOT)
            return []
        if str(ROOT) not in sys.path:
            sys.path.append(str(ROOT))
        from plugins.pipeline_health.page import create_app

        return [{"name": "Pipeline Health", "app": create_app(), "url_prefix": f"/{ROUTE}"}]
