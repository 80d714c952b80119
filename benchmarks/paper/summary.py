"""What is made of the measurements: a value for each cell, ratios of ours to Erlang's, and what bounds them."""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Iterable
from typing import NamedTuple

from benchmarks.paper.catalogue import ERLANG, OURS, UNTUNED, Figure, System
from benchmarks.paper.records import Cell, Measurement

__all__ = [
    "Best",
    "Results",
    "Use",
    "Value",
    "best_ratios",
    "bound",
    "group",
    "rate_ratio",
    "summarize",
    "use_of",
    "value_at",
    "value_of",
]

FULL = 0.85
"""The share of what there is above which something is called the bound."""

_SENT_FAR = {"micro": 1.0, "echo": 1.0, "kvs": 0.3}
_SENT_BACK = {"micro": 0.0, "echo": 1.0, "kvs": 2.7}
"""Values per request each way. Three vnodes answer nine requests of ten by a value, and get one in the tenth."""


class Value(NamedTuple):
    """What a figure shows of a cell of a system: milliseconds, or requests per second."""

    center: float
    low: float
    high: float
    cut: bool  # a repetition was cut off: what was under way then is not counted, so that this is too low


Results = dict[tuple[int, str, Cell], list[Measurement]]
"""By figure, name of the system, and cell: one for each repetition."""


def group(measurements: Iterable[Measurement]) -> Results:
    """In the order in which they were measured."""
    results: Results = {}
    for measurement in measurements:
        cell = Cell(measurement.outcome.size, measurement.outcome.actors)
        results.setdefault((measurement.figure, measurement.system, cell), []).append(measurement)
    return results


def value_of(measurement: Measurement) -> float:
    """Of one repetition: the median latency in milliseconds, or requests per second."""
    outcome = measurement.outcome
    if measurement.workload == "micro":
        return outcome.median_us / 1e3
    return outcome.messages * 1e6 / outcome.time_us


def summarize(figure: Figure, values: list[float], cut: bool = False) -> Value:
    """Of all repetitions: the median and the range, or, as in the paper, the mean and its standard error."""
    if figure.is_latency:
        return Value(statistics.median(values), min(values), max(values), cut)
    mean = statistics.mean(values)
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return Value(mean, mean - error, mean + error, cut)


class Best(NamedTuple):
    """The cell of a figure in which the best of ours is furthest ahead of another system."""

    ratio: float
    least: float  # the ratio in the cell in which it is least so
    cell: Cell
    ours: System
    other: System


def value_at(results: Results, figure: Figure, system: System, cell: Cell) -> Value | None:
    """What the figure shows there; None where nothing was measured."""
    found = results.get((figure.number, system.name, cell))
    if not found:
        return None
    cut = any(measurement.outcome.cut for measurement in found)
    return summarize(figure, [value_of(measurement) for measurement in found], cut)


def best_of_ours(results: Results, figure: Figure, cell: Cell) -> tuple[float, System] | None:
    """The best value of our configurations in a cell."""
    values = [
        (value.center, system)
        for system in figure.systems
        if system.is_ours and (value := value_at(results, figure, system, cell)) is not None
    ]
    if not values:
        return None
    choose = min if figure.is_latency else max
    return choose(values, key=lambda pair: pair[0])


def best_ratios(results: Results, figure: Figure) -> list[Best]:
    """Against Erlang as it is today, and against one untuned connection; of cells in which that was not cut off."""
    found = []
    for other in (ERLANG, UNTUNED):
        ratios = []
        for cell in figure.cells:
            ours, others = best_of_ours(results, figure, cell), value_at(results, figure, other, cell)
            if ours is None or others is None or others.cut or min(ours[0], others.center) <= 0:
                continue
            ratio = others.center / ours[0] if figure.is_latency else ours[0] / others.center
            ratios.append(Best(ratio, ratio, cell, ours[1], other))
        if ratios:
            most = max(ratios, key=lambda best: best.ratio)
            found.append(most._replace(least=min(best.ratio for best in ratios)))
    return found


def rate_ratio(ours: list[Measurement], other: list[Measurement]) -> float:
    """Of the requests that were completed per second, whatever the figure shows.

    Where a median latency is far better and this is not, the gain is that some actors pass those that wait.
    """
    return _rate(ours) / _rate(other)


def _rate(measurements: list[Measurement]) -> float:
    outcomes = [measurement.outcome for measurement in measurements]
    return sum(outcome.messages for outcome in outcomes) / sum(outcome.time_us for outcome in outcomes)


class Use(NamedTuple):
    """What a cell of a system used, over all repetitions."""

    near: float  # cores of the OS process that asks
    far: float  # and of the one that answers
    busy: float  # cores of everything on the machine
    in_flight: float  # bytes that travelled the busier way in each round trip
    waiting: float  # round trips that a request took


def use_of(measurements: list[Measurement]) -> Use:
    """Read off the repetitions together."""
    outcomes = [measurement.outcome for measurement in measurements]
    first = measurements[0]
    time = sum(outcome.time_us for outcome in outcomes)
    requests = sum(outcome.messages for outcome in outcomes)
    near, far, busy = (
        sum(getattr(outcome, name) for outcome in outcomes) / time for name in ("near_cpu_us", "far_cpu_us", "busy_us")
    )
    values = max(_SENT_FAR[first.workload], _SENT_BACK[first.workload])
    round_trip = first.round_trip * 1e3
    in_flight = values * outcomes[0].size * requests * round_trip / time
    each = outcomes[0].actors * time / requests
    return Use(near, far, busy, in_flight, each / round_trip if round_trip else math.inf)


def bound(measurements: list[Measurement], cores: int | None = None) -> str:
    """What bounds a cell, as far as the measurements tell.

    The others that use cores are the script that delays packets, and whatever else runs. A virtual machine of Erlang
    spends some of its CPU time on waiting for work.
    """
    use, system = use_of(measurements), measurements[0]
    cores = cores or os.cpu_count() or 1
    others = max(0.0, use.busy - use.near - use.far)
    used = f"of {cores} cores {use.near:.2f} near, {use.far:.2f} far, {others:.2f} others"
    connections = system.parallelism
    shares = f"{use.in_flight / 1e6:.2f} MB a round trip"
    if connections > 1:
        shares += f", {use.in_flight / connections / 1e6:.2f} MB on each of {connections} connections"
    if use.waiting < 1.5:
        reason = "the round trip"
    elif system.transport == OURS and max(use.near, use.far) > FULL:
        reason = "one core: a node is one thread"
    elif use.busy > FULL * cores:
        reason = "the machine's cores"
    elif system.round_trip:
        reason = "what may be in flight"
    else:
        reason = "nothing that was measured"
    return f"{reason} ({shares}; {used})" if system.round_trip else f"{reason} ({used})"
