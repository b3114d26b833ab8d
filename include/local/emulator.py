"""The AWS emulator (ministack: S3, CloudWatch, Glue, SNS, CloudFormation) on loopback.

The emulator has its own Python environment (`.local/emulator`) because it pins botocore. Start it in the foreground
with `python -m include.local.emulator --state DIR --port 14566`.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import NoReturn

import httpx

from include.settings import PROJECT_ROOT

PROGRAM = PROJECT_ROOT / ".local" / "emulator" / "bin" / "ministack"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
"""The emulator checks no credentials, but every AWS client needs some."""


class EmulatorError(RuntimeError):
    """The emulator is not installed, or does not answer."""


def environment(state: Path, port: int) -> dict[str, str]:
    """Ministack's settings: loopback only, no MQTT listener, state kept on disk."""
    return {
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "IOT_MTLS_ENABLED": "0",  # otherwise ministack listens on 0.0.0.0:8883
        "USE_SSL": "0",
        "PERSIST_STATE": "1",
        "STATE_DIR": str(state / "state"),
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(state / "s3"),
    }


def exec_emulator(state: Path, port: int) -> NoReturn:
    """Become the emulator (same process id).

    Raises:
        EmulatorError: its Python environment is missing.
    """
    if not PROGRAM.exists():
        raise EmulatorError(f"{PROGRAM.relative_to(PROJECT_ROOT)} is missing: run make env")
    (state / "state").mkdir(parents=True, exist_ok=True)
    (state / "s3").mkdir(parents=True, exist_ok=True)
    # The emulator's own botocore must not use this program's AWS_ENDPOINT_URL.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    os.execve(PROGRAM, [str(PROGRAM)], inherited | environment(state, port))


def wait_until_ready(endpoint: str, seconds: float) -> None:
    """Return when the emulator answers.

    Raises:
        EmulatorError: the emulator did not answer within `seconds`.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            httpx.get(f"{endpoint}/_ministack/health", timeout=2)
            return
        except httpx.TransportError as error:
            if time.monotonic() > deadline:
                raise EmulatorError(f"the AWS emulator at {endpoint} did not answer within {seconds:.0f} s") from error
            time.sleep(0.1)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Command line of `python -m include.local.emulator`."""
    parser = argparse.ArgumentParser(prog="python -m include.local.emulator", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="folder that keeps buckets and resources")
    parser.add_argument("--port", type=int, default=14566)
    options = parser.parse_args(arguments)
    exec_emulator(options.state.resolve(), options.port)


if __name__ == "__main__":
    main()
