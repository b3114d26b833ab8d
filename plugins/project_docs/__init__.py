"""The clone's own pages (docs/, README.md) in Airflow, so that the links to runbooks open without another server.

The demo's ALERT_RUNBOOK_URL names them. As with `pipeline_health`, Airflow imports this file in many processes, and
only the API server asks for the app. There is no app where the clone's docs are not beside the plugin: in an image, or
in Airflow's own plugin folder.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from airflow.plugins_manager import AirflowPlugin

ROUTE = "project-docs"
ROOT = Path(__file__).resolve().parents[2]
COMPLETE = (ROOT / "docs" / "runbooks").is_dir()


class ProjectDocsPlugin(AirflowPlugin):
    """Mounts the pages."""

    name = "project_docs"

    @property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The pages' app; only the API server asks for it."""
        if not COMPLETE:
            return []
        if str(ROOT) not in sys.path:
            sys.path.append(str(ROOT))
        from plugins.project_docs.pages import create_app

        return [{"name": "Project documentation", "app": create_app(ROOT), "url_prefix": f"/{ROUTE}"}]
