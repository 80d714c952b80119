"""What came out of the experiments, for programs (JSON lines) and for readers (a table with the paper's values)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from statistics import median
from typing import NamedTuple

from rich.table import Table

from benchmarks.overlays.hyparview import Failure, Shape
from benchmarks.overlays.xbot import CostRun

__all__ = ["Figure", "hyparview_figures", "json_lines", "table", "xbot_figures"]


class Figure(NamedTuple):
    """One figure, a value for each seed."""

    experiment: str
    name: str
    unit: str
    paper: str
    wanted: str
    values: list[float]


# Figure 2 of the paper, as its shape is remembered; see references: not read from the plot.
_PAPER_RELIABILITY = dict.fromkeys((10, 20, 30, 40, 50, 60, 70, 80, 90), "~100") | {95: "~90"}
_WANTED_ONE_PASS = dict.fromkeys((10, 20, 30, 40, 50, 60, 70, 80), "100") | {90: ">= 99.5"}
_WANTED_TWO_PASSES = {95: ">= 90"}


def hyparview_figures(runs: list[tuple[Shape, list[Failure]]]) -> list[Figure]:
    """The table 1 of the paper, and the failure sweep."""
    shapes = [shape for shape, _ in runs]
    rows = (
        ("mean path", "hops", "6.385", "6.38 ± 0.05", [shape.path for shape in shapes]),
        ("hops to the last node", "hops", "9.0", "", [shape.hops for shape in shapes]),
        ("clustering", "", "0.00092", "<= 0.0025", [shape.clustering for shape in shapes]),
        ("nodes with a full active view", "%", "~100", ">= 99.5", [shape.full for shape in shapes]),
        ("one-way entries", "", "0", "0", [float(shape.one_way) for shape in shapes]),
        ("parts", "", "1", "1", [float(shape.parts) for shape in shapes]),
        ("passive view", "names", "30", "", [shape.passive for shape in shapes]),
    )
    figures = [Figure("hyparview", name, unit, paper, wanted, values) for name, unit, paper, wanted, values in rows]
    return [*figures, *_failure_figures("hyparview", [failures for _, failures in runs])]


def xbot_figures(runs: list[dict[str, CostRun]]) -> list[Figure]:
    """X-BOT beside HyParView."""
    ratios = [100 * run["xbot"].costs[-1] / run["hyparview"].costs[-1] for run in runs]
    figures = [Figure("xbot", "cost of all links, of HyParView's", "%", "< 50", "< 50", ratios)]
    for name in ("hyparview", "xbot"):
        ends = [run[name] for run in runs]
        figures += [
            Figure(name, "cost of all links", "s", "", "", [end.costs[-1] for end in ends]),
            Figure(name, "mean path", "hops", "", "", [end.path for end in ends]),
            Figure(name, "clustering", "", "", "", [end.clustering for end in ends]),
            Figure(name, "one-way entries", "", "0", "0", [end.one_way for end in ends]),
            Figure(name, "parts", "", "1", "1", [end.parts for end in ends]),
            *_failure_figures(name, [end.failures for end in ends]),
        ]
    return figures


def _failure_figures(experiment: str, runs: list[list[Failure]]) -> Iterable[Figure]:
    for same in zip(*runs, strict=True):
        share = same[0].share
        paper = _PAPER_RELIABILITY.get(share, "")
        rows = (
            ("no repair", "%", paper if share <= 30 else "", "", [failure.unrepaired for failure in same]),
            ("one pass", "%", paper, _WANTED_ONE_PASS.get(share, ""), [failure.one_pass for failure in same]),
            ("two passes", "%", paper, _WANTED_TWO_PASSES.get(share, ""), [failure.two_passes for failure in same]),
            ("with the cluster view", "rounds", "", "<= 5", [failure.rounds for failure in same]),
        )
        for name, unit, published, wanted, values in rows:
            yield Figure(experiment, f"{share} % die: {name}", unit, published, wanted, [float(v) for v in values])


def json_lines(figures: Iterable[Figure]) -> Iterator[str]:
    """A line for each figure."""
    for figure in figures:
        line = figure._asdict() | {"values": [round(value, 5) for value in figure.values]}
        yield json.dumps(line | {"median": round(median(figure.values), 5)}, ensure_ascii=False)


def table(figures: Iterable[Figure]) -> Table:
    """Medians with their ranges, and beside them the paper's value and what was aimed at."""
    shown = Table(title="medians of the seeds, and the lowest and the highest")
    for heading in ("experiment", "figure", "unit"):
        shown.add_column(heading, no_wrap=True)
    for heading in ("paper", "wanted", "ours"):
        shown.add_column(heading, no_wrap=True, justify="right")
    for figure in figures:
        low, high = min(figure.values), max(figure.values)
        ours = f"{_short(median(figure.values))} [dim]({_short(low)} to {_short(high)})[/dim]"
        shown.add_row(figure.experiment, figure.name, figure.unit, figure.paper, figure.wanted, ours)
    return shown


def _short(value: float) -> str:
    return f"{value:.5f}" if 0 < value < 0.1 else f"{value:.2f}".rstrip("0").rstrip(".")
