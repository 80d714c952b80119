"""What is measured, in the order in which it is shown, and what each system has of it."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import NamedTuple

from benchmarks import measuring

__all__ = ["BENCHES", "FLOOR", "OURS", "PEER", "Bench", "groups", "measured_by", "missing"]

OURS = "partisan_actors"
FLOOR = "gevent"
PEER = "pykka"


class Bench(NamedTuple):
    """One thing that is measured. Those of a group are measured in one OS process."""

    name: str
    group: str
    unit: str
    meaning: str
    target: str = ""


BENCHES = (
    Bench(
        "call",
        "messages",
        "calls/s",
        "call of an idle GenServer; floor: there and back over two gevent Queues; Pykka: ask",
        "1.1 x gevent, 3.5 x pykka",
    ),
    Bench(
        "call_100k_waiting",
        "messages",
        "calls/s",
        "the same, by a process with 100,000 messages in its mailbox",
        "as call",
    ),
    Bench(
        "cast",
        "messages",
        "casts/s",
        "one sender, until all are handled; floor: a gevent Queue; Pykka: tell",
        "1,200,000",
    ),
    Bench(
        "start_stop",
        "spawning",
        "servers/s",
        "GenServer.start, then stop, one at a time; floor: a greenlet spawned and joined; Pykka: start, stop",
        "200,000",
    ),
    Bench(
        "start_end",
        "spawning",
        "servers/s",
        "GenServer.start of one that then ends by itself, one at a time; floor: a greenlet spawned and joined",
        "200,000",
    ),
    Bench(
        "spawn",
        "spawning",
        "processes/s",
        "plain processes that end at once, 1,000 at a time; floor: greenlets",
    ),
    Bench(
        "idle_memory",
        "memory",
        "bytes",
        "resident bytes of each of 300,000 idle GenServers; floor: of 20,000 greenlets that wait at a Queue; "
        "Pykka: of 1,000 actors",
        "700 at most",
    ),
    Bench(
        "ring_100",
        "rings",
        "hops/s",
        "a token goes round 100 plain processes; floor: greenlets with a Queue each; Pykka: actors",
    ),
    Bench("ring_10000", "rings", "hops/s", "the same with 10,000"),
    Bench(
        "remote_call_1",
        "remote_calls",
        "calls/s",
        "call of a GenServer in another OS process, 100 bytes there and back over loopback TCP, one caller; "
        "floor: bare gevent sockets",
        "0.6 x gevent",
    ),
    Bench("remote_call_16", "remote_calls", "calls/s", "the same, 16 callers; floor: a socket for each"),
    Bench("remote_call_128", "remote_calls", "calls/s", "the same, 128 callers", "30,000"),
    Bench(
        "remote_cast_100B",
        "remote_casts",
        "casts/s",
        "to a GenServer in another OS process, one sender, until all are handled; "
        "floor: one sendall a message on a bare gevent socket, until all bytes are read",
        "180,000",
    ),
    Bench("remote_cast_1KiB", "remote_casts", "casts/s", "the same"),
    Bench("remote_cast_64KiB", "remote_casts", "casts/s", "the same"),
    Bench("remote_cast_1MiB", "remote_casts", "casts/s", "the same"),
)

# By system: the modules that measure it. Each has BENCHES, by name, and `measure`.
_MODULES: Mapping[str, tuple[str, ...]] = {
    OURS: ("benchmarks.local", "benchmarks.remote"),
    FLOOR: ("benchmarks.floors", "benchmarks.socket_floors"),
    PEER: ("benchmarks.pykka_peer",),
}


def groups(wanted: set[str]) -> dict[str, list[str]]:
    """The names of the wanted benches by group, both in order."""
    found: dict[str, list[str]] = {}
    for bench in BENCHES:
        if bench.name in wanted:
            found.setdefault(bench.group, []).append(bench.name)
    return found


def missing() -> list[str]:
    """The systems that are not installed."""
    return [] if importlib.util.find_spec("pykka") else [PEER]


def measured_by(system: str, names: list[str]) -> list[str]:
    """Those of `names` that are measured of `system`."""
    known = {name for module in _MODULES[system] for name in importlib.import_module(module).BENCHES}
    return [name for name in names if name in known]


def measure(system: str, names: list[str], scale: measuring.Scale) -> dict[str, float]:
    """Measure here and now; by name."""
    results: dict[str, float] = {}
    for module in map(importlib.import_module, _MODULES[system]):
        own = [name for name in names if name in module.BENCHES]
        if own:
            results |= module.measure(own, scale)
    return results
