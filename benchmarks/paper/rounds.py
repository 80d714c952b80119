"""Runs everything: repetition by repetition, figure by figure, in each the systems one after the other.

So what else the machine does meets all systems alike. The two OS processes of a system are started anew for each
figure and repetition, behind the script that delays loopback, and measure all cells of it. When one of these leaves
something under way, or fails, the cells after it get OS processes of their own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.children import behind, run_command
from benchmarks.paper.catalogue import OURS, Figure, System
from benchmarks.paper.records import Cell, Measurement, Order, Outcome

__all__ = ["Plan", "flaw", "run_child", "run_rounds"]

START_LIMIT = 30.0
"""Seconds for starting two OS processes, beside what their cells may take."""

Child = Callable[["Plan", float, Order], tuple[list[Outcome], str]]


class Plan(NamedTuple):
    """What the command was asked for."""

    figures: tuple[Figure, ...]
    repetitions: int
    seconds: float
    limit: float
    wan: Path | None  # the script that delays loopback; without it everything is plain loopback
    code: str  # the folder of the compiled paper.erl; empty without Erlang


class Missing(NamedTuple):
    """A cell that is left out, and why."""

    figure: int
    repetition: int
    system: str
    cell: Cell
    reason: str
    failed: bool  # rather than too slow

    def __str__(self) -> str:
        where = f"figure {self.figure}, repetition {self.repetition}, {self.system}"
        return f"{where}, {self.cell.size} bytes, {self.cell.actors} actors: {self.reason}"


def run_rounds(plan: Plan, say: Callable[[str], None], child: Child | None = None) -> Iterator[Measurement | Missing]:
    """Everything that is planned; `say` is told what is going on."""
    for repetition in range(1, plan.repetitions + 1):
        for figure in plan.figures:
            for system in _turns(figure.systems, repetition):
                if system.transport == OURS or plan.code:
                    say(f"repetition {repetition} of {plan.repetitions}, figure {figure.number}: {system.name}")
                    yield from _measure(plan, figure, system, repetition, child or run_child)


def _turns(systems: tuple[System, ...], repetition: int) -> Iterable[System]:
    """Each repetition begins with another one."""
    first = (repetition - 1) % len(systems)
    return systems[first:] + systems[:first]


def _measure(
    plan: Plan, figure: Figure, system: System, repetition: int, child: Child
) -> Iterator[Measurement | Missing]:
    """All cells of a system in a figure, with as many pairs of OS processes as that takes."""
    round_trip = figure.round_trip if plan.wan is not None else 0.0
    left = figure.cells
    while left:
        order = Order(
            system.transport, system.channels, system.parallelism, system.affinity, figure.workload, left,
            plan.seconds, plan.limit, plan.code,
        )  # fmt: skip
        outcomes, error = child(plan, round_trip, order)
        for cell, outcome in zip(left, outcomes, strict=False):
            if reason := flaw(figure, outcome):
                yield Missing(figure.number, repetition, system.name, cell, reason, failed=False)
                continue
            yield Measurement(
                figure.number, repetition, system.name, figure.workload, system.transport, system.channels,
                system.parallelism, system.affinity, round_trip, outcome,
            )  # fmt: skip
        left = left[len(outcomes) :]
        if left and (error or not outcomes):
            yield Missing(figure.number, repetition, system.name, left[0], error or "nothing came of it", failed=True)
            left = left[1:]
        for cell in left if outcomes and outcomes[-1].cut else ():
            if cell.size == outcomes[-1].size:  # with yet more actors it would take as long, and tell as little
                left = left[1:]
                yield Missing(figure.number, repetition, system.name, cell, "fewer actors were cut off", failed=False)


def flaw(figure: Figure, outcome: Outcome) -> str:
    """Why an outcome is left out; empty when it is not.

    Requests per second up to the limit are what they are. The median of those latencies that were over by then would
    flatter a system whose longer ones were not.
    """
    seconds = outcome.time_us / 1e6
    if not outcome.messages:
        return f"not one request was over after {seconds:.1f} s"
    if outcome.cut and figure.is_latency:
        return f"not all requests were over after {seconds:.1f} s: {outcome.messages} were"
    return ""


def run_child(plan: Plan, round_trip: float, order: Order) -> tuple[list[Outcome], str]:
    """Measure in an OS process of its own: the cells that came out, and what went wrong, if anything did."""
    command = [sys.executable, "-m", "benchmarks.paper", "--measure", order.to_json()]
    # A cell has a warm-up before it, and answers to wait for behind it, each with the same limit.
    limit = START_LIMIT + len(order.cells) * (1.2 * order.seconds + 3 * order.limit)
    done = run_command(behind(plan.wan, round_trip, command), limit)
    found = [outcome for line in done.stdout.splitlines() if (outcome := Outcome.from_line(line)) is not None]
    if not done.returncode:
        return found, ""
    return found, (done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"])[0]
