"""One OS process of a large cluster: hosts nodes, and does with them what its standard input says, a JSON line each.

Answers each line with one line. Ends when its standard input does.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import resource
import sys
from collections import Counter
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import gevent
import structlog
from gevent.pool import Pool

from benchmarks.measuring import resident
from partisan_actors import Node, Remote
from partisan_actors.behaviours import GenServer, call
from partisan_actors.broadcast import BroadcastHandler, broadcast, register_handler
from partisan_actors.topologies.registry import find_topology
from partisan_actors.wire.handshake import Keys

__all__ = ["Worker", "main"]

_COOKIE = "a cookie of a benchmark, no secret"
_CALLING_AT_ONCE = 2  # each looks for a way, which costs all nodes something: what one machine can do for all of them


class Echo(GenServer):
    """Answers with what it is asked."""

    def handle_call(self, request: Any, caller: Any) -> Any:
        """The same."""
        return request


class Heard(BroadcastHandler):
    """Notes what comes, for the node that it is on."""

    def __init__(self) -> None:
        self.texts: Counter[str] = Counter()

    def handle(self, message: Any) -> None:
        """One came."""
        self.texts[message] += 1


class Worker:
    """The nodes of this OS process, and what can be done with them: a method for each word."""

    def __init__(self) -> None:
        self.keys = Keys([_COOKIE.encode()])  # once: it takes 50 ms
        self.nodes: dict[str, Node] = {}
        self.heard: dict[str, Heard] = {}

    def watch(self, every: float) -> dict[str, Any]:
        """Write a line to the standard error every so many seconds, from now on: how this process copes."""
        gevent.spawn(self._watch, every, perf_counter(), process_time())
        return {}

    def _watch(self, every: float, began: float, spent: float) -> None:
        collecting, started = 0.0, 0.0

        def collected(phase: str, _: dict[str, int]) -> None:
            nonlocal collecting, started
            if phase == "start":
                started = perf_counter()
            else:
                collecting += perf_counter() - started

        gc.callbacks.append(collected)
        before, latest, late = began, began, 0.0
        while True:
            gevent.sleep(0.1)
            now = perf_counter()
            late = max(late, now - latest - 0.1)
            latest = now
            if now - before < every:
                continue
            cpu, members = process_time(), [len(node.members()) for node in self.nodes.values()]
            line = {
                "s": round(now - began),
                "of": next(iter(self.nodes), ""),
                "members": sorted(members)[:: max(len(members) // 4, 1)],
                "late_s": round(late, 2),
                "cores": round((cpu - spent) / (now - before), 2),
                "collecting": round(collecting / (now - before), 2),
                "MB": resident() // 1_000_000,
                "links": sum(len(node.neighbours()) for node in self.nodes.values()),
            }
            sys.stderr.write(json.dumps(line) + "\n")
            before, spent, late, collecting = now, cpu, 0.0, 0.0

    def start(self, names: list[str], topology: str, parameters: dict[str, Any], contact: str | None) -> dict[str, Any]:
        """Start nodes and let them join through `contact`, or the first through nobody."""
        began = perf_counter()
        for name in names:
            node = Node(name, cookie=self.keys, topology=find_topology(topology, parameters), switch_interval=None)
            self.nodes[name] = node.start()
            node.run(Echo.start, name="echo")
            self.heard[name] = Heard()
            node.run(register_handler, self.heard[name])
        started = perf_counter() - began
        if contact is None:
            contact = self.nodes[names[0]].address
            names = names[1:]
        failed = Counter[str]()
        for name in names:  # one by one: the other OS processes let theirs join meanwhile
            self._join(self.nodes[name], contact, failed)
        return {
            "address": next(iter(self.nodes.values())).address,
            "start_s": started,
            "join_s": perf_counter() - began - started,
            "failed": failed,
        }

    def _join(self, node: Node, contact: str, failed: Counter[str]) -> None:
        try:
            node.join(contact, timeout=60.0)
        except Exception as error:
            failed[str(error)] += 1

    def spent(self) -> dict[str, Any]:
        """Processor time so far, and nothing that costs any."""
        return {"cpu_s": process_time()}

    def state(self) -> dict[str, Any]:
        """What there is: how many members each node knows, links, memory, processor time, descriptors."""
        return {
            "members": Counter(len(node.members()) for node in self.nodes.values()),
            "links": {name: node.neighbours() for name, node in self.nodes.items()},
            "sessions": sum(node.telemetry()["sessions"]["live"] for node in self.nodes.values()),
            "refusals": self._refusals(),
            "rss": resident(),
            "cpu_s": process_time(),
            "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        }

    def _refusals(self) -> Counter[str]:
        refusals: Counter[str] = Counter()
        for node in self.nodes.values():
            refusals.update(node.telemetry()["counters"]["refusals"])
        return refusals

    def calls(self, pairs: list[tuple[str, str]], timeout: float) -> dict[str, Any]:
        """Call from node to node, a few at once."""
        times: list[float] = []
        errors: Counter[str] = Counter()

        def one(source: str, target: str) -> None:
            began = perf_counter()
            try:
                answer = self.nodes[source].run(call, Remote("echo", target), target, timeout)
                assert answer == target
                times.append(perf_counter() - began)
            except Exception as error:
                errors[f"{type(error).__name__}: {error}"[:200]] += 1

        pool = Pool(_CALLING_AT_ONCE)
        for source, target in pairs:
            pool.spawn(one, source, target)
        pool.join()
        return {"times": times, "errors": errors}

    def broadcast(self, source: str, text: str) -> dict[str, Any]:
        """Broadcast from a node."""
        self.nodes[source].run(broadcast, text, Heard)
        return {}

    def reached(self, text: str) -> dict[str, Any]:
        """How many nodes heard it, by how often."""
        return {"times": Counter(heard.texts[text] for heard in self.heard.values())}

    def switch(self, source: str, topology: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Let the cluster run with another topology."""
        self.nodes[source].switch_topology(find_topology(topology, parameters))
        return {}


def main() -> None:
    """Serve until the standard input ends."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # Hundreds of nodes in one heap: to go through it as often as is usual takes a fifth of the time.
    gc.set_threshold(50_000, 20, 50)
    worker, threads = Worker(), gevent.get_hub().threadpool
    while line := threads.apply(sys.stdin.readline):
        words = json.loads(line)
        answer = getattr(worker, words.pop("do"))(**words)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    os._exit(0)  # nothing is left to be saved, and a thousand leaves would take their time


if __name__ == "__main__":
    main()
