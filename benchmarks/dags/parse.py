"""How long Airflow takes to parse each DAG file, and what the preloaded modules cost in memory.

    python -m benchmarks.dags.parse

As the DAG processor does it: a parent that has imported the processor and the `airflow`
modules a file names, and a forked child for each parse, which imports the file and
serialises its DAGs. Once as Airflow comes, once with the modules of
`plugins/airflow_local_settings.py`. Prints a table: median and worst of the repeats, in
seconds; memory is unique set size (what the process has to itself), in MB.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from include.settings import PROJECT_ROOT

REPEATS = 9
MEGABYTE = 2**20


def measure(preloaded: bool) -> dict[str, dict[str, float]]:
    """In a process of its own: seconds and memory of each file, and the parent's memory under `parent`."""
    import psutil
    import structlog
    from airflow.dag_processing import manager, processor

    if preloaded:
        from plugins import airflow_local_settings

        airflow_local_settings.preload(["airflow", "dag-processor"])
    log = structlog.get_logger()
    assert manager
    files = sorted((PROJECT_ROOT / "dags").glob("*.py"))
    for file in files:
        processor._pre_import_airflow_modules(str(file), log)
    found = {}
    for file in files:
        seconds, memory = zip(*(parse_in_child(file) for _ in range(REPEATS)), strict=True)
        found[file.stem] = {"median": statistics.median(seconds), "worst": max(seconds), "child_mb": max(memory)}
    found["parent"] = {"mb": psutil.Process().memory_full_info().uss / MEGABYTE}
    return found


def parse_in_child(file: Path) -> tuple[float, float]:
    """Seconds from fork to the end of the parse, and the child's memory in MB."""
    reader, writer = os.pipe()
    began = time.perf_counter()
    child = os.fork()
    if not child:
        os.write(writer, json.dumps(parse(file)).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        said = json.loads(answer.read())
    seconds = time.perf_counter() - began
    os.waitpid(child, 0)
    if said["errors"]:
        raise RuntimeError(f"{file.name} cannot be parsed: {said['errors']}")
    return seconds, said["mb"]


def parse(file: Path) -> dict[str, object]:
    """What the processor's child does with a file."""
    import psutil
    import structlog
    from airflow.dag_processing import processor

    request = processor.DagFileParseRequest(file=str(file), bundle_path=file.parent, bundle_name="dags-folder")
    result = processor._parse_file(request, structlog.get_logger())
    assert result is not None
    errors = result.import_errors or ("" if result.serialized_dags else "it holds no DAG")
    return {"errors": errors, "mb": psutil.Process().memory_full_info().uss / MEGABYTE}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--child", choices=["plain", "preloaded"], help=argparse.SUPPRESS)
    mode = parser.parse_args().child
    if mode:
        print(json.dumps(measure(preloaded=mode == "preloaded")))
        return
    with tempfile.TemporaryDirectory() as home:
        environment = os.environ | {"AIRFLOW_HOME": home, "WAREHOUSE_TARGET": "local"}
        environment |= {"AIRFLOW__CORE__LOAD_EXAMPLES": "False", "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR"}
        found = {}
        for one in ("plain", "preloaded"):
            command = [sys.executable, "-m", "benchmarks.dags.parse", "--child", one]
            answer = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
            found[one] = json.loads(answer.stdout.splitlines()[-1])
    print(f"{'file':24}{'plain':>16}{'preloaded':>16}   (median, worst of {REPEATS}, s)")
    for name in found["plain"]:
        if name != "parent":
            cells = (f"{found[one][name]['median']:.2f} ({found[one][name]['worst']:.2f})" for one in found)
            print(f"{name:24}" + "".join(f"{cell:>16}" for cell in cells))
    for what in ("parent", "crypto_transform"):
        cells = (f"{found[one][what].get('mb', found[one][what].get('child_mb')):.0f} MB" for one in found)
        name = "the processor itself" if what == "parent" else f"child of {what}"
        print(f"{name:24}" + "".join(f"{cell:>16}" for cell in cells))


if __name__ == "__main__":
    main()
