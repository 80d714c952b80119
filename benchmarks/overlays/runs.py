"""Runs of the experiments, each in an OS process of its own: one after the other, or side by side."""

from __future__ import annotations

import gc
import resource
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Any, NamedTuple

from benchmarks.overlays.catalogue import EXPERIMENTS
from benchmarks.overlays.machine import about_here
from benchmarks.overlays.rows import Run

__all__ = ["Failed", "Order", "run_all"]


class Order(NamedTuple):
    """A run to be made."""

    experiment: str
    seed: int
    parameters: dict[str, Any]


class Failed(NamedTuple):
    """One that came to nothing."""

    order: Order
    reason: str


def run_all(orders: Iterable[Order], jobs: int) -> Iterator[Run | Failed]:
    """Make the runs, so many at once, the longest first; those that need all cores alone, in the end."""
    ordered = sorted(orders, key=lambda order: -EXPERIMENTS[order.experiment].minutes)
    shared = [order for order in ordered if not EXPERIMENTS[order.experiment].alone]
    yield from _run(shared, jobs)
    yield from _run([order for order in ordered if order not in shared], 1)


def _run(orders: list[Order], jobs: int) -> Iterator[Run | Failed]:
    # A process for each: what one leaves behind slows the next one down.
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        begun: dict[Future[Run], Order] = {pool.submit(_make, order): order for order in orders}
        try:
            for future in as_completed(begun):
                error = future.exception()
                yield Failed(begun[future], f"{type(error).__name__}: {error}") if error else future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _make(order: Order) -> Run:
    about = about_here()
    gc.disable()  # what a run makes stays to its end, and holds no rings: to walk it again and again costs a third
    cpu, wall = time.process_time(), time.perf_counter()
    rows = EXPERIMENTS[order.experiment].run(seed=order.seed, **order.parameters)
    about["core_seconds"] = round(time.process_time() - cpu, 1)
    about["seconds"] = round(time.perf_counter() - wall, 1)
    about["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return Run(*order, about, rows)
