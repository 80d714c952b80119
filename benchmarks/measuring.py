"""What every measurement needs: how much of everything, operations per second, memory."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

__all__ = ["FULL", "SMOKE", "Scale", "rate", "resident", "time_of"]

_STATM = Path("/proc/self/statm")


@dataclass(frozen=True)
class Scale:
    """How much is measured: for about `seconds`, or a `share` of what is counted."""

    seconds: float
    share: float

    def count(self, full: int) -> int:
        """So many of a thing that there are `full` of at the full scale."""
        return max(10, int(full * self.share))


FULL = Scale(0.5, 1.0)
SMOKE = Scale(0.002, 0.01)
"""Everything runs, and no figure means anything."""


def rate(run: Callable[[int], object], scale: Scale, batch: int) -> float:
    """Operations per second of `run(count)`, which does `count` of them; in batches, after one to warm up."""
    batch = scale.count(batch)
    run(batch)
    done = 0
    began = perf_counter()
    while True:
        run(batch)
        done += batch
        elapsed = perf_counter() - began
        if elapsed >= scale.seconds:
            return done / elapsed


def time_of(run: Callable[[], object]) -> float:
    """The seconds that it takes."""
    began = perf_counter()
    run()
    return perf_counter() - began


def resident() -> int:
    """The memory of this OS process in bytes; its peak where the system does not say what it is now."""
    if _STATM.exists():
        return int(_STATM.read_text().split()[1]) * resource.getpagesize()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
