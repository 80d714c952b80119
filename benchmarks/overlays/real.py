"""Clusters over real TCP: what `python -m benchmarks.scale` says, as rows."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.children import run_command
from benchmarks.overlays.rows import Row

__all__ = ["rows", "rows_of"]

_LIMIT = 3600.0
_KILL = "killed at once"
_RESTED = " after a rest"

Line = dict[str, Any]


def rows(seed: int, topology: str, nodes: int, processes: int, rest: float, idle: float) -> list[Row]:
    """Run it, in OS processes of its own."""
    command = [sys.executable, "-m", "benchmarks.scale", topology, "--nodes", str(nodes), "--processes", str(processes)]
    done = run_command([*command, "--rest", str(rest), "--idle", str(idle), "--seed", str(seed)], _LIMIT)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()[-500:]}")
    return list(rows_of([json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]))


def rows_of(lines: Sequence[Line]) -> Iterator[Row]:
    """Its figures; what took longer than was waited for is missing. Those after the kill say so in their names."""
    by_name = {line["figure"]: line for line in lines}
    yield from _number("all have joined", by_name["joined"], "seconds", "s")
    yield from _number("joins that failed", by_name["joined"], "failed")
    yield from _number("and each knows all, after", by_name["every node knows all"], "seconds", "s")
    kill = next(index for index, line in enumerate(lines) if line["figure"] == _KILL)
    yield from _state(lines[:kill], "")
    yield from _talk(lines[:kill], "")
    yield from _number("idle, of one core for a node", by_name["idle"], "microseconds_per_node_and_second", "µs/s")
    yield from _number("idle, cores in all", by_name["idle"], "cores")
    yield from _number("nodes killed at once", by_name[_KILL], "nodes")
    yield from _number("and the others know, after", by_name["the others know that"], "seconds", "s")
    after, rested = (
        [line for line in lines[kill:] if line["figure"].endswith(_RESTED) is rests] for rests in (False, True)
    )
    yield from _talk(after, " after the kill")
    yield from _state(after, " after the kill")
    yield from _talk(rested, ", and after a minute")


def _number(figure: str, line: Line, key: str, unit: str = "") -> Iterator[Row]:
    if line[key] is not None:
        yield Row(figure, line[key], unit)


def _state(lines: Sequence[Line], when: str) -> Iterator[Row]:
    by_name = {line["figure"]: line for line in lines}
    links, sessions = by_name["links"], by_name["sessions"]
    for degree, count in links["of_a_node"].items():
        yield Row(f"nodes with so many links{when}", count, "", x=int(degree))
    yield from _number(f"one-way links{when}", links, "one_way")
    yield from _number(f"sessions of a node{when}", sessions, "of_a_node")
    yield from _number(f"memory of a node{when}", by_name["memory"], "KB_per_node", "KB")
    yield from _number(f"processor time of a node so far{when}", by_name["processor time"], "seconds_per_node", "s")
    yield from _number(f"most descriptors of an OS process{when}", by_name["descriptors"], "most_of_a_process")


def _talk(lines: Sequence[Line], when: str) -> Iterator[Row]:
    calls = next(line for line in lines if line["figure"].startswith("calls"))
    yield Row(f"calls answered{when}", 100 * calls["answered"] / calls["of"], "%")
    yield from _number(f"their median{when}", calls, "p50_s", "s")
    yield from _number(f"and the slowest{when}", calls, "most_s", "s")
    broadcasts = [line for line in lines if line["figure"].startswith("broadcast")]
    reached = min(line["reached"] / line["of"] for line in broadcasts)
    yield Row(f"reached once by each of {len(broadcasts)} broadcasts, at the least{when}", 100 * reached, "%")
    yield Row(f"within, at the most{when}", max(line["seconds"] for line in broadcasts), "s")
