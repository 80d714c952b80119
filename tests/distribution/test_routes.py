"""Sessions that go by routes: opened, moved, replaced, idle, ended."""

from __future__ import annotations

import pytest

from partisan_actors.distribution import PeerParameters
from partisan_actors.distribution.channels import Channel
from partisan_actors.distribution.session import SessionParameters
from tests.distribution.nodes import COOKIE
from tests.distribution.routed_world import RoutedWorld, linked, routed
from tests.distribution.world import numbered

FIREWALL = "the firewall lets no one of the two through"


@pytest.fixture
def line() -> RoutedWorld:
    """a - b - c"""
    return RoutedWorld("abc", links=("ab", "bc"))


def test_a_session_is_opened_over_a_node_in_between(line: RoutedWorld):
    line.open("a", "c")
    a, c = line["a"], line["c"]
    assert routed(a, c)
    assert a.told("started")[-1] == c.told("started")[-1] == 1
    assert [peer for kind, peer, _ in a.log if kind == "linked"] == ["b"]
    a.session(c).send(b"there")
    c.session(a).send(b"and back")
    line.clock.run(1.0)
    assert (c.bodies, a.bodies) == ([b"there"], [b"and back"])
    assert a.session(c).address == "route:c"


def test_a_route_has_no_heartbeats_and_costs_nothing_while_nothing_is_said(line: RoutedWorld):
    line.open("a", "c")
    a, b, c = line["a"], line["b"], line["c"]
    line.clock.run(2.0)
    assert b.peers.relaying is not None
    before = b.peers.relaying.machine.counters.relayed
    line.clock.run(50.0)
    assert b.peers.relaying.machine.counters.relayed == before
    assert routed(a, c)
    assert a.told("ended") == c.told("ended") == []


def test_what_is_sent_to_nobody_who_can_be_reached_is_told_within_seconds(line: RoutedWorld):
    a = line["a"]
    a.peers.open("nobody")
    a.peers.open("nobody")
    assert a.peers.is_opening("nobody")
    assert line.clock.until(lambda: a.told("unreachable"), 10.0) <= 7.0
    line.clock.run(30.0)
    assert len(a.told("unreachable")) == 1
    assert not a.peers.is_opening("nobody")
    assert a.peers._reaching.routes == {} and len(a.peers._conduits or ()) == 0


def test_a_stranger_by_a_route_is_refused(line: RoutedWorld):
    other = line.by_name["x"] = line.node("x", cookies=[b"quite another cookie"], bits=99)
    # It got in among the relays with the cookie, and has another one now.
    other.peers.keys, kept = line["a"].peers.keys, other.peers.keys
    line.link("b", "x")
    other.peers.keys = kept
    assert COOKIE != b"quite another cookie"
    line["x"].peers.open("a")
    line.clock.until(lambda: other.told("unreachable"), 10.0)
    assert other.told("unreachable") == ["refused: COOKIE"] or "cookie" in str(other.told("unreachable")[0]).lower()
    assert line["a"].peers.session("x") is None


def test_both_open_at_once_and_have_one_session(line: RoutedWorld):
    a, c = line["a"], line["c"]
    a.peers.open("c")
    c.peers.open("a")
    line.clock.until(lambda: routed(a, c), 5.0)
    a.session(c).send(b"x")
    c.session(a).send(b"y")
    line.clock.run(3.0)
    assert routed(a, c)
    assert (c.bodies, a.bodies) == ([b"x"], [b"y"])
    assert [kind for kind, peer, _ in a.log if peer == "c"] == ["started"]
    assert [kind for kind, peer, _ in c.log if peer == "a"] == ["started"]


