"""Traffic of all kinds between two nodes, in both directions, and what has to hold of it when it is over.

`Traffic` starts it; a test does its worst meanwhile; `finish` checks what was promised. `Residue` says whether all
that the nodes held for it is gone.
"""

from __future__ import annotations

import gc
import itertools
import os
from collections import Counter
from collections.abc import Iterable
from typing import Any

from gevent import get_hub

from partisan_actors import Channel, Node, Pid, process_info, receive, self_pid, send, send_exit, spawn_opt
from partisan_actors.behaviours import call, stop
from tests.conditions import wait_until
from tests.faults.talkers import DONE, TALKERS, Called, Sent, Sink, Spawned, Watched, bystander, watcher
from tests.integration.programs import NodeProgram
from tests.nodes import cluster_of

__all__ = ["CHANNELS", "Residue", "Traffic", "warm_up"]

CHANNELS = (Channel("default"), Channel("bulk", parallelism=4), Channel("packed", compression=3))


class _Direction:
    """From one node to the other."""

    def __init__(self, name: str, sender: str, receiver: str) -> None:
        self.name = name
        self.sender = sender
        self.sink: Pid = Sink.start(node=receiver)
        self.watched: Pid = spawn_opt(bystander, node=receiver)  # type: ignore[assignment]
        self.talkers: dict[str, Pid] = {}
        owner = self_pid()
        for kind, (function, arguments) in TALKERS.items():
            flow = f"{name}: {kind}"
            self.talkers[flow] = spawn_opt(function, (flow, self.sink, owner, *arguments), node=sender)  # type: ignore[assignment]
        flow = f"{name}: watches"
        self.talkers[flow] = spawn_opt(watcher, (flow, self.watched, owner), node=sender)  # type: ignore[assignment]

    def flows(self) -> dict[str, list[int]]:
        flows: dict[str, list[int]] = call(self.sink, "flows", 10)
        return flows


class Traffic:
    """Between the node of the process that makes it, and another."""

    def __init__(self, here: Node, there: Node | NodeProgram) -> None:
        self.here = here
        self.there = there.name
        self.directions = [
            _Direction("there", here.name, there.name),
            _Direction("back", there.name, here.name),
        ]

    def progress(self) -> int:
        """How many messages have come so far, on this side."""
        count: int = call(self.directions[1].sink, "count", 10)
        return count

    def wait_for_more(self, more: int = 200, timeout: float = 10.0) -> None:
        """Until that many more have come."""
        before = self.progress()
        wait_until(lambda: self.progress() >= before + more, timeout, what=f"{more} more messages")

    # The end.

    def finish(self, *, down: bool = False, dead: bool = False, timeout: float = 20.0) -> None:
        """Stop it, and check what came and what was told.

        Args:
            down: the other node was down meanwhile, and is back, in the same life.
            dead: the life at the other end is gone for good.
        """
        directions = self.directions[:1] if dead else self.directions
        reports = self._reports(directions, timeout)
        for direction in directions:
            for flow in direction.talkers:
                self._check(flow, reports[flow], down or dead)
        if not dead:
            for direction in directions:
                self._check_arrivals(direction, reports, down, timeout)
                assert call(direction.sink, "odd") == 0
        self._clean_up(directions, dead)

    def _reports(self, directions: list[_Direction], timeout: float) -> dict[str, Any]:
        talkers = {flow: pid for direction in directions for flow, pid in direction.talkers.items()}
        for pid in talkers.values():
            send(pid, "stop")
        reports: dict[str, Any] = {}
        while len(reports) < len(talkers):
            report = receive((Sent, Called, Watched, Spawned), timeout=timeout, default=None)
            assert report is not None, f"nothing came from {sorted(talkers.keys() - reports.keys())}"
            reports[report.flow] = report
        self._wait_for_outboxes(timeout)
        posters = [pid for flow, pid in talkers.items() if "acknowledged" in flow]
        for pid in posters:
            send(pid, "report")
        for _ in posters:
            report = receive(Sent, timeout=timeout)
            reports[report.flow] = report
        return reports

    def _wait_for_outboxes(self, timeout: float) -> None:
        wait_until(lambda: self.here.telemetry()["acknowledged"]["open"] == 0, timeout, what="empty outbox")

    def _check(self, flow: str, report: Any, was_down: bool) -> None:
        match report:
            case Called(_, begun, answered, failed):
                assert begun == answered + len(failed), report
                assert answered > 0 and (was_down or not failed), report
            case Watched(_, told):
                expected = [("Down", "noconnection"), ("Exit", "noconnection")] if was_down else []
                assert sorted(told) == expected, report
            case Spawned(_, started, downs, exits, reasons):
                assert downs == exits == [1] * started, report
                assert set(reasons) <= {DONE, "noconnection"} if was_down else set(reasons) <= {DONE}, report

    def _check_arrivals(self, direction: _Direction, reports: dict[str, Any], down: bool, timeout: float) -> None:
        sent = {flow: reports[flow] for flow in direction.talkers if isinstance(reports[flow], Sent)}
        kept = {flow for flow in sent if not down or "acknowledged" in flow}
        wanted = {flow: list(range(report.count)) for flow, report in sent.items() if flow in kept and report.count}
        for flow in kept:
            # It is never too late for them here: each is delivered.
            assert not sent[flow].undelivered, sent[flow]

        def all_is_there() -> bool:
            flows = direction.flows()
            return all(len(flows.get(flow, ())) >= len(numbers) for flow, numbers in wanted.items())

        wait_until(all_is_there, timeout, what=f"all of {direction.name}")
        flows = direction.flows()
        assert flows.keys() <= sent.keys()
        for flow, numbers in wanted.items():
            assert flows[flow] == numbers, f"{flow}: {_difference(flows[flow], numbers)}"
        for flow, numbers in flows.items():
            assert all(one < other for one, other in itertools.pairwise(numbers)), flow
            assert numbers[-1] < sent[flow].count

    def _clean_up(self, directions: list[_Direction], dead: bool) -> None:
        for direction in self.directions:
            for pid in (direction.sink, direction.watched):
                if not dead or pid.node == self.here.name:
                    send_exit(pid, "kill") if pid == direction.watched else stop(pid)
            ours = [pid for pid in direction.talkers.values() if pid.node == self.here.name]
            wait_until(lambda: all(process_info(pid) is None for pid in ours), what="all talkers here have ended")  # noqa: B023
        self.directions = []  # their pids would look like something left behind


