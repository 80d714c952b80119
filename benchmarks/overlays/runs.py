"""Runs of the experiments, of several seeds, in processes of their own: one after the other, or side by side."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any, NamedTuple

from benchmarks.overlays import hyparview, plumtree, xbot
from benchmarks.overlays.report import Figure, hyparview_figures, xbot_figures

__all__ = ["EXPERIMENTS", "Experiment", "run_seeds"]


class Experiment(NamedTuple):
    """What runs, what makes figures of the outcomes of several seeds, and how many nodes are usual."""

    run: Callable[[int, int, int], Any]
    figures: Callable[[list[Any]], list[Figure]]
    nodes: int


EXPERIMENTS = {
    "hyparview": Experiment(hyparview.experiment, hyparview_figures, 10_000),
    "xbot": Experiment(xbot.experiment, xbot_figures, 2_000),
    "plumtree": Experiment(plumtree.experiment, plumtree.plumtree_figures, 10_000),
}


def run_seeds(experiment: str, nodes: int, cycles: int, seeds: int, jobs: int) -> Iterator[tuple[Any, float]]:
    """The outcome for each of the seeds 1 to `seeds`, and the seconds of one core that it took."""
    run = partial(_timed, experiment, nodes, cycles)
    # A process for each: what one leaves behind slows the next one down.
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        yield from pool.map(run, range(1, seeds + 1))


def _timed(experiment: str, nodes: int, cycles: int, seed: int) -> tuple[Any, float]:
    gc.disable()  # what a run makes stays to its end, and holds no rings: to walk it again and again costs a third
    start = time.process_time()
    return EXPERIMENTS[experiment].run(nodes, cycles, seed), time.process_time() - start
