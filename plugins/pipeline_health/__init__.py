"""Pipeline Health: a page in the Airflow UI that shows what is fresh, what waits and what is wrong.

Airflow imports this file in every process that looks at plugins, tasks included; so the page
itself, which needs FastAPI and Airflow's security, is imported only when the API server asks
for the apps.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from airflow.plugins_manager import AirflowPlugin

PREFIX = "/pipeline-health"
ROOT = Path(__file__).resolve().parents[2]


class PipelineHealthPlugin(AirflowPlugin):
    """Mounts the page, and puts it into the navigation."""

    name = "pipeline_health"
    external_views = [  # noqa: RUF012 (Airflow's own attribute)
        {
            "name": "Pipeline Health",
            "href": f"{PREFIX}/",
            "destination": "nav",
            "category": "browse",
            "url_route": "pipeline-health",
        }
    ]

    @property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The page's app; asked for by the API server only."""
        if str(ROOT) not in sys.path:
            sys.path.append(str(ROOT))
        from plugins.pipeline_health.page import create_app

        return [{"name": "Pipeline Health", "app": create_app(), "url_prefix": PREFIX}]
