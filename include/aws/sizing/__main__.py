"""Command line: python -m include.aws.sizing."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict

from include.aws.sizing import __doc__ as subject
from include.aws.sizing.page import settings, text
from include.aws.sizing.plan import FRESHNESS_SECONDS, Demand, Plan, SizingError, plan, warnings


def _as_json(made: Plan) -> str:
    figures = asdict(made) | {
        "dollars_a_month": made.dollars_a_month,
        "settings": settings(made),
        "warnings": warnings(made),
    }
    return json.dumps(figures, indent=2)


def main(arguments: list[str] | None = None) -> int:
    """Print the plan; returns 2 if no plan is possible."""
    parser = argparse.ArgumentParser(prog="python -m include.aws.sizing", description=subject)
    parser.add_argument("--messages-per-second", type=float, required=True)
    parser.add_argument("--bytes", type=int, default=Demand(1).message_bytes, help="of a message (default: 200)")
    parser.add_argument(
        "--freshness", type=float, default=FRESHNESS_SECONDS,
        help=f"seconds from Kafka to gold (default: {FRESHNESS_SECONDS:g})",
    )  # fmt: skip
    parser.add_argument("--months-kept", type=float, default=Demand(1).months_kept, help="of storage (default: 12)")
    parser.add_argument("--json", action="store_true", help="print JSON: bytes, seconds, US dollars a month")
    options = parser.parse_args(arguments)
    try:
        made = plan(Demand(options.messages_per_second, options.bytes, options.freshness, options.months_kept))
    except SizingError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(f"{_as_json(made) if options.json else text(made)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