def test_a_link_takes_the_place_of_a_route_without_loss_or_double(line: RoutedWorld):
    line.open("a", "c")
    a, c = line["a"], line["c"]
    for signal in numbered(500):
        a.session(c).send(signal)
        c.session(a).send(signal)
        line.clock.run(0.001)
        if signal == b"250;":
            line.want(a, c)
    line.clock.run(1.0)
    assert linked(a, c)
    assert b"".join(a.bodies) == b"".join(c.bodies) == b"".join(numbered(500))
    assert [kind for kind, peer, _ in a.log if peer == "c"] == ["started", "linked"]
    assert [kind for kind, peer, _ in c.log if peer == "a"] == ["started", "linked"]
    assert len(a.peers._conduits or ()) == len(c.peers._conduits or ()) == 0


def test_a_verdict_does_not_end_a_session_which_goes_on_over_others_without_loss():
    world = RoutedWorld("abc", links=("ab", "bc", "ac"))
    a, c = world["a"], world["c"]
    for number, signal in enumerate(numbered(1000)):
        a.session(c).send(signal)
        c.session(a).send(signal)
        world.clock.run(0.002)
        if number == 300:
            world.part("a", "c")
    world.clock.until(lambda: len(b"".join(c.bodies)) == len(b"".join(numbered(1000))), 10.0)
    world.clock.until(lambda: routed(a, c), 5.0)
    world.clock.run(1.0)
    assert b"".join(a.bodies) == b"".join(c.bodies) == b"".join(numbered(1000))
    assert [kind for kind, peer, _ in a.log if peer == "c"] == ["started", "linked", "unlinked"]
    assert a.told("unlinked") == c.told("unlinked") == ["connection refused"]
    assert a.told("ended") == c.told("ended") == []


def test_after_a_verdict_nothing_is_dialled_until_there_is_something_to_carry():
    world = RoutedWorld("abc", links=("ab", "bc", "ac"))
    a, c = world["a"], world["c"]
    world.part("a", "c")
    world.clock.until(lambda: a.told("unlinked") and c.told("unlinked"), 10.0)
    world.clock.run(10.0)
    assert not a.session(c).connected and not c.session(a).connected
    assert len(a.peers._conduits or ()) == 0
    assert c.session(a).send(b"late")
    assert world.clock.until(lambda: a.bodies, 5.0) < 0.5
    assert routed(a, c)


def test_open_gives_a_session_that_has_no_connection_one():
    world = RoutedWorld("abc", links=("ab", "bc", "ac"))
    a, c = world["a"], world["c"]
    world.unlink("a", "c")
    world.clock.run(1.0)
    assert not a.session(c).connected
    a.peers.open("c")
    world.clock.until(lambda: routed(a, c), 2.0)
    assert [kind for kind, peer, _ in a.log if peer == "c"] == ["started", "linked", "unlinked"]


def test_what_hangs_on_a_session_lets_it_go_by_a_route_at_once():
    world = RoutedWorld("abc", links=("ab", "bc", "ac"))
    a, c = world["a"], world["c"]
    a.kept.add("c")
    world.part("a", "c")
    world.clock.until(lambda: a.told("unlinked") and c.told("unlinked"), 10.0)
    world.clock.until(lambda: routed(a, c), 5.0)


def test_a_link_that_is_given_up_ends_after_what_was_queued_and_the_session_goes_on():
    world = RoutedWorld("abc", links=("ab", "bc", "ac"))
    a, c = world["a"], world["c"]
    a.session(c).send(b"before" * 20_000)
    world.unlink("a", "c")
    world.clock.run(2.0)
    assert b"".join(c.bodies) == b"before" * 20_000
    assert a.told("unlinked") == c.told("unlinked") == ["forgotten"]
    assert not a.session(c).connected and not c.session(a).connected, "all was acknowledged: nothing is to be carried"
    a.session(c).send(b"after")
    world.clock.run(1.0)
    assert c.bodies[-1] == b"after"
    assert routed(a, c)
    assert a.told("ended") == c.told("ended") == []


