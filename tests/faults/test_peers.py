"""Nodes that are stopped, killed, and started again under their name."""

from __future__ import annotations

from typing import Any

import pytest

from partisan_actors import Down, Node, NodeDown, NodeUp, NoProcess, Undelivered, monitor, monitor_nodes, receive, send
from partisan_actors.behaviours import call
from tests.conditions import wait_until
from tests.faults.network import hurry
from tests.faults.talkers import Sink, item
from tests.faults.traffic import CHANNELS, Residue, Traffic, warm_up
from tests.integration.programs import NodeProgram, Programs
from tests.nodes import Nodes, session_between

FOR_PROGRAMS = [{"name": "default"}, {"name": "bulk", "parallelism": 4}, {"name": "packed", "compression": 3}]


def start_pair(nodes: Nodes, programs: Programs, *, hurried: bool = False) -> tuple[Node, NodeProgram]:
    there = programs.start("there", channels=FOR_PROGRAMS)
    here = nodes.start("here", channels=CHANNELS)
    if hurried:
        hurry(here)
    here.join(there.address)
    return here, there


def wait_until_quiet(there: NodeProgram, before: dict[str, Any]) -> None:
    """The program holds no more than it did."""

    def quiet() -> bool:
        told = there.ask("telemetry")
        left = [
            value
            for peer in told["peers"].values()
            for channel in peer["channels"].values()
            for key, value in channel.items()
            if key.endswith("_bytes")
        ]
        return not any(left) and not told["acknowledged"]["open"] and there.ask("descriptors") <= before["descriptors"]

    wait_until(quiet, 10, what="the program is quiet")


def test_peer_sigstopped_for_a_moment(nodes: Nodes, programs: Programs):
    here, there = start_pair(nodes, programs)
    with here.attached():
        warm_up(here, there)
        residue, of_program = Residue([here]), {"descriptors": there.ask("descriptors")}
        session = session_between(here, there)  # type: ignore[arg-type]
        traffic = Traffic(here, there)
        traffic.wait_for_more()
        there.stop()
        streams = [stream.sending for stream in session.machine.streams]
        wait_until(
            lambda: sum(stream.unsent + stream.unacknowledged for stream in streams) > 4 << 20, 3, what="much waits"
        )
        there.go_on()
        traffic.finish()
        assert session_between(here, there) is session  # type: ignore[arg-type]
        residue.check()
        wait_until_quiet(there, of_program)


def test_peer_sigstopped_for_long(nodes: Nodes, programs: Programs):
    here, there = start_pair(nodes, programs, hurried=True)
    with here.attached():
        warm_up(here, there)
        residue, of_program = Residue([here]), {"descriptors": there.ask("descriptors")}
        monitor_nodes()
        traffic = Traffic(here, there)
        traffic.wait_for_more()
        there.stop()
        assert receive((NodeUp, NodeDown), timeout=10) == NodeDown(there.name, "silent")
        there.go_on()
        assert receive((NodeUp, NodeDown), timeout=10) == NodeUp(there.name)
        wait_until(lambda: there.ask("members") == here.members())
        traffic.finish(down=True)
        assert receive((NodeUp, NodeDown), timeout=0, default=None) is None
        monitor_nodes(False)
        residue.check()
        wait_until_quiet(there, of_program)


def test_peer_sigkilled(nodes: Nodes, programs: Programs):
    there = programs.start("there", channels=FOR_PROGRAMS)
    here = nodes.start("here", channels=CHANNELS, ack_timeout=2.0)
    with here.attached():
        residue = Residue([here])
        monitor_nodes()
        here.join(there.address)
        traffic = Traffic(here, there)
        traffic.wait_for_more()
        there.kill()
        assert receive(NodeDown, timeout=5).node == there.name
        traffic.finish(dead=True)
        assert here.members() == [here.name] and here.telemetry()["peers"] == {}
        monitor_nodes(False)
        receive(NodeUp, timeout=0)
        # One that was a member is dialled on, now and then.
        residue.check(slack=2)


def test_peer_restarted_with_the_same_name(nodes: Nodes, programs: Programs):
    here, there = start_pair(nodes, programs)
    with here.attached():
        warm_up(here, there)
        residue = Residue([here])
        traffic = Traffic(here, there)
        traffic.wait_for_more()
        old = traffic.directions[0].sink
        watch = monitor(old)
        first = session_between(here, there)  # type: ignore[arg-type]
        there.kill()
        there.close()
        again = programs.start(there.name, channels=FOR_PROGRAMS, listen=there.address)
        assert receive(Down, timeout=10) == Down(watch, old, "noconnection")
        again.ask("join", here.address)
        wait_until(lambda: here.members() == again.ask("members") == sorted([here.name, again.name]))
        # What was for the life before is for nobody: nothing of it comes to the new one, with whatever promise.
        ref = send(old, item("late", 0), ack=True)
        assert receive(Undelivered, timeout=5) == Undelivered(ref, old, "noproc")  # type: ignore[arg-type]
        with pytest.raises(NoProcess):
            call(old, "flows")
        traffic.finish(dead=True)
        assert session_between(here, again).number > first.number and first.ended is not None  # type: ignore[arg-type]
        del first
        fresh = Sink.start(node=again.name)
        assert call(fresh, "flows") == {} and call(fresh, "odd") == 0
        warm_up(here, again)
        send(fresh, item("new", 1), ack=True)
        wait_until(lambda: call(fresh, "flows") == {"new": [1]})
        assert receive(timeout=0, default=None) is None
        residue.check()
