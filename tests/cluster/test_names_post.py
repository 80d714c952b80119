"""What names tell each other arrives, whatever becomes of sessions: whole nodes in simulation."""

from __future__ import annotations

from structlog.testing import capture_logs

from partisan_actors import Global, receive, register, self_pid, whereis
from partisan_actors.testing import Simulation
from partisan_actors.topologies import Static


def hold():
    register(Global("name"), self_pid())
    receive(Global)


def test_what_no_session_could_be_had_for_is_told_when_one_can():
    """c stands still for longer than a session to it is tried for, and not for so long that it is down."""
    with capture_logs(), Simulation(1) as simulation:
        a, b, c = nodes = [simulation.node(f"{letter}@sim", topology=Static()) for letter in "abc"]
        simulation.join(b, a)
        pid = a.spawn(hold)
        simulation.run(1.0)
        simulation.join(c, b)  # of which a hears, and has to tell it of the name, by a route
        simulation.pause(c)
        simulation.run(7.3)
        assert a.members() == ["a@sim", "b@sim", "c@sim"]
        simulation.resume(c)
        simulation.run(10.0)
        assert [node.run(whereis, Global("name")) for node in nodes] == [pid] * 3