def test_one_side_gives_up_a_link_that_the_other_wants_and_has_it_again():
    world = RoutedWorld("abc", links=("ab", "bc", "ac"))
    a, c = world["a"], world["c"]
    a.peers.forget("c")
    world.clock.until(lambda: a.told("unlinked") and c.told("unlinked"), 1.0)
    world.clock.until(lambda: linked(a, c), 2.0)
    assert [kind for kind, peer, _ in a.log if peer == "c"] == ["started", "linked", "unlinked", "linked"]
    assert [kind for kind, peer, _ in c.log if peer == "a"] == ["started", "linked", "unlinked", "linked"]


def test_a_link_that_is_broken_when_it_is_given_up_is_told_at_once():
    world = RoutedWorld("abc", links=("ab", "bc", "ac"))
    a, c = world["a"], world["c"]
    world.part("a", "c")
    a.peers.forget("c")
    assert a.told("unlinked") == []
    world.clock.settle()
    world.clock.run(0.01)
    assert a.told("unlinked") == ["forgotten"] or a.told("unlinked") == ["connection refused"]
    assert a.session(c).ended is None


def test_the_relay_dies_and_the_session_goes_on_over_another_without_loss():
    world = RoutedWorld("abcd", links=("ab", "bd", "ac", "cd"))
    world.open("a", "d")
    a, d = world["a"], world["d"]
    killed = ""
    for number, signal in enumerate(numbered(1500)):
        a.session(d).send(signal * 10)
        d.session(a).send(signal * 10)
        world.clock.run(0.002)
        if number == 500:
            counts = {name: _relayed(world, name) for name in "bc"}
            killed = max(sorted(counts), key=counts.__getitem__)
            assert counts[killed] > 100
            world.kill(world[killed])
    sent = b"".join(signal * 10 for signal in numbered(1500))
    world.clock.until(lambda: sum(map(len, a.bodies)) == sum(map(len, d.bodies)) == len(sent), 30.0)
    assert b"".join(a.bodies) == b"".join(d.bodies) == sent
    assert [kind for kind, peer, _ in a.log if peer == "d"] == ["started"]


def _relayed(world: RoutedWorld, name: str) -> int:
    relaying = world[name].peers.relaying
    assert relaying is not None
    return relaying.machine.counters.relayed


def test_ten_mebibytes_get_through(line: RoutedWorld):
    line.open("a", "c")
    a, c = line["a"], line["c"]
    body = bytes(range(256)) * (40 << 10)
    a.session(c).send(body)
    line.clock.until(lambda: c.bodies, 60.0)
    assert c.bodies == [body]


def test_a_session_that_nobody_needs_ends_silently_at_both_ends(line: RoutedWorld):
    line.open("a", "c")
    a, c = line["a"], line["c"]
    line.clock.run(30.0)
    a.session(c).send(b"x")
    line.clock.run(59.0)
    assert a.told("ended") == c.told("ended") == []
    line.clock.run(2.0)
    assert a.told("ended") == c.told("ended") == ["idle"]
    assert a.peers._reaching.routes == {} and "c" not in a.peers._reaching.diallers
    assert len(a.peers._conduits or ()) == 0
    line.open("c", "a")
    assert c.session(a).number == 2


def test_a_session_without_any_connection_ends_idle_too():
    world = RoutedWorld("abc", links=("ab", "bc", "ac"))
    a, c = world["a"], world["c"]
    world.unlink("a", "c")
    # A minute later than with one: its peer may take it that there is one.
    world.clock.run(119.0)
    assert a.told("ended") == []
    world.clock.run(3.0)
    assert a.told("ended") == c.told("ended") == ["idle"]


def test_one_that_something_hangs_on_does_not_end(line: RoutedWorld):
    line.open("a", "c")
    a, c = line["a"], line["c"]
    a.kept.add("c")
    c.kept.add("a")
    line.clock.run(1000.0)
    assert a.told("ended") == c.told("ended") == []
    a.kept.clear()
    c.kept.clear()
    line.clock.run(121.0)
    assert a.told("ended") == c.told("ended") == ["idle"]


