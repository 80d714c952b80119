"""The command: `python -m benchmarks.overlays hyparview|xbot [--seeds N] [--nodes N] [--cycles N] [--jobs N]`.

JSON lines and a table go to standard output, what is going on to standard error. A seed of the full size takes about
two minutes of one core, and 200 MB; `--jobs` runs so many side by side.
"""

from __future__ import annotations

import argparse
import sys

from rich.console import Console

from benchmarks.overlays.report import json_lines, table
from benchmarks.overlays.runs import EXPERIMENTS, run_seeds

__all__ = ["main"]


def main() -> int:
    """The command; its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.overlays", description="The papers' experiments on overlays, with ours beside."
    )
    parser.add_argument("experiment", choices=sorted(EXPERIMENTS))
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="runs, of seeds 1 to N; 1 by default")
    parser.add_argument("--nodes", type=int, default=None, metavar="N", help="10,000 by default, 2,000 for xbot")
    parser.add_argument("--cycles", type=int, default=50, metavar="N", help="rounds before measuring; 50 by default")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes; 1 by default")
    options = parser.parse_args()
    if min(options.seeds, options.cycles, options.jobs) < 1 or (options.nodes is not None and options.nodes < 100):
        parser.error("--seeds, --cycles and --jobs take 1 or more, --nodes 100 or more")
    experiment = EXPERIMENTS[options.experiment]
    nodes = options.nodes or experiment.nodes
    progress = Console(stderr=True, highlight=False)
    outcomes = []
    for outcome, seconds in run_seeds(options.experiment, nodes, options.cycles, options.seeds, options.jobs):
        outcomes.append(outcome)
        progress.print(f"{options.experiment}, seed {len(outcomes)}: {seconds:.0f} s of one core")
    figures = experiment.figures(outcomes)
    for line in json_lines(figures):
        print(line)
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 160  # a file has no edge
    console.print(table(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
