"""Runs of the experiments, each in an OS process of its own: one after the other, or side by side."""

from __future__ import annotations

import gc
import resource
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Any, NamedTuple

from rich.console import Console

from benchmarks.overlays.catalogue import EXPERIMENTS
from benchmarks.overlays.machine import about_here
from benchmarks.overlays.rows import Run

__all__ = ["Failed", "Order", "make_all", "run_all"]


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


def make_all(orders: Iterable[Order], jobs: int, keep: Callable[[Run], None], progress: Console) -> bool:
    """Make the runs, keep each that is made, and say so; whether one failed."""
    failed = False
    for outcome in run_all(orders, jobs):
        if isinstance(outcome, Failed):
            failed = True
            progress.print(f"{outcome.order.experiment}, seed {outcome.order.seed}: {outcome.reason}", markup=False)
            continue
        keep(outcome)
        about = outcome.about
        progress.print(f"{outcome.experiment}, seed {outcome.seed}: {about['seconds']} s, {about['peak_mb']} MB")
    return failed


def _run(orders: list[Order], jobs: int) -> Iterator[Run | Failed]:
    with ThreadPoolExecutor(jobs) as threads:
        begun: dict[Future[Run], Order] = {threads.submit(_make_apart, order): order for order in orders}
        try:
            for future in as_completed(begun):
                error = future.exception()
                yield Failed(begun[future], f"{type(error).__name__}: {error}") if error else future.result()
        finally:
            threads.shutdown(cancel_futures=True)


def _make_apart(order: Order) -> Run:
    # In a process of its own: what one leaves behind slows the next one down, and one that is killed for its memory
    # is alone in that.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(_make, order).result()


def _make(order: Order) -> Run:
    about = about_here()
    gc.disable()  # what a run makes stays to its end, and holds no rings: to walk it again and again costs a third
    cpu, wall = _core_seconds(), time.perf_counter()
    rows = EXPERIMENTS[order.experiment].run(seed=order.seed, **order.parameters)
    about["core_seconds"] = round(_core_seconds() - cpu, 1)
    about["seconds"] = round(time.perf_counter() - wall, 1)
    about["peak_mb"] = max(use.ru_maxrss for use in _uses()) // 1024
    return Run(*order, about, rows)


def _uses() -> list[resource.struct_rusage]:
    """Of this OS process, and of those that it has started and seen the end of."""
    return [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]


def _core_seconds() -> float:
    return sum(use.ru_utime + use.ru_stime for use in _uses())
