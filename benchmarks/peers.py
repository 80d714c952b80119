"""Python's actor systems in `benchmarks.distribution`: each a file of the same shape, and its own interpreter.

In their folder are the harness, `_common.py`, and `bench_NAME.py` for each; such a file prints one line of JSON. Their
metrics are taken for ours where the same is measured. What a peer did not measure, or refused, is reported.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.children import run_command
from benchmarks.systems import ROOT, Benches, Result, Run

__all__ = ["OURS_AS_A_PEER", "Metric", "Peer", "groups_of", "our_file", "result_of", "run_peer"]

OURS_AS_A_PEER = "partisan_actors, peers' harness"
SECONDS_EACH = 100
"""For one group of a peer, whose own harness ends it after 90."""
END = 400
"""So much of what a peer said last is reported."""


class Metric(NamedTuple):
    """What one of a peer's metrics is here, and the group of the file that measures it."""

    group: str
    bench: str
    name: str


METRICS = {
    "remote_call_c1_rps": Metric("remote_call", "call_1", "per_s"),
    "remote_call_c16_rps": Metric("remote_call", "call_16", "per_s"),
    "remote_call_c128_rps": Metric("remote_call", "call_128", "per_s"),
    "remote_tell_100_mps": Metric("remote_tell", "cast_100B", "per_s"),
    "remote_tell_1k_mps": Metric("remote_tell", "cast_1KiB", "per_s"),
    "remote_tell_1m_MBps": Metric("remote_tell", "bulk_1", "mb_per_s"),
    "mixed_p50_us": Metric("mixed", "mixed_one_connection", "p50_us"),
    "mixed_p99_us": Metric("mixed", "mixed_one_connection", "p99_us"),
    "mixed_bulk_MBps": Metric("mixed", "mixed_one_connection", "bulk_mb_per_s"),
    # Only ours has channels.
    "mixed_channels_p50_us": Metric("mixed", "mixed_channels", "p50_us"),
    "mixed_channels_p99_us": Metric("mixed", "mixed_channels", "p99_us"),
    "mixed_channels_bulk_MBps": Metric("mixed", "mixed_channels", "bulk_mb_per_s"),
}


class Peer(NamedTuple):
    """A peer's file, who runs it, and what it is called until it says its version."""

    name: str
    file: Path
    python: str
    path: tuple[Path, ...] = ()  # where the file finds what does not lie beside it


def our_file(folder: Path, python: str) -> Peer:
    """Ours, of the same shape, with the harness of that folder."""
    return Peer(OURS_AS_A_PEER, ROOT / "benchmarks" / "bench_partisan_actors.py", python, (folder.resolve(), ROOT))


def groups_of(names: list[str]) -> list[str]:
    """The groups of a peer's file in which these benches are measured."""
    return list(dict.fromkeys(metric.group for metric in METRICS.values() if metric.bench in names))


def run_peer(peer: Peer, run: Run) -> Result:
    """Let it measure itself, once."""
    groups = groups_of(run.names)
    if not groups:
        return Result({}, [])
    command = [peer.python, str(peer.file), "--runs", "1", "--only", ",".join(groups)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["BENCH_T"] = str(run.seconds)
    if peer.path:
        environment["PYTHONPATH"] = os.pathsep.join(map(str, peer.path))
    done = run_command(run.behind(command), SECONDS_EACH * len(groups), environment)
    return result_of(peer.name, done.stdout, done.stderr, run.names)


def result_of(name: str, output: str, errors: str, names: list[str]) -> Result:
    """What a peer's output says of these benches, and what it does not."""
    said = _last_object(output)
    if said is None:
        return Result({}, [f"{name} printed no figures: {_end(errors or output)}"])
    benches: Benches = {}
    failures = [f"{name}, {group}: {_end(error[-1])}" for group, error in said.get("errors", {}).items()]
    for metric, known in METRICS.items():
        value = said.get(metric)
        if value is None or known.bench not in names:
            continue
        if not isinstance(value, int | float) or value <= 0:
            failures.append(f"{name}, {metric}: {_end(str(value))}")
            continue
        benches.setdefault(known.bench, {})[known.name] = float(value)
        if lost := said.get(f"{metric.rpartition('_')[0]}_lost_fraction"):
            failures.append(f"{name}, {metric}: {lost:.1%} of the messages were lost, the figure is of the others")
    return Result(benches, failures, str(said.get("version", "")))


def _last_object(output: str) -> dict[str, Any] | None:
    """The last line that is an object of JSON; systems may log to standard output, too."""
    for line in reversed(output.splitlines()):
        try:
            said = json.loads(line)
        except ValueError:
            continue
        if isinstance(said, dict):
            return said
    return None


def _end(text: str) -> str:
    text = " ".join(text.split())
    return f"... {text[-END:]}" if len(text) > END else text or "nothing was said"
