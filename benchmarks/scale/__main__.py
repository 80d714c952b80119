"""`python -m benchmarks.scale hyparview --nodes 1000 --processes 4`: one JSON line per figure, and a table.

What is done, in this order: all nodes join through the first; every node comes to know all; calls between nodes chosen
by chance; broadcasts; nothing, for a while; SIGKILL to as many OS processes as host the share to be killed; the rest
heals; calls and broadcasts again, at once and after a rest. Asserts nothing.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

from benchmarks.scale.cluster import HostProcess, LargeCluster

TOPOLOGIES = ("hyparview", "xbot", "scamp", "full_mesh", "client_server")
_SERVERS = 4


class Report:
    """Prints each figure as it comes, and all of them as a table."""

    def __init__(self, about: dict[str, Any]) -> None:
        self._about = about
        self._rows: list[tuple[str, str]] = []

    def tell(self, figure: str, **values: Any) -> None:
        """Print one."""
        print(json.dumps({**self._about, "figure": figure, **values}), flush=True)
        self._rows.append((figure, ", ".join(f"{key} {_short(value)}" for key, value in values.items())))

    def table(self) -> None:
        """Print all."""
        width = max(len(figure) for figure, _ in self._rows)
        print()
        for figure, text in self._rows:
            print(f"{figure:<{width}}  {text}")


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def main() -> None:
    """Measure."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))  # and so end the OS processes of the nodes
    arguments = _arguments()
    names = [f"n{index:04d}@127.0.0.1" for index in range(arguments.nodes)]
    report = Report({"topology": arguments.topology, "nodes": arguments.nodes, "processes": arguments.processes})
    with LargeCluster(names, arguments.processes, arguments.kill) as cluster:
        if arguments.watch:
            cluster.ask_all("watch", every=arguments.watch)
        began = time.perf_counter()
        started = cluster.start(_topologies(arguments.topology, cluster))
        failed: Counter[str] = Counter()
        for answer in started:
            failed.update(answer["failed"])
        joined = time.perf_counter() - began
        report.tell("joined", seconds=joined, failed=sum(failed.values()), reasons=dict(failed.most_common(3)))
        report.tell("every node knows all", seconds=cluster.members_agree(arguments.limit))
        _tell_state(report, cluster)
        _talk(report, cluster, arguments.seed, "")
        time.sleep(arguments.rest)
        _idle(report, cluster, arguments.idle)
        victims = cluster.kill()
        report.tell("killed at once", nodes=len(victims))
        report.tell("the others know that", seconds=cluster.members_agree(arguments.limit))
        _talk(report, cluster, arguments.seed + 1, " after the kill")
        _tell_state(report, cluster)
        time.sleep(arguments.rest)
        _talk(report, cluster, arguments.seed + 2, " after a rest")
    report.table()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("topology", choices=TOPOLOGIES)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument(
        "--kill", type=float, default=0.3, help="the share of the nodes that is killed, with their OS processes"
    )
    parser.add_argument(
        "--rest", type=float, default=60.0, help="seconds until all is at rest: shuffles go to 40 s apart"
    )
    parser.add_argument("--idle", type=float, default=30.0, help="seconds of doing nothing")
    parser.add_argument("--limit", type=float, default=180.0, help="seconds that anything is waited for")
    parser.add_argument("--watch", type=float, default=0.0, help="seconds from one line of each process to the next")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.processes < 2 or not 0 < arguments.kill < 1:
        parser.error("--processes is 2 or more, and --kill above 0 and below 1: one process at least is to be killed")
    return arguments


def _topologies(topology: str, cluster: LargeCluster) -> Callable[[HostProcess], tuple[str, dict[str, Any]]]:
    if topology != "client_server":
        return lambda host: (topology, {})
    servers = cluster.hosts[0].names[:_SERVERS]
    return lambda host: (topology, {"servers": servers})


def _tell_state(report: Report, cluster: LargeCluster) -> None:
    states, count = cluster.state(), len(cluster.names())
    degrees = Counter(len(links) for state in states for links in state["links"].values())
    links = {name: set(peers) for state in states for name, peers in state["links"].items()}
    one_way = sum(name not in links.get(peer, ()) for name, peers in links.items() for peer in peers)
    report.tell("links", of_a_node=dict(sorted(degrees.items())), one_way=one_way)
    refusals: Counter[str] = Counter()
    for state in states:
        refusals.update(state["refusals"])
    sessions = sum(state["sessions"] for state in states)
    report.tell("sessions", of_a_node=sessions / count, connections_refused=dict(refusals.most_common(5)))
    memory = sum(state["rss"] for state in states)
    report.tell("memory", MB=memory / 1e6, KB_per_node=memory / 1e3 / count)
    report.tell("processor time", seconds_per_node=sum(state["cpu_s"] for state in states) / count)
    report.tell("descriptors", most_of_a_process=max(state["descriptors"] for state in states))


def _talk(report: Report, cluster: LargeCluster, seed: int, when: str) -> None:
    random, names = Random(seed), cluster.names()
    pairs = [tuple(random.sample(names, 2)) for _ in range(20 * len(cluster.hosts))]
    answers = cluster.each(
        [
            lambda host=host: host.ask("calls", pairs=[pair for pair in pairs if pair[0] in host.names], timeout=60.0)
            for host in cluster.hosts
        ]
    )
    times = sorted(seconds for answer in answers for seconds in answer["times"])
    errors: Counter[str] = Counter()
    for answer in answers:
        errors.update(answer["errors"])
    middle = statistics.median(times) if times else None
    report.tell(
        f"calls of any to any{when}", answered=len(times), of=len(pairs), p50_s=middle, most_s=max(times, default=None),
        errors=dict(errors.most_common(3)),
    )  # fmt: skip
    for index in range(3):
        reach = cluster.reach_of(random.choice(names), f"text {seed} {index}", 20.0)
        report.tell(f"broadcast {index + 1}{when}", **reach)


def _idle(report: Report, cluster: LargeCluster, seconds: float) -> None:
    before, began = cluster.spent(), time.perf_counter()
    time.sleep(seconds)
    cpu, elapsed = cluster.spent() - before, time.perf_counter() - began
    report.tell(
        "idle", cores=cpu / elapsed, microseconds_per_node_and_second=1e6 * cpu / elapsed / len(cluster.names())
    )


if __name__ == "__main__":
    main()
