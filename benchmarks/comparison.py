"""What came out of `benchmarks.distribution`, for programs (JSON lines) and for readers (tables).

A ratio is taken within rounds: of each round's two values, so that what the machine did meanwhile met both. Shown is
the median of these, and where that is a row or a line of its own, their range.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from typing import NamedTuple

from rich.table import Table

__all__ = [
    "COMPARED_WITH",
    "Comparison",
    "Figures",
    "best_of",
    "json_lines",
    "others_of",
    "peers_table",
    "ratios_table",
    "systems_table",
]

OURS = "partisan_actors"

Values = dict[int, float]
"""By round."""

Figures = dict[tuple[str, str, str, str], Values]
"""By network, system, bench and metric."""


class Comparison(NamedTuple):
    """Our figures of one bench, and the bench of a system that they are compared with."""

    bench: str
    metrics: tuple[str, ...]
    system: str
    other: str


COMPARED_WITH = (
    Comparison("call_1", ("per_s",), "socket", "call_1"),
    Comparison("call_16", ("p50_us",), "socket", "call_1"),
    Comparison("call_128", ("p50_us",), "socket", "call_1"),
    Comparison("bulk_16_on_16", ("mb_per_s",), OURS, "bulk_1"),
    Comparison("bulk_16_on_16", ("mb_per_s",), "erlang", "bulk_16"),
    Comparison("bulk_128_on_16", ("mb_per_s",), OURS, "bulk_1"),
    Comparison("bulk_128_on_16", ("mb_per_s",), "erlang", "bulk_128"),
    Comparison("mixed_channels", ("p50_us", "p99_us"), "erlang", "mixed_one_connection"),
    Comparison("mixed_on_16", ("p50_us", "p99_us"), "erlang", "mixed_one_connection"),
)
"""What is compared beyond the benches of one name."""


def others_of(system: str, benches: list[str]) -> list[str]:
    """The benches of a system that these of ours are compared with, but for those of the same name."""
    return [one.other for one in COMPARED_WITH if one.system == system and one.bench in benches]


def json_lines(figures: Figures, versions: dict[str, str]) -> Iterator[str]:
    """A line for each figure, then one for each ratio."""
    for (network, system, bench, metric), values in figures.items():
        line: dict[str, object] = {"network": network, "system": system, "bench": bench, "metric": metric}
        if system in versions:
            line["version"] = versions[system]
        yield json.dumps(line | _summary(values))
    yield from _ratio_lines(figures)


def systems_table(figures: Figures) -> Table:
    """Ours beside Erlang and a bare socket: medians, and the lowest and the highest."""
    made = Table("network", "bench", "metric", OURS, "erlang", "socket", "/ erlang", "/ socket")
    for network, bench, metric in _rows(figures, (OURS, "erlang", "socket")):
        values = {system: figures.get((network, system, bench, metric), {}) for system in (OURS, "erlang", "socket")}
        ratios = [_median(_ratios(values[OURS], values[other])) for other in ("erlang", "socket")]
        made.add_row(network, bench, metric, *map(_cell, values.values()), *ratios)
    return made


def ratios_table(figures: Figures) -> Table:
    """Ours divided by what `COMPARED_WITH` says; no rows where one of the two was not measured."""
    made = Table("network", "bench", "metric", "compared with", "ratio: median (lowest-highest)")
    for network, one, metric, ratios in _compared(figures):
        made.add_row(network, one.bench, metric, f"{one.system} {one.other}", _cell(ratios))
    return made


def peers_table(figures: Figures, as_a_peer: str, peers: list[str], versions: dict[str, str]) -> Table:
    """Ours, measured as everywhere and by the peers' own harness, and the peers, each beside the best of these."""
    made = Table("network", "bench", "metric", "system", "median (lowest-highest)", "/ best peer")
    for network, bench, metric in _rows(figures, (as_a_peer, *peers)):
        values = {system: figures.get((network, system, bench, metric), {}) for system in (OURS, as_a_peer, *peers)}
        best = values.get(best_of(metric, {peer: values[peer] for peer in peers if values[peer]}), {})
        made.add_section()
        place = (network, bench, metric)
        for system, own in values.items():
            if own or best:  # of what only ours measures there are no empty rows
                name = f"{system} {versions.get(system, '')}".strip()
                made.add_row(*place, name, _cell(own), _median(_ratios(own, best)))
                place = ("", "", "")
    return made


def best_of(metric: str, values: dict[str, Values]) -> str:
    """The system with the best median; empty when there is none. Of a latency the lowest is best, else the highest."""
    choose = min if metric.endswith("_us") else max
    return choose(values, key=lambda system: statistics.median(values[system].values()), default="")


def _ratio_lines(figures: Figures) -> Iterator[str]:
    """A line for each figure of ours that is compared with one of another bench, or of a bare socket."""
    for network, one, metric, ratios in _compared(figures):
        line = {"network": network, "system": OURS, "bench": one.bench, "metric": "ratio", "of": metric}
        yield json.dumps(line | {"to": f"{one.system} {one.other}"} | _summary(ratios))


def _compared(figures: Figures) -> Iterator[tuple[str, Comparison, str, Values]]:
    """Network, comparison, metric and ratios of each that was measured."""
    for network in dict.fromkeys(key[0] for key in figures):
        for one in COMPARED_WITH:
            for metric in one.metrics:
                ours = figures.get((network, OURS, one.bench, metric), {})
                ratios = _ratios(ours, figures.get((network, one.system, one.other, metric), {}))
                if ratios:
                    yield network, one, metric, ratios


def _rows(figures: Figures, systems: tuple[str, ...]) -> list[tuple[str, str, str]]:
    """What any of these measured, in the order in which it was."""
    return list(dict.fromkeys((key[0], key[2], key[3]) for key in figures if key[1] in systems))


def _summary(values: Values) -> dict[str, object]:
    numbers = values.values()
    return {"runs": len(numbers), "median": statistics.median(numbers), "min": min(numbers), "max": max(numbers)}


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:,.2f}"


def _cell(values: Values) -> str:
    if not values:
        return "-"
    numbers = values.values()
    return f"{_shown(statistics.median(numbers))} ({_shown(min(numbers))}-{_shown(max(numbers))})"


def _ratios(ours: Values, others: Values) -> Values:
    """Of the rounds that both measured."""
    return {number: value / others[number] for number, value in ours.items() if others.get(number)}


def _median(ratios: Values) -> str:
    return f"{statistics.median(ratios.values()):.2f}" if ratios else ""
