"""The wall clock jumps, in both directions; nothing that a node promises goes by it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from partisan_actors import Remote, send
from partisan_actors.behaviours import call
from partisan_actors.processes.clock import GeventClock
from tests.conditions import wait_until
from tests.faults.talkers import Sink, item
from tests.faults.traffic import CHANNELS, Residue, Traffic
from tests.nodes import Nodes, cluster_of, connected, session_between

YEAR = 365 * 86400.0


class JumpyClock(GeventClock):
    """A machine's time whose wall clock somebody sets."""

    def __init__(self) -> None:
        super().__init__()
        self.offset = 0.0
        self.wall = lambda: time.time() + self.offset


@pytest.mark.parametrize("jumps", [(YEAR, 0.0), (-YEAR, YEAR)])
def test_clock_jumped(nodes: Nodes, tmp_path: Path, jumps: tuple[float, ...]):
    clocks = [JumpyClock(), JumpyClock()]
    here, there = (
        nodes.start(name, channels=CHANNELS, clock=clock, outbox=str(tmp_path / name))
        for name, clock in zip(("here", "there"), clocks, strict=True)
    )
    here.join(there.address)
    with here.attached():
        warm = Traffic(here, there)
        warm.wait_for_more()
        warm.finish()
        residue = Residue([here, there])
        session = session_between(here, there)
        traffic = Traffic(here, there)
        for jump in jumps:
            clocks[0].offset = jump
            traffic.wait_for_more()
            clocks[1].offset = -jump
            traffic.wait_for_more()
        traffic.finish()
        assert session_between(here, there) is session and session.ended is None
        residue.check()


@pytest.mark.parametrize("jump", [YEAR, -YEAR])
def test_clock_jumped_while_a_node_was_down(nodes: Nodes, tmp_path: Path, jump: float):
    """Its new life is above the last one, and what was in its outbox is delivered, once and in order."""
    clock = JumpyClock()
    here = nodes.start("here", channels=CHANNELS)
    there = nodes.start("there", channels=CHANNELS, clock=clock, outbox=str(tmp_path / "outbox"))
    sink = here.run(Sink.start, name="sink")

    def post(first: int) -> None:
        for number in range(first, first + 50):
            send(Remote("sink", here.name), item("posted", number), ack=True, channel="bulk")

    there.run(post, 0)  # here is nobody yet: it is only in the file
    epoch = there._epoch
    there.stop()
    clock.offset = jump
    # Another node object of the name, which knows no epoch, as after a new start of the machine.
    again = nodes.make(there.name, channels=CHANNELS, clock=clock, outbox=str(tmp_path / "outbox"))
    again.start()
    again.join(here.address)
    again.run(post, 50)
    wait_until(lambda: len(here.run(call, sink, "flows").get("posted", ())) >= 100)
    assert here.run(call, sink, "flows") == {"posted": list(range(100))}
    assert jump < 0 or again._epoch > epoch
    # The same once more, now that it was a member: the contact knows of a higher epoch.
    life = cluster_of(again).remote.runtime.home
    again.stop()
    clock.offset = 0.0
    last = nodes.make(there.name, channels=CHANNELS, clock=clock, outbox=str(tmp_path / "outbox"))
    last.start()
    last.join(here.address)
    wait_until(lambda: connected(here, last))
    assert cluster_of(last).remote.runtime.home.epoch > life.epoch
    last.run(post, 100)
    wait_until(lambda: len(here.run(call, sink, "flows")["posted"]) >= 150)
    assert here.run(call, sink, "flows") == {"posted": list(range(150))}