def _difference(got: list[int], wanted: list[int]) -> str:
    counts = Counter(got)
    missing = [number for number in wanted if number not in counts]
    double = [number for number, count in counts.items() if count > 1]
    return f"missing {missing[:10]}, double {double[:10]}, {len(got)} of {len(wanted)}"


def warm_up(here: Node, there: Node | NodeProgram) -> None:
    """Use everything once, so that every connection is there."""
    traffic = Traffic(here, there)
    traffic.wait_for_more()
    traffic.finish()


class Residue:
    """What nodes of this OS process hold, to be compared before and after.

    `slack` watchers more are allowed: the summary of refusals, for one, has a timer of ten seconds.
    """

    def __init__(self, nodes: Iterable[Node]) -> None:
        self.nodes = list(nodes)
        wait_until(lambda: self._quiet() == {}, what="quiet at first")
        self.before = self.held()
        self.objects = objects()

    def held(self) -> dict[str, Any]:
        """How much of everything there is."""
        held = {"descriptors": len(os.listdir("/proc/self/fd")), "watchers": get_hub().loop.activecnt}
        for node in self.nodes:
            remote = cluster_of(node).remote
            held[f"connections of {node.name}"] = node.telemetry()["connections"]["open"]
            held[f"processes of {node.name}"] = len(remote.runtime.processes)
        return held

    def check(self, slack: int = 0, timeout: float = 10.0) -> None:
        """All is as it was, or soon."""
        allowed = dict(self.before)
        allowed["watchers"] += slack

        def more() -> dict[str, Any]:
            now = self.held()
            return {key: (now[key], allowed[key]) for key in allowed if now[key] > allowed[key]} | self._quiet()

        told: dict[str, Any] = {}

        def settled() -> bool:
            told.clear()
            told.update(more())
            return not told

        try:
            wait_until(settled, timeout)
        except AssertionError:
            raise AssertionError(f"left behind: {told}") from None
        grown = objects() - self.objects
        for kept in ("Worker", "Waiter"):  # as many as were ever busy at once
            grown.pop(f"partisan_actors.processes.scheduler.{kept}", None)
        assert not {name: count for name, count in grown.items() if count > 10 + slack}, grown
        assert grown["partisan_actors.distribution.live_session.Session"] == 0, grown

    def _quiet(self) -> dict[str, Any]:
        left: dict[str, Any] = {}
        for node in self.nodes:
            told = node.telemetry()
            if told["acknowledged"]["open"] or told["acknowledged"]["open_bytes"]:
                left[f"{node.name} outbox"] = told["acknowledged"]
            for peer, of_peer in told["peers"].items():
                for name, channel in of_peer["channels"].items():
                    bytes_left = {key: value for key, value in channel.items() if key.endswith("_bytes") and value}
                    if bytes_left:
                        left[f"{node.name} to {peer} on {name}"] = bytes_left
            for ties in cluster_of(node).remote._ties.values():
                if ties.callers or ties.links or ties.watches or ties.remote_watches:
                    left[f"{node.name} ties"] = (len(ties.callers), ties.links, ties.watches, ties.remote_watches)
        return left


def objects() -> Counter[str]:
    """Objects of this package by their class, those that are reachable."""
    gc.collect()
    return Counter(
        f"{kind.__module__}.{kind.__qualname__}"
        for kind in map(type, gc.get_objects())
        if str(kind.__module__).startswith("partisan_actors.")
    )
