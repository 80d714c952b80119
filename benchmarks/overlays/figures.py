"""The command `python -m benchmarks.overlays figures`: run what is missing, keep it, and make the page and the plots.

Runs are kept one by one, so that a campaign that was interrupted goes on where it was. Tables and plots are made of the
files alone. Nothing is judged: the exit status is 1 only when a run came to nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks.overlays.catalogue import EXPERIMENTS
from benchmarks.overlays.page import show, write_part
from benchmarks.overlays.rows import Run, RunFile
from benchmarks.overlays.runs import Order, make_all
from benchmarks.overlays.summary import Summary

__all__ = ["run_figures"]

RESULTS = Path("benchmarks/results")
PAGE = Path("docs/figures.md")


def run_figures(arguments: list[str]) -> int:
    """The command; its exit status."""
    options = _parse(arguments)
    folder = options.results / "overlays"
    page = options.page or (PAGE if options.results == RESULTS else folder / "figures.md")
    files = {name: RunFile(folder, name) for name in options.only}
    progress = Console(stderr=True, highlight=False, soft_wrap=True)
    failed = False
    if not options.redraw:
        if options.again:
            for file in files.values():
                file.remove()
        orders = _missing(files, options.smoke, options.seeds, progress)
        failed = _run(orders, files, options.jobs, progress)
    _draw(folder, page, options.only)
    return 1 if failed else 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.overlays figures", description="All experiments on overlays, kept, and drawn."
    )
    parser.add_argument("--only", default=",".join(EXPERIMENTS), metavar="NAME,NAME", help=", ".join(EXPERIMENTS))
    parser.add_argument("--seeds", type=int, metavar="N", help="of each experiment; by default as many as it wants")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="runs at once; 1 by default")
    parser.add_argument("--smoke", "--quick", action="store_true", help="in small, one seed: see whether all runs")
    parser.add_argument("--again", action="store_true", help="forget what there is of these, and begin anew")
    parser.add_argument("--redraw", action="store_true", help="only make the page and the plots of what there is")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER", help=f"{RESULTS} by default")
    parser.add_argument("--page", type=Path, metavar="FILE", help=f"{PAGE}, or figures.md in another folder of results")
    options = parser.parse_args(arguments)
    options.only = options.only.split(",")
    if unknown := [name for name in options.only if name not in EXPERIMENTS]:
        parser.error(f"--only takes {', '.join(EXPERIMENTS)}, and not {', '.join(unknown)}")
    if options.jobs < 1 or (options.seeds is not None and options.seeds < 1):
        parser.error("--jobs and --seeds take 1 or more")
    if options.smoke and options.results == RESULTS:
        parser.error("--smoke needs --results FOLDER: what it finds means nothing")
    return options


def _missing(files: dict[str, RunFile], smoke: bool, seeds: int | None, progress: Console) -> list[Order]:
    """The runs that there are not. Those of other parameters stay, and nothing is added to them."""
    orders = []
    for name, file in files.items():
        experiment, there = EXPERIMENTS[name], file.read()
        parameters = experiment.smoke if smoke else experiment.full
        if any(run.parameters != parameters for run in there):
            progress.print(f"{name}: {file.lines} has runs of other parameters, and stays; --again forgets them")
            continue
        count = 1 if smoke else seeds or experiment.seeds
        known = {run.seed for run in there}
        orders += [Order(name, seed, parameters) for seed in range(1, count + 1) if seed not in known]
    return orders


def _run(orders: Sequence[Order], files: dict[str, RunFile], jobs: int, progress: Console) -> bool:
    """Make them, and keep each; whether one failed."""
    minutes = sum(EXPERIMENTS[order.experiment].minutes for order in orders)
    progress.print(f"{len(orders)} runs to be made, at full size some {minutes:.0f} minutes of a core")

    def keep(run: Run) -> None:
        file = files[run.experiment]
        file.write([*file.read(), run])

    return make_all(orders, jobs, keep, progress)


def _draw(folder: Path, page: Path, only: Sequence[str]) -> None:
    """The page and the plots are of all experiments that there are; shown are those that were asked for."""
    # Only here: what measures runs without it.
    from benchmarks.overlays.plots import draw_all

    found: dict[str, list[Run]] = {name: RunFile(folder, name).read() for name in EXPERIMENTS}
    summaries = {name: Summary(runs) for name, runs in found.items() if runs}
    plots = draw_all(summaries, folder)
    write_part(page, summaries, plots)
    for name in only:
        if found[name]:
            show(name, found[name])
    drawn = ", ".join(path.name for paths in plots.values() for path in paths)
    print(f"\nin {folder}: {drawn or 'nothing to draw'}; the tables are in {page}")