def test_one_that_the_peer_needs_goes_on_after_it_was_asked(line: RoutedWorld):
    line.open("a", "c")
    a, c = line["a"], line["c"]
    line.clock.run(59.0)
    c.kept.add("a")
    line.clock.run(2.0)
    assert a.rests == [("c", True), ("c", False)]
    assert a.told("ended") == c.told("ended") == []


def offer_end(node, peer):
    """Let one end say that it does not need the session, as when it was idle for long."""
    node.peers._reaching._rest(node.session(peer))
    node.session(peer).offer_end()


def test_what_was_on_its_way_when_the_end_was_offered_is_taken_in(line: RoutedWorld):
    line.open("a", "c")
    a, c = line["a"], line["c"]
    line.clock.run(1.0)
    c.session(a).send(b"on its way")
    c.peers.flush()
    offer_end(a, c)
    line.clock.run(1.0)
    assert a.bodies == [b"on its way"]
    assert not a.session(c).rests
    a.session(c).send(b"answer")
    line.clock.run(1.0)
    assert c.bodies == [b"answer"] and a.told("ended") == []


def test_a_session_that_was_spoken_of_in_a_handshake_is_not_ended_by_agreement(line: RoutedWorld):
    # Who dials by it would go on with what the other end has ended.
    line.open("a", "c")
    a, c = line["a"], line["c"]
    line.clock.run(1.0)
    offer_end(a, c)
    line.want(a, c)
    line.clock.until(lambda: linked(a, c), 5.0)
    assert not a.session(c).rests and a.told("ended") == c.told("ended") == []
    a.session(c).send(b"over the link")
    line.clock.run(1.0)
    assert c.bodies == [b"over the link"]


def test_who_waits_for_a_session_that_rests_is_told_of_the_next_one(line: RoutedWorld):
    line.open("a", "c")
    a, c = line["a"], line["c"]
    line.clock.run(1.0)
    offer_end(a, c)
    a.peers.open("c")
    assert a.peers.is_opening("c")
    line.clock.until(lambda: not a.peers.is_opening("c"), 5.0)
    assert a.told("ended") == ["idle"] and a.told("started")[-1] == 2
    assert not a.session(c).rests


def superseded(line):
    """Two nodes of which the first takes their session for one that the other has ended, and opens the next one."""
    line.open("a", "c")
    a, c = line["a"], line["c"]
    line.clock.run(1.0)
    a.peers.supersede(a.session(c))
    a.peers.open("c")
    return a, c


def test_what_is_said_after_the_peer_has_ended_a_session_goes_on_the_next_one_and_its_last_words_are_heard(
    line: RoutedWorld,
):
    a, c = superseded(line)
    assert a.peers.is_opening("c")
    c.session(a).send(b"last words")
    line.clock.run(0.5)
    assert a.bodies == [b"last words"]
    assert a.session(c).rests and a.peers.is_opening("c")
    c.session(a).leave("leave")
    line.clock.until(lambda: not a.peers.is_opening("c"), 5.0)
    assert a.told("ended") == ["leave"] and a.told("started")[-1] == 2
    a.session(c).send(b"on the next one")
    line.clock.run(0.5)
    assert c.bodies == [b"on the next one"]


def test_nor_does_a_new_connection_let_it_take_something(line: RoutedWorld):
    a, c = superseded(line)
    line.want(c, a)
    line.clock.until(lambda: linked(a, c), 5.0)
    assert a.session(c).rests and a.peers.is_opening("c")
    c.session(a).end("for the next one")
    line.clock.until(lambda: not a.peers.is_opening("c"), 10.0)
    assert a.told("started")[-1] == 2 and not a.session(c).rests


def test_a_peer_that_does_not_answer_is_asked_over_another_connection(line: RoutedWorld):
    line.open("a", "c")
    a, c = line["a"], line["c"]
    line.clock.run(50.0)
    c.kept.add("a")
    c.peers.session_end_offered = lambda session: None  # type: ignore[method-assign, misc]
    line.clock.until(lambda: ("c", True) in a.rests, 70.0)
    a.peers.open("c")
    line.clock.until(lambda: not a.session(c).rests, 30.0)
    assert a.told("ended") == c.told("ended") == []


