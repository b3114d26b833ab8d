"""`python -m tests.chaos --seeds 10` runs ten seeds. The last line sums up; exit status 0 means that all passed."""

from __future__ import annotations

import argparse
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path

from tests.chaos.proxy import FAULTS
from tests.chaos.run import SHORT, Outcome, Plan, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="number of runs (default: 10)")
    parser.add_argument("--first", type=int, default=1, help="first seed (default: 1)")
    parser.add_argument("--short", action="store_true", help="few faults")
    parser.add_argument("--keep", type=Path, help="folder for logs and data (default: a temporary one)")
    options = parser.parse_args()
    outcomes: list[Outcome] = []
    broken: list[int] = []
    with tempfile.TemporaryDirectory(prefix="chaos-") as temporary:
        for seed in range(options.first, options.first + options.seeds):
            folder = (options.keep or Path(temporary)) / f"seed-{seed}"
            try:
                outcome = run(seed, SHORT if options.short else Plan(), folder)
            except Exception:  # noqa: BLE001 - the other seeds still run, and the summary names this one
                traceback.print_exc()
                broken.append(seed)
                continue
            outcomes.append(outcome)
            print(outcome.line(), flush=True)  # noqa: T201
            for error in outcome.verdict.errors[:20]:
                print(f"    {error}", flush=True)  # noqa: T201
    failed = [outcome.seed for outcome in outcomes if outcome.verdict.errors]
    messages = sum(outcome.verdict.messages for outcome in outcomes)
    disruptions = sum((outcome.disruptions for outcome in outcomes), Counter[str]())
    faults = sum((outcome.faults for outcome in outcomes), Counter[str]())
    missing = [name for name in FAULTS if not faults[name]]
    verdict = f"FAILED with seeds {failed}" if failed else "0 lost, 0 doubled" if outcomes else "nothing shown"
    if broken:
        verdict += f"; NOT FINISHED: seeds {broken}"
    if missing:
        verdict += f"; NOT SHOWN, as these never happened: {missing}"
    print(  # noqa: T201
        f"chaos: {len(outcomes)} seeds, {messages} messages, {in_words(disruptions)}, S3: {in_words(faults)}: {verdict}"
    )
    return 1 if failed or broken or missing else 0


def in_words(counts: Counter[str]) -> str:
    """Counts with their names, sorted by name."""
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))


if __name__ == "__main__":
    sys.exit(main())
