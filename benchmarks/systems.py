"""How `benchmarks.distribution` has each system measured: in an OS process of its own, delayed where that is asked for.

What could not be measured is said, and left out.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from benchmarks.children import behind, run_command
from benchmarks.comparison import others_of

__all__ = ["ERLANG_NAMES", "ROOT", "Benches", "Result", "Run", "run_erlang", "run_floor", "run_ours"]

ROOT = Path(__file__).resolve().parent.parent
Benches = dict[str, dict[str, float]]
"""By bench and metric."""

ERLANG_NAMES = {
    "gs_call C=1": "call_1",
    "gs_call C=16": "call_16",
    "gs_call C=128": "call_128",
    "cast S=100 C=1": "cast_100B",
    "cast S=1024 C=1": "cast_1KiB",
    "cast S=1048576 C=1": "bulk_1",
    "cast S=1048576 C=16": "bulk_16",
    "cast S=1048576 C=128": "bulk_128",
    "hol flood=16x1MiB small_on=same": "mixed_one_connection",
}
ERLANG_METRICS = {
    "per_s": "per_s",
    "p50_us": "p50_us",
    "p99_us": "p99_us",
    "msgs_per_s": "per_s",
    "mb_per_s": "mb_per_s",
    "echo_p50_us": "p50_us",
    "echo_p99_us": "p99_us",
    "flood_mb_per_s": "bulk_mb_per_s",
}


class Result(NamedTuple):
    """What came out of one run of a system, and what went wrong."""

    benches: Benches
    failures: list[str]
    version: str = ""


class Run(NamedTuple):
    """What is measured: these benches, each for so long, with loopback delayed by half of so much each way."""

    names: list[str]
    seconds: float
    round_trip_ms: float = 0.0
    wan: Path | None = None  # the script that delays

    @property
    def network(self) -> str:
        return f"{self.round_trip_ms:g} ms" if self.round_trip_ms else "loopback"

    def behind(self, command: list[str]) -> list[str]:
        """The command, delayed."""
        return behind(self.wan, self.round_trip_ms, command)


def run_ours(run: Run) -> Result:
    """Ours, in a child."""
    command = [sys.executable, "-m", "benchmarks.distribution", "--measure", "--seconds", str(run.seconds)]
    for name in run.names:
        command += ["--only", name]
    done = run_command(run.behind(command))
    if done.returncode:
        return _failed("partisan_actors", done)
    return Result(json.loads(done.stdout.splitlines()[-1]), [])


def run_floor(run: Run) -> Result:
    """The bare socket, in a child."""
    if "call_1" not in (*run.names, *others_of("socket", run.names)):
        return Result({}, [])
    done = run_command(
        run.behind([sys.executable, "-m", "benchmarks.distribution", "--floor", "--seconds", str(run.seconds)])
    )
    if done.returncode:
        return _failed("socket", done)
    return Result({"call_1": json.loads(done.stdout.splitlines()[-1])}, [])


def run_erlang(script: Path, run: Run) -> Result:
    """Let Erlang measure itself."""
    flags = ["-b", "call,cast,hol", "-cs", "1,16,128", "-ss", "100,1024,1048576", "-hol", "16", "-ms"]
    command = [str(script), "two-nodes", *flags, str(int(run.seconds * 1000))]
    done = run_command(run.behind(command), environment=os.environ | {"RUNS": "1"})
    benches: Benches = {}
    for line in done.stdout.splitlines():
        fields = line.split("\t")
        if len(fields) >= 4 and fields[1] in ERLANG_NAMES and fields[2] in ERLANG_METRICS:
            benches.setdefault(ERLANG_NAMES[fields[1]], {})[ERLANG_METRICS[fields[2]]] = float(fields[3])
    if not benches:
        return _failed("erlang", done)
    wanted = (*run.names, *others_of("erlang", run.names))
    return Result({name: metrics for name, metrics in benches.items() if name in wanted}, [])


def _failed(system: str, done: subprocess.CompletedProcess[str]) -> Result:
    """Nothing came out."""
    last = (done.stderr or done.stdout).strip().splitlines()[-3:]
    return Result({}, [f"{system}, exit status {done.returncode}: {' / '.join(last) or 'nothing was said'}"])