def test_one_whose_link_is_wanted_does_not_end():
    world = RoutedWorld("abc", links=("ab", "bc", "ac"))
    a, c = world["a"], world["c"]
    world.part("a", "c")
    world.clock.run(1000.0)
    assert a.told("ended") == c.told("ended") == []


def test_the_view_ends_a_session(line: RoutedWorld):
    line.open("a", "c")
    a, c = line["a"], line["c"]
    a.peers.down("c", "suspected by everybody")
    line.clock.run(1.0)
    assert a.told("ended") == ["suspected by everybody"]
    assert c.told("ended") == ["suspected by everybody"]
    a.peers.open("nobody")
    a.peers.down("nobody", "it was never there")
    assert a.told("unreachable") == ["it was never there"]


def test_a_session_ends_by_leave_over_a_route(line: RoutedWorld):
    line.open("a", "c")
    a, c = line["a"], line["c"]
    a.session(c).send(b"last words")
    a.peers.leave("leave")
    line.clock.run(2.0)
    assert c.bodies == [b"last words"]
    assert [reason for kind, peer, reason in c.log if kind == "ended" and peer == "a"] == ["leave"]


def test_a_new_life_takes_the_place_of_the_one_before(line: RoutedWorld):
    line.open("a", "c")
    a = line["a"]
    line.kill(line["c"])
    line.clock.run(5.0)
    again = line.by_name["c"] = line.node("c", epoch=2, listen="c:0")
    line.link("b", "c")
    again.peers.open("a")
    line.clock.until(lambda: routed(a, again), 8.0)
    assert a.told("ended") == ["newer life"]


def test_an_overflow_ends_a_session_that_cannot_be_reached():
    world = RoutedWorld("abc", links=("ab", "bc", "ac"))
    a, c = world["a"], world["c"]
    world.part("a", "c")
    world.part("b", "c")
    session = a.session(c)
    for _ in range(100):
        session.send(bytes(1 << 20))
        world.clock.run(0.1)
    assert ("ended", "c", "overflow") in a.log


def test_open_waits_for_a_link_that_is_coming_and_goes_by_a_route_if_it_does_not_come(line: RoutedWorld):
    a, c = line["a"], line["c"]
    a.peers.connect("c", ["nowhere:1"])
    a.peers.open("c")
    line.clock.until(lambda: routed(a, c), 5.0)
    line.clock.run(1.0)
    # The link is still wanted: that it could not be made is told, after the session.
    assert [kind for kind, peer, _ in a.log if peer == "c"] == ["started", "unreachable"]
    assert not a.peers.is_opening("c")


def test_open_without_routes_is_told_at_once():
    world = RoutedWorld("a")
    lone = world.by_name["l"] = super(RoutedWorld, world).node("l")
    lone.peers.open("a")
    world.clock.run(0.0)
    assert lone.told("unreachable") == ["there is no link, and this node knows no routes"]


def test_the_streams_of_a_channel_ride_a_route_and_have_connections_of_their_own_on_a_link():
    channels = (Channel("bulk", parallelism=2),)
    world = RoutedWorld()
    world.by_name = {name: world.node(name, channels=channels) for name in "abc"}
    for pair in ("ab", "bc", "ac"):
        world.link(pair[0], pair[1])
    a, c = world["a"], world["c"]

    def send_all(numbers: range) -> None:
        for number in numbers:
            for stream in ((2, 0), (2, 1)):
                a.session(c).outgoing(a_stream(stream)).send(b"%d;" % number)
                c.session(a).outgoing(a_stream(stream)).send(b"%d;" % number)
            world.clock.run(0.001)

    bulk = a.session(c).channels["bulk"].number

    def a_stream(stream: tuple[int, int]) -> tuple[int, int]:
        return bulk, stream[1]

    send_all(range(100))
    assert len(a.session(c).connections) == 2
    world.unlink("a", "c")
    send_all(range(100, 200))
    world.clock.run(2.0)
    assert routed(a, c)
    assert len(a.session(c).connections) == len(c.session(a).connections) == 0
    world.want(a, c)
    send_all(range(200, 300))
    world.clock.run(2.0)
    assert linked(a, c)
    assert len(a.session(c).connections) == len(c.session(a).connections) == 2
    expected = b"".join(b"%d;" % number for number in range(300))
    for node in (a, c):
        assert b"".join(node.by_stream[bulk, 0]) == b"".join(node.by_stream[bulk, 1]) == expected
    assert a.told("ended") == []


