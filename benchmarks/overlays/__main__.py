"""The commands.

    python -m benchmarks.overlays NAME [--seeds N] [--jobs N] [--smoke] [--with PARAMETER=VALUE ...]
    python -m benchmarks.overlays figures [--only NAME,NAME] [--jobs N] [--again] [--redraw] [--smoke --results FOLDER]

The first runs one experiment: JSON lines and tables go to standard output, what is going on to standard error. The
second runs all that the folder does not have so far, and makes the page and the plots of them.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from rich.console import Console

from benchmarks.overlays.catalogue import EXPERIMENTS
from benchmarks.overlays.figures import run_figures
from benchmarks.overlays.page import show
from benchmarks.overlays.rows import Run, json_lines
from benchmarks.overlays.runs import Order, make_all

__all__ = ["main"]


def main(arguments: list[str]) -> int:
    """The command; its exit status."""
    if arguments[:1] == ["figures"]:
        return run_figures(arguments[1:])
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.overlays", description="The papers' experiments on overlays, with ours beside."
    )
    parser.add_argument("experiment", choices=[*EXPERIMENTS, "figures"], help="figures: all, kept and drawn")
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="runs, of seeds 1 to N; 1 by default")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="runs at once; 1 by default")
    parser.add_argument("--smoke", action="store_true", help="in small, to see whether it runs")
    parser.add_argument("--with", dest="changed", action="append", default=[], metavar="PARAMETER=VALUE")
    options = parser.parse_args(arguments)
    if min(options.seeds, options.jobs) < 1:
        parser.error("--seeds and --jobs take 1 or more")
    experiment = EXPERIMENTS[options.experiment]
    parameters = dict(experiment.smoke if options.smoke else experiment.full)
    for text in options.changed:
        name, _, value = text.partition("=")
        try:
            parameters[name] = _as(parameters[name], value)
        except (KeyError, ValueError):
            shown = ", ".join(f"{key}={value}" for key, value in parameters.items())
            parser.error(f"--with {text}: {options.experiment} has {shown}")
    orders = [Order(options.experiment, seed, parameters) for seed in range(1, options.seeds + 1)]
    return _run_one(orders, options.jobs)


def _as(value: Any, text: str) -> Any:
    """The text, as what stands there by default."""
    return type(value)(text)


def _run_one(orders: list[Order], jobs: int) -> int:
    runs: list[Run] = []

    def keep(run: Run) -> None:
        runs.append(run)
        for line in json_lines(run):
            print(line, flush=True)

    failed = make_all(orders, jobs, keep, Console(stderr=True, highlight=False))
    if runs:
        show(runs[0].experiment, runs)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
