"""Run scenarios: `python -m partisan_actors.testing [--seed N] [--runs N] [--trace FILE] [NAME ...]`.

Without a name every scenario runs, those that take minutes with the first seed only; without a seed the first is 1. A
failure says with which command it comes again, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Sequence

from partisan_actors.testing.scenarios import LONG, SCENARIOS, run
from partisan_actors.testing.trace import Trace

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the arguments say; 0 when all went well."""
    options = _options(arguments)
    names = options.names or sorted(SCENARIOS)
    runs = failures = 0
    for seed in range(options.seed, options.seed + options.runs):
        for name in names:
            if name not in LONG or options.names or seed == options.seed:
                runs += 1
                failures += not _went_well(name, seed, options.trace)
    _say(f"{runs} runs, {failures} failed")
    return 1 if failures else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m partisan_actors.testing", description="Run scenarios in simulation."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(sorted(SCENARIOS))}; all by default")
    parser.add_argument("--seed", type=int, default=1, help="of the first run (default: 1)")
    parser.add_argument("--runs", type=int, default=1, help="how many seeds, one after the other (default: 1)")
    parser.add_argument("--trace", metavar="FILE", help="write what happens to this file; of the last run, if several")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.names) - set(SCENARIOS))
    if unknown:
        parser.error(f"no scenario {', '.join(unknown)}; there are {', '.join(sorted(SCENARIOS))}")
    return options


def _went_well(name: str, seed: int, path: str | None) -> bool:
    start = time.perf_counter()
    try:
        if path is None:
            trace = Trace(keep=0)
            run(name, seed, trace)
        else:
            with open(path, "w", encoding="utf-8") as file:
                trace = Trace(keep=0, write=lambda line: file.write(f"{line}\n"))
                run(name, seed, trace)
    except Exception:
        _say(f"{name} seed {seed}: FAILED")
        _say(traceback.format_exc())
        return False
    _say(
        f"{name} seed {seed}: ok, {trace.count} events, trace {trace.digest[:16]}, {time.perf_counter() - start:.1f} s"
    )
    return True


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