@pytest.mark.parametrize("seed", range(12))
def test_links_come_and_go_and_nothing_is_lost_or_doubled(seed: int):
    world = RoutedWorld("abcde", links=("ab", "bc", "cd", "de", "ea"), seed=seed, jitter=0.002)
    a, c = world["a"], world["c"]
    world.open("a", "c")
    random = world.clock.random
    number = 0
    for _ in range(12):
        for _ in range(random.randrange(1, 80)):
            a.session(c).send(b"%d;" % number)
            c.session(a).send(b"%d;" % number)
            number += 1
            world.clock.run(random.choice((0.0, 0.001, 0.02)))
        match random.randrange(4):
            case 0:
                world.want(a, c)
            case 1:
                a.peers.forget("c")
            case 2:
                c.peers.forget("a")
                a.peers.forget("c")
            case 3:
                for connection in list(world.transport.connections):
                    connection.cut()
        world.clock.run(random.choice((0.0, 0.05, 1.0)))
    expected = b"".join(numbered(number))
    world.clock.until(lambda: sum(map(len, a.bodies)) == sum(map(len, c.bodies)) == len(expected), 60.0)
    assert b"".join(a.bodies) == b"".join(c.bodies) == expected
    assert a.told("ended") == c.told("ended") == []
    for node in (a, c):
        kinds = [kind for kind, peer, _ in node.log if peer in ("a", "c") and kind in ("linked", "unlinked")]
        assert all(kind == ("linked", "unlinked")[index % 2] for index, kind in enumerate(kinds))


def test_parameters_are_checked():
    with pytest.raises(ValueError, match="idle"):
        SessionParameters(idle=0.0)
    assert PeerParameters(session=SessionParameters(idle=1.0)).session.idle == 1.0


def test_a_node_that_goes_by_routes_stops_without_waiting_for_answers_that_cannot_come(line: RoutedWorld):
    line.open("a", "c")
    line["a"].session(line["c"]).send(b"last words")
    gone: list[float] = []
    line["a"].peers.close("stop", lambda: gone.append(line.clock.now()))
    began = line.clock.now()
    line.clock.until(lambda: gone, 2.0)
    assert gone[0] - began < 0.5
    line.clock.run(1.0)
    assert line["c"].bodies == [b"last words"]
    assert line["c"].told("ended") == ["stop"]
    assert line["a"].peers.open_connections == 0


def test_a_stream_s_connection_that_comes_when_the_link_is_given_up_is_refused():
    world = RoutedWorld()
    channels = (Channel("bulk"),)
    world.by_name = {name: world.node(name, channels=channels) for name in "ab"}
    world.link("a", "b")
    a, b = world["a"], world["b"]
    number = a.session(b).channels["bulk"].number
    a.session(b).linked = False  # as it is from the moment on that it was given up
    b.session(a).outgoing((number, 0)).send(b"x")
    world.clock.run(0.3)
    assert len(a.session(b).connections) == len(b.session(a).connections) == 0
    world.clock.run(3.0)
    assert a.bodies == [b"x"], "it rides the first connection"


