"""What came out, for programs (JSON lines) and for readers (a table)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from statistics import median
from typing import Any

from rich.table import Table

from benchmarks.catalogue import BENCHES, FLOOR, OURS, PEER

__all__ = ["json_lines", "table"]

Figures = dict[str, dict[str, list[float]]]


def json_lines(figures: Figures) -> Iterator[str]:
    """A line for each bench and system, and one for each ratio of ours to another's."""
    for bench in BENCHES:
        by_system = figures.get(bench.name, {})
        for system, values in by_system.items():
            yield _line(bench.name, system, bench.unit, values)
        for other in (FLOOR, PEER):
            if ratios := _ratios(by_system, other):
                yield _line(bench.name, f"{OURS} / {other}", "ratio", ratios)


def _line(bench: str, system: str, unit: str, values: list[float]) -> str:
    line: dict[str, Any] = {"bench": bench, "system": system, "unit": unit}
    line |= {"median": _rounded(median(values)), "min": _rounded(min(values)), "max": _rounded(max(values))}
    return json.dumps(line | {"runs": len(values)})


def _rounded(value: float) -> float:
    return round(value, 3) if value < 100 else round(value)


def _ratios(by_system: dict[str, list[float]], other: str) -> list[float]:
    """Ours to the other's, round by round."""
    pairs = zip(by_system.get(OURS, ()), by_system.get(other, ()), strict=False)
    return [ours / others for ours, others in pairs if others > 0]


def table(figures: Figures) -> Table:
    """Medians with their ranges, the ratios, and what was aimed at."""
    shown = Table(title="medians, and the lowest and the highest; a ratio is the median of those of the rounds")
    for heading in ("bench", "unit", "wanted"):
        shown.add_column(heading, no_wrap=True)
    for heading in (OURS, FLOOR, PEER, f"/ {FLOOR}", f"/ {PEER}"):
        shown.add_column(heading, no_wrap=True, justify="right")
    for bench in BENCHES:
        by_system = figures.get(bench.name)
        if by_system:
            shown.add_row(
                bench.name,
                bench.unit,
                bench.target,
                *(_cell(by_system.get(system, [])) for system in (OURS, FLOOR, PEER)),
                *(_ratio_cell(_ratios(by_system, other)) for other in (FLOOR, PEER)),
            )
    return shown


def _cell(values: list[float]) -> str:
    if not values:
        return "-"
    return f"{median(values):,.0f} [dim]({_short(min(values))}-{_short(max(values))})[/dim]"


def _short(value: float) -> str:
    """Three digits or so."""
    for limit, unit in ((1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.0f}"


def _ratio_cell(ratios: list[float]) -> str:
    return f"{median(ratios):.2f}" if ratios else ""
