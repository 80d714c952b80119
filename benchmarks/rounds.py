"""Runs the measurements: round by round, in each the systems one after the other, each in a fresh OS process.

So what else the machine does meets all systems alike, and a ratio is taken within a round, where it is the same.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import NamedTuple

from benchmarks.catalogue import FLOOR, OURS, PEER, groups, measured_by, missing

__all__ = ["Outcome", "run_rounds"]

TIME_LIMIT = 180.0
"""Seconds for one group of one system."""


class Outcome(NamedTuple):
    """What came out: figures by bench and system, one a round, and what went wrong."""

    figures: dict[str, dict[str, list[float]]]
    failures: list[str]


def run_rounds(wanted: set[str], rounds: int, smoke: bool, say: Callable[[str], None]) -> Outcome:
    """Measure the wanted benches so many times; `say` is told what is going on."""
    absent = missing()
    for system in absent:
        say(f"{system} is not installed, and is left out: pip install {system}")
    outcome = Outcome({}, [])
    for group, names in _shares(groups(wanted), smoke).items():
        for number in range(1, rounds + 1):
            for system in (OURS, FLOOR, PEER):
                own = [] if system in absent else measured_by(system, names)
                if own:
                    say(f"{group}, round {number} of {rounds}: {system}")
                    _measure(outcome, system, own, smoke)
    return outcome


def _shares(found: dict[str, list[str]], smoke: bool) -> dict[str, list[str]]:
    """What is measured in one OS process."""
    if not smoke:
        return found
    # Figures mean nothing, and a process takes a second to start. Memory first, as it is that of the OS process.
    return {"everything": [name for group in sorted(found, key="memory".__ne__) for name in found[group]]}


def _measure(outcome: Outcome, system: str, names: list[str], smoke: bool) -> None:
    command = [sys.executable, "-m", "benchmarks", "--measure", system, *(["--smoke"] if smoke else []), *names]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=TIME_LIMIT, check=True)
        results: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    except (subprocess.SubprocessError, ValueError, IndexError) as error:
        outcome.failures.append(f"{system}, {', '.join(names)}: {error}")
        return
    for name, figure in results.items():
        outcome.figures.setdefault(name, {}).setdefault(system, []).append(figure)
