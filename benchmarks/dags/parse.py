"""Measures how long Airflow takes to parse each DAG file, and how much memory the preloaded modules cost.

    python -m benchmarks.dags.parse

The benchmark parses like the DAG processor: a parent imports the processor and the `airflow` modules that a file names.
For each parse a forked child imports the file and serialises its DAGs. The benchmark runs once with plain Airflow, once
with the modules of `plugins/airflow_local_settings.py`. It prints median and worst of the repeats in seconds, and the
unique set size (memory that the process does not share) in MB.
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

from benchmarks.figures import Figures, Values
from include.settings import PROJECT_ROOT

REPEATS = 9
MEGABYTE = 2**20


def measure(preloaded: bool) -> dict[str, dict[str, float]]:
    """Seconds and memory (MB) by file, and the parent's memory as `parent`. Call it in a process of its own."""
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
    figures = {}
    for file in files:
        seconds, memory = zip(*(parse_in_child(file) for _ in range(REPEATS)), strict=True)
        figures[file.stem] = {"median": statistics.median(seconds), "worst": max(seconds), "child_mb": max(memory)}
    figures["parent"] = {"mb": psutil.Process().memory_full_info().uss / MEGABYTE}
    return figures


def parse_in_child(file: Path) -> tuple[float, float]:
    """Seconds from fork to the end of the parse, and the child's memory in MB."""
    reader, writer = os.pipe()
    began = time.perf_counter()
    child = os.fork()
    if not child:
        os.write(writer, json.dumps(parse(file)).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        result = json.loads(pipe.read())
    seconds = time.perf_counter() - began
    os.waitpid(child, 0)
    if result["errors"]:
        raise RuntimeError(f"{file.name} cannot be parsed: {result['errors']}")
    return seconds, result["mb"]


def parse(file: Path) -> dict[str, object]:
    """Parse a file like the processor's child; returns its `errors` and the memory in `mb`."""
    import psutil
    import structlog
    from airflow.dag_processing import processor

    request = processor.DagFileParseRequest(file=str(file), bundle_path=file.parent, bundle_name="dags-folder")
    result = processor._parse_file(request, structlog.get_logger())
    assert result is not None
    errors = result.import_errors or ("" if result.serialized_dags else "it holds no DAG")
    return {"errors": errors, "mb": psutil.Process().memory_full_info().uss / MEGABYTE}


Measured = dict[str, dict[str, dict[str, float]]]
"""`plain` or `preloaded` -> file or `parent` -> the figures of `measure`."""


def measured() -> Measured:
    """Both ways of parsing, each in a process of its own."""
    with tempfile.TemporaryDirectory() as home:
        environment = os.environ | {"AIRFLOW_HOME": home, "WAREHOUSE_TARGET": "local"}
        environment |= {"AIRFLOW__CORE__LOAD_EXAMPLES": "False", "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR"}
        by_mode: Measured = {}
        for mode in ("plain", "preloaded"):
            command = [sys.executable, "-m", "benchmarks.dags.parse", "--child", mode]
            answer = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
            by_mode[mode] = json.loads(answer.stdout.splitlines()[-1])
    return by_mode


def figures() -> Figures:
    """The medians of each file, and the preloaded share of the plain time."""
    values: Values = {}
    by_mode = measured()
    for file in (name for name in by_mode["plain"] if name != "parent"):
        plain, preloaded = (by_mode[mode][file]["median"] for mode in ("plain", "preloaded"))
        values |= {f"{file}.plain_seconds": plain, f"{file}.preloaded_seconds": preloaded}
        values[f"{file}.preloaded_over_plain"] = preloaded / plain
    return Figures(values)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--child", choices=["plain", "preloaded"], help=argparse.SUPPRESS)
    mode = parser.parse_args().child
    if mode:
        print(json.dumps(measure(preloaded=mode == "preloaded")))
        return
    by_mode = measured()
    print(f"{'file':24}{'plain':>16}{'preloaded':>16}   (median, worst of {REPEATS}, s)")
    for name in by_mode["plain"]:
        if name != "parent":
            cells = (f"{by_file[name]['median']:.2f} ({by_file[name]['worst']:.2f})" for by_file in by_mode.values())
            print(f"{name:24}" + "".join(f"{cell:>16}" for cell in cells))
    for process in ("parent", "crypto_transform"):
        memory = (by_file[process].get("mb", by_file[process].get("child_mb")) for by_file in by_mode.values())
        cells = (f"{megabytes:.0f} MB" for megabytes in memory)
        name = "the processor itself" if process == "parent" else f"child of {process}"
        print(f"{name:24}" + "".join(f"{cell:>16}" for cell in cells))


if __name__ == "__main__":
    main()
