"""The class of the trigger that starts `crypto_transform`, where Airflow's triggerer finds it.

The triggerer parses no DAG file, so the folder of a bundle is not on its path. `plugins/` is on the path of every
Airflow process, and `include/` lies beside it in the image and in the demo.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))

from include.on_airflow.landed_trigger import LandedTrigger  # noqa: E402

__all__ = ["LandedTrigger"]
