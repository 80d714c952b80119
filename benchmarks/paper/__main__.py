"""The command: `python -m benchmarks.paper --wan FILE [--figures 1,2,5] [--repeat N] [--results FOLDER]`.

`--wan` names a script that runs a command with loopback delayed (`FILE MICROSECONDS_EACH_WAY COMMAND...`). Tables go
to standard output, what is going on to standard error, raw files and plots to the folder of results. Nothing is judged:
the exit status is 1 only when something failed to be measured.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import tempfile
from importlib import import_module
from pathlib import Path

from rich.console import Console

from benchmarks.paper import erlang
from benchmarks.paper.catalogue import FIGURES, OURS, SMOKE_FIGURES, Figure
from benchmarks.paper.records import Measurement, Order, RawFiles, read_measurements
from benchmarks.paper.rounds import Missing, Plan, run_rounds
from benchmarks.paper.summary import group
from benchmarks.paper.tables import figure_table, summary_table


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.paper",
        description="Redraw figures 1 to 8 of the Partisan paper with partisan_actors and with Erlang's distribution.",
    )
    parser.add_argument("--wan", type=Path, metavar="FILE", help="the script that delays loopback; else none is")
    parser.add_argument("--figures", default="1,2,3,4,5,6,7,8", metavar="N,N", help="all by default")
    parser.add_argument("--repeat", type=int, default=5, metavar="N", help="repetitions; 5 by default")
    parser.add_argument("--seconds", type=float, default=0.5, metavar="S", help="of each cell; 0.5 by default")
    parser.add_argument("--limit", type=float, default=12.0, metavar="S", help="when a cell is cut off; 12 by default")
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results"), metavar="FOLDER")
    parser.add_argument("--redraw", action="store_true", help="only draw what the folder's raw.jsonl has")
    parser.add_argument("--smoke", action="store_true", help="only see whether everything runs")
    parser.add_argument("--measure", type=Order.from_json, help=argparse.SUPPRESS)  # what the command runs
    parser.add_argument("--serve", type=Order.from_json, help=argparse.SUPPRESS)  # and that as its own
    options = parser.parse_args()
    known = {str(figure.number) for figure in FIGURES}
    if unknown := set(options.figures.split(",")) - known:
        parser.error(f"--figures takes numbers from 1 to 8, not {', '.join(sorted(unknown))}")
    if options.repeat < 1 or options.seconds <= 0 or options.limit <= options.seconds:
        parser.error("--repeat takes 1 or more, --seconds more than 0, and --limit more than --seconds")
    return options


def plan_of(options: argparse.Namespace, code: str) -> Plan:
    """What is asked for."""
    wanted = options.figures.split(",")
    figures = SMOKE_FIGURES if options.smoke else FIGURES
    chosen = tuple(figure for figure in figures if str(figure.number) in wanted)
    seconds, repetitions = (0.02, 1) if options.smoke else (options.seconds, options.repeat)
    return Plan(chosen, repetitions, seconds, options.limit, options.wan, code)


def collect(plan: Plan, folder: Path, progress: Console) -> tuple[list[Measurement], list[Missing]]:
    """Measure all, and keep it in the raw files."""
    found: list[Measurement] = []
    missing: list[Missing] = []
    with RawFiles(folder) as files:
        for result in run_rounds(plan, progress.print):
            if isinstance(result, Missing):
                missing.append(result)
                progress.print(f"left out: {result}")
            else:
                found.append(result)
                files.write(result)
    return found, missing


def report(found: list[Measurement], figures: tuple[Figure, ...], folder: Path, console: Console) -> None:
    """Show everything that was measured, and draw it."""
    # Only here: what measures runs without it.
    from benchmarks.paper.plots import draw

    results = group(found)
    measured = {measurement.figure for measurement in found}
    shown = tuple(figure for figure in figures if figure.number in measured)
    for figure in shown:
        delayed = any(one.round_trip > 0 for one in found if one.figure == figure.number)
        console.print(figure_table(results, figure, delayed))
        console.print(f"drawn in {draw(results, figure, delayed, folder)}\n")
    console.print(summary_table(results, shown))


def main() -> int:
    """The command; its exit status."""
    options = parse_arguments()
    if options.serve is not None:
        import_module("benchmarks.paper.ours").serve(options.serve)
        return 0
    if options.measure is not None:
        # Ours is loaded only where it is measured.
        module = "benchmarks.paper.ours" if options.measure.transport == OURS else "benchmarks.paper.erlang"
        import_module(module).measure(options.measure)
        return 0
    console, progress = Console(highlight=False), Console(stderr=True, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = 180  # a file has no edge
    if options.redraw:
        found = read_measurements((options.results / "raw.jsonl").read_text().splitlines())
        report(found, plan_of(options, "").figures, options.results, console)
        return 0
    os.environ["PARTISAN_COOKIE"] = secrets.token_hex(32)
    if options.wan is None:
        progress.print("without --wan loopback is not delayed: the figures are not the paper's")
    with tempfile.TemporaryDirectory() as code:
        if erlang.installed():
            erlang.compile_workloads(code)
        else:
            progress.print("Erlang is not installed (erl, erlc, epmd), and is left out")
        plan = plan_of(options, code if erlang.installed() else "")
        found, missing = collect(plan, options.results, progress)
    report(found, plan.figures, options.results, console)
    for left_out in missing:
        progress.print(f"left out: {left_out}")
    return 1 if any(left_out.failed for left_out in missing) else 0


if __name__ == "__main__":
    sys.exit(main())
