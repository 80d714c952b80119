"""Whole nodes that pass on what is for others, over links that a test makes."""

from __future__ import annotations

from tests.distribution.relaying_world import RelayingWorld


def test_a_frame_crosses_a_line_of_three_links_and_so_does_its_answer():
    world = RelayingWorld("abcd")
    world.line()
    world["d"].answers[b"question"] = b"answer"
    world["a"].send("d", b"ques", b"tion")
    world.clock.until(lambda: world["a"].arrived, 5.0)
    assert world["d"].arrived == [("a", b"question")]
    assert world["a"].arrived == [("d", b"answer")]
    for relay in "bc":
        assert world[relay].relaying.machine.counters.relayed == 2
        assert world[relay].arrived == []
