"""Stands in for the harness that the peers' files share: as much of it as ours asks for, with tiny counts.

The groups run in the OS process that is asked for them, once; the real one gives each run a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from time import perf_counter as now

PAYLOADS = (("100", 100), ("1k", 1 << 10), ("64k", 1 << 16), ("1m", 1 << 20))
TELL_N = {"100": 50, "1k": 50, "64k": 5, "1m": 3}
T = float(os.environ.get("BENCH_T", "0.01"))

Group = Callable[[], dict[str, float]]


def rss() -> int:
    return 0


def timed(run: Callable[[int], object], batch: int) -> float:
    began = now()
    run(batch)
    return batch / (now() - began)


def pcts(latencies: list[float], name: str) -> dict[str, float]:
    return {f"{name}_p50_us": min(latencies) * 1e6, f"{name}_p99_us": max(latencies) * 1e6}


def server() -> tuple[subprocess.Popen[str], list[str]]:
    command = [sys.executable, sys.argv[0], "--server"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().split()[1:]


def stop(process: subprocess.Popen[str]) -> None:
    process.communicate()


def ready(*words: str) -> None:
    print("READY", *words, flush=True)


def main(system: str, version: str, groups: dict[str, Group], serve: Callable[[], None]) -> None:
    if "--server" in sys.argv:
        serve()
        return
    said: dict[str, object] = {"system": system, "version": version}
    for name in sys.argv[sys.argv.index("--only") + 1].split(","):
        said |= groups[name]()
    print(json.dumps(said))