def test_a_route_that_is_dead_for_half_a_minute_loses_nothing(line: RoutedWorld):
    line.open("a", "c")
    a, c = line["a"], line["c"]
    for name in "ac":
        line[name].kept.update("ac")
    a.session(c).send(b"before;")
    line.clock.run(1.0)
    relay = line["b"].peers
    passes = relay.session_passes
    relay.session_passes = lambda session, frame: None  # type: ignore[method-assign]
    a.session(c).send(b"lost at first;")
    c.session(a).send(b"this too;")
    line.clock.run(30.0)
    assert not a.session(c).connected and not c.session(a).connected
    relay.session_passes = passes  # type: ignore[method-assign]
    line.clock.until(lambda: len(c.bodies) == 2 and len(a.bodies) == 1, 30.0)
    assert (b"".join(c.bodies), b"".join(a.bodies)) == (b"before;lost at first;", b"this too;")
    # The cluster was asked what it thinks of that, and nothing has ended.
    assert [kind for kind, peer, _ in a.log if peer == "c"] == ["started", "unreachable"]
    assert [kind for kind, peer, _ in c.log if peer == "a"] == ["started", "unreachable"]


def test_what_relays_follows_links_as_they_are_and_not_the_verdicts():
    world = RoutedWorld("abc", links=("ab", "bc", "ac"))
    a, c = world["a"], world["c"]
    relaying = a.peers.relaying
    assert relaying is not None and relaying.is_linked("c")
    (link,) = [link for link in a.peers._links if link.peer is not None and link.peer.node == "c"]
    link.connection.cut()  # type: ignore[attr-defined]
    world.clock.until(lambda: linked(a, c), 1.0)
    assert relaying.is_linked("c"), "one that is made anew at once changes nothing"
    world.unlink("a", "c")
    assert not relaying.is_linked("c")
    a.session(c).send(b"x")
    world.clock.run(1.0)
    assert routed(a, c) and not relaying.is_linked("c"), "a route is none to relay over: it might go round for ever"
    world.link("a", "c")
    assert relaying.is_linked("c")
    a.session(c).end("for a test")
    assert not relaying.is_linked("c")


# Without a way


def cut_off(world: RoutedWorld) -> None:
    """Nothing gets from a to c any more, and both live."""
    world.kill(world["b"])


def test_a_session_that_nothing_carries_is_told_of_and_ends_at_last(line: RoutedWorld):
    line.open("a", "c")
    a, c = line["a"], line["c"]
    a.kept.add("c")
    cut_off(line)
    a.session(c).send(b"lost")
    line.clock.until(lambda: not a.session(c).connected, 20.0)
    assert a.told("unreachable") == []
    assert 14.0 <= line.clock.until(lambda: a.told("unreachable") != [], 20.0) <= 16.0
    assert a.told("unreachable") == ["no way"]
    assert a.told("ended") == []
    assert 14.0 <= line.clock.until(lambda: "no way" in a.told("ended"), 20.0) <= 16.0
    line.clock.run(60.0)
    assert a.told("unreachable") == ["no way"]


def test_one_that_is_carried_again_is_not_told_of(line: RoutedWorld):
    line.open("a", "c")
    a, c = line["a"], line["c"]
    session = a.session(c)
    cut_off(line)
    session.send(b"late")
    line.clock.until(lambda: not session.connected, 20.0)
    line.clock.run(10.0)
    line.by_name["d"] = line.node("d")
    line.link("a", "d")
    line.link("d", "c")
    line.clock.until(lambda: c.bodies == [b"late"], 20.0)
    line.clock.run(60.0)
    assert (a.told("unreachable"), session.ended) == ([], None)


def test_a_quiet_route_that_something_hangs_on_is_looked_after(line: RoutedWorld):
    """Nothing else would find out that it is gone: who hangs on it would wait for ever."""
    line.open("a", "c")
    a, c = line["a"], line["c"]
    a.kept.add("c")
    line.clock.run(50.0)
    assert routed(a, c)
    cut_off(line)
    assert line.clock.until(lambda: "no way" in a.told("ended"), 120.0) <= 30.0 + 10.0 + 15.0 + 15.0 + 1.0
