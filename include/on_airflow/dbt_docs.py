"""dbt's own docs, the data dictionary: kept in S3, and in the folder that Cosmos's page in Airflow reads.

Cosmos serves them without a login (docs/data-quality.md). So the page exists only when the configuration
`[cosmos] dbt_docs_projects` names a folder, as on the laptop.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from include.settings import StorageSettings, load_group
from include.transform.data_dictionary import PAGE

log = logging.getLogger(__name__)

PROJECT = "lakehouse"
"""Name of the project in `[cosmos] dbt_docs_projects`, and part of the page's address."""


def cosmos_projects(folder: Path) -> str:
    """The value of `[cosmos] dbt_docs_projects` that shows the docs in `folder`."""
    return json.dumps({PROJECT: {"dir": str(folder), "index": PAGE, "name": "Data dictionary"}})


def address(airflow_url: str) -> str:
    """Where Airflow shows the docs; empty where it does not."""
    from airflow.sdk.configuration import conf

    shown = PROJECT in json.loads(conf.get("cosmos", "dbt_docs_projects", fallback=None) or "{}")
    return f"{airflow_url.rstrip('/')}/cosmos/{PROJECT}/dbt_docs_index.html" if shown else ""


def publish(project_dir: str, context: Mapping[str, Any]) -> None:  # noqa: ARG001 (Cosmos passes it)
    """Cosmos callback: copy the page of `dbt docs generate --static` to `state/dbt_docs/` and into the folder.

    Raises:
        FileNotFoundError: dbt has written no page.
    """
    from airflow.sdk.configuration import conf

    from include.on_airflow.connections import s3_client

    page = (Path(project_dir) / "target" / "static_index.html").read_bytes()
    storage = load_group(StorageSettings)
    key = f"{storage.state_prefix}dbt_docs/{PAGE}"
    s3_client().put_object(Bucket=storage.bucket, Key=key, Body=page, ContentType="text/html")
    log.info("dbt's docs are at s3://%s/%s", storage.bucket, key)
    project = json.loads(conf.get("cosmos", "dbt_docs_projects", fallback=None) or "{}").get(PROJECT)
    if project:
        folder = Path(project["dir"])
        folder.mkdir(parents=True, exist_ok=True)
        (folder / PAGE).write_bytes(page)
        log.info("dbt's docs are in Airflow under Browse, %s", project["name"])
