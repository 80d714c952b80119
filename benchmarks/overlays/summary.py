"""The runs of an experiment together: what each seed gave of a figure, and that as text."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median
from typing import Any

from benchmarks.overlays.rows import Run

__all__ = ["Summary", "number", "spread"]


class Summary:
    """Of one experiment. Attributes: `runs`, by seed."""

    def __init__(self, runs: Iterable[Run]) -> None:
        self.runs = sorted(runs, key=lambda run: run.seed)
        self._values: dict[tuple[str, str, float | None], list[float]] = {}
        self._units: dict[str, str] = {}
        for run in self.runs:
            for row in run.rows:
                self._values.setdefault((row.system, row.figure, row.x), []).append(row.value)
                self._units[row.figure] = row.unit

    def values(self, figure: str, system: str = "", x: float | None = None) -> list[float]:
        """By seed; empty when there are none."""
        return self._values.get((system, figure, x), [])

    def xs(self, figure: str, system: str = "") -> list[float]:
        """Where on its axis the figure has values."""
        return sorted(x for name, other, x in self._values if (name, other) == (system, figure) and x is not None)

    def systems(self) -> list[str]:
        """In their order."""
        return list(dict.fromkeys(system for system, _, _ in self._values if system))

    def figures(self, system: str = "") -> list[str]:
        """Those of a single value, in their order."""
        return [figure for name, figure, x in self._values if name == system and x is None]

    def unit(self, figure: str) -> str:
        """What it is counted in."""
        return self._units.get(figure, "")

    def medians(self, figure: str, system: str = "") -> tuple[list[float], list[float], list[float], list[float]]:
        """Along the axis: where; and there the median, the lowest and the highest."""
        places = self.xs(figure, system)
        found = [self.values(figure, system, x) for x in places]
        return places, [median(each) for each in found], [min(each) for each in found], [max(each) for each in found]

    def about(self) -> list[str]:
        """What ran, where and when, in sentences."""
        seeds = [str(run.seed) for run in self.runs]
        shown = seeds[0] if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
        if len(seeds) > 1 and len(seeds) != self.runs[-1].seed - self.runs[0].seed + 1:
            shown = ", ".join(seeds)
        parameters = ", ".join(f"{key} {_plain(value)}" for key, value in self.runs[0].parameters.items())
        costs = [run.about["core_seconds"] for run in self.runs]
        peak = max(run.about["peak_mb"] for run in self.runs)
        return [
            f"{parameters}; seed{'s' * (len(seeds) > 1)} {shown}",
            f"{number(median(costs))} s of one core and {number(peak)} MB each",
            f"{self._distinct('date', 10)}, commit {self._distinct('commit')}",
            f"{self._distinct('machine')}, {self._distinct('python')}",
        ]

    def _distinct(self, key: str, length: int | None = None) -> str:
        return " and ".join(dict.fromkeys(str(run.about[key])[:length] for run in self.runs))


def spread(values: list[float]) -> str:
    """The median, and where seeds differ the lowest and the highest."""
    if not values:
        return "-"
    middle, low, high = number(median(values)), number(min(values)), number(max(values))
    return middle if low == high else f"{middle} ({low} to {high})"


def number(value: float) -> str:
    """So many digits as say something."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if 0 < abs(value) < 0.1:
        return f"{value:.2g}" if abs(value) >= 0.0001 else f"{value:.1e}"
    digits = 3 if abs(value) < 10 else 2
    return f"{value:.{digits}f}".rstrip("0").rstrip(".")


def _plain(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)
