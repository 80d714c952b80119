"""What came out of `benchmarks.distribution`, for programs (JSON lines) and for readers (tables)."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator

from rich.table import Table

__all__ = ["Figures", "best_of", "json_lines", "peers_table", "systems_table"]

OURS = "partisan_actors"

Figures = dict[tuple[str, str, str, str], list[float]]
"""By network, system, bench and metric: one value for each round."""


def json_lines(figures: Figures, versions: dict[str, str]) -> Iterator[str]:
    """A line for each figure."""
    for (network, system, bench, metric), values in figures.items():
        line: dict[str, object] = {"network": network, "system": system, "bench": bench, "metric": metric}
        if system in versions:
            line["version"] = versions[system]
        line |= {"runs": len(values), "median": statistics.median(values), "min": min(values), "max": max(values)}
        yield json.dumps(line)


def systems_table(figures: Figures) -> Table:
    """Ours beside Erlang and a bare socket: medians, and the lowest and the highest."""
    made = Table("network", "bench", "metric", OURS, "erlang", "socket", "/ erlang", "/ socket")
    for network, bench, metric in _rows(figures, (OURS, "erlang", "socket")):
        values = {system: figures.get((network, system, bench, metric), []) for system in (OURS, "erlang", "socket")}
        ratios = [_ratio(values[OURS], values[other]) for other in ("erlang", "socket")]
        made.add_row(network, bench, metric, *map(_cell, values.values()), *ratios)
    return made


def peers_table(figures: Figures, as_a_peer: str, peers: list[str], versions: dict[str, str]) -> Table:
    """Ours, measured as everywhere and by the peers' own harness, and the peers, each beside the best of these."""
    made = Table("network", "bench", "metric", "system", "median (lowest-highest)", "/ best peer")
    for network, bench, metric in _rows(figures, (as_a_peer, *peers)):
        values = {system: figures.get((network, system, bench, metric), []) for system in (OURS, as_a_peer, *peers)}
        best = values.get(best_of(metric, {peer: values[peer] for peer in peers if values[peer]}), [])
        made.add_section()
        place = (network, bench, metric)
        for system, own in values.items():
            if own or best:  # of what only ours measures there are no empty rows
                made.add_row(*place, f"{system} {versions.get(system, '')}".strip(), _cell(own), _ratio(own, best))
                place = ("", "", "")
    return made


def best_of(metric: str, values: dict[str, list[float]]) -> str:
    """The system with the best median; empty when there is none. Of a latency the lowest is best, else the highest."""
    choose = min if metric.endswith("_us") else max
    return choose(values, key=lambda system: statistics.median(values[system]), default="")


def _rows(figures: Figures, systems: tuple[str, ...]) -> list[tuple[str, str, str]]:
    """What any of these measured, in the order in which it was."""
    return list(dict.fromkeys((key[0], key[2], key[3]) for key in figures if key[1] in systems))


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:,.2f}"


def _cell(values: list[float]) -> str:
    if not values:
        return "-"
    return f"{_shown(statistics.median(values))} ({_shown(min(values))}-{_shown(max(values))})"


def _ratio(ours: list[float], others: list[float]) -> str:
    """Of the medians."""
    if not ours or not others or not statistics.median(others):
        return ""
    return f"{statistics.median(ours) / statistics.median(others):.2f}"
