"""Client-server: servers to all servers, clients to some of them, never to each other."""

from __future__ import annotations

import gc
import time
from random import Random
from typing import Any

import pytest

from partisan_actors.testing.layers import overlay_layer
from partisan_actors.testing.members import FullMembers
from partisan_actors.testing.protocols import ProtocolSimulation
from partisan_actors.topologies import ClientServer, NotForEveryNode, find_topology
from partisan_actors.topologies.overlay import (
    Connect,
    Disconnect,
    Joined,
    LinkDown,
    LinkUp,
    MemberDown,
    MemberUp,
    Message,
    Refuse,
    Send,
    SetTimer,
    TimerFired,
    Unreachable,
)

ATTACH, DETACH = ("attach",), ("detach",)
SERVER, CLIENT = "server", "client"
CHOOSE = TimerFired("choose")
NAMES = ("s1@h", "s2@h", "s3@h", "s4@h")


def play(machine, *events, random=None):
    """The effects of the last of these events."""
    effects = ()
    for event in events:
        effects = machine.step(event, 0.0, random or Random(1))
    return list(effects)


def client(*events, **options):
    machine = ClientServer(CLIENT, **options).overlay("me@h")
    return machine, play(machine, *events)


def server(*events):
    machine = ClientServer(SERVER).overlay("me@h")
    return machine, play(machine, *events)


def servers_up(*names):
    return [MemberUp(name, SERVER) for name in names]


def test_a_server_is_linked_to_every_server():
    machine, effects = server(*servers_up("s2@h", "s1@h"))
    assert (machine.neighbours(), effects) == (["s1@h", "s2@h"], [Connect("s1@h")])


def test_a_server_waits_for_clients_to_choose_it():
    machine, effects = server(MemberUp("c@h", CLIENT), LinkUp("c@h"))
    assert (machine.neighbours(), effects) == ([], [])
    assert play(machine, Message("c@h", ATTACH)) == [Connect("c@h")]
    assert machine.neighbours() == ["c@h"]


@pytest.mark.parametrize("event", [Message("c@h", DETACH), LinkDown("c@h"), MemberDown("c@h")])
def test_a_client_that_goes_is_no_neighbour_of_its_server(event):
    machine, effects = server(MemberUp("c@h", CLIENT), LinkUp("c@h"), Message("c@h", ATTACH), event)
    assert machine.neighbours() == []
    assert Disconnect("c@h") in effects


def test_a_client_takes_two_servers_by_chance():
    machine, effects = client(*servers_up(*NAMES))
    assert (machine.neighbours(), effects) == ([], [])
    chosen = {tuple(play(client(*servers_up(*NAMES))[0], CHOOSE, random=Random(seed))) for seed in range(50)}
    assert all(len(effects) == 2 and all(isinstance(effect, Connect) for effect in effects) for effects in chosen)
    assert {effect.node for effects in chosen for effect in effects} == set(NAMES)


@pytest.mark.parametrize(("connections", "expected"), [(1, 1), (3, 3), (9, 4), (None, 4)])
def test_how_many_servers_a_client_takes(connections, expected):
    machine, _ = client(*servers_up(*NAMES), CHOOSE, connections=connections)
    assert len(machine.neighbours()) == expected


def test_a_client_attaches_with_every_link():
    machine, _ = client(*servers_up("s1@h"), CHOOSE)
    assert Send("s1@h", ATTACH) in play(machine, LinkUp("s1@h"))
    assert Send("s1@h", ATTACH) in play(machine, LinkDown("s1@h"), LinkUp("s1@h"))


def test_a_client_keeps_the_server_that_it_joined_through():
    machine, effects = client(MemberUp("s4@h", SERVER), LinkUp("s4@h"), Joined("s4@h"))
    assert (machine.neighbours(), effects) == (["s4@h"], [Connect("s4@h"), Send("s4@h", ATTACH)])


def test_a_client_whose_server_goes_takes_another():
    machine, _ = client(*servers_up("s1@h", "s2@h", "s3@h"), CHOOSE)
    (left,) = {"s1@h", "s2@h", "s3@h"} - set(machine.neighbours())
    gone = machine.neighbours()[0]
    assert play(machine, MemberDown(gone)) == [Disconnect(gone), Connect(left)]
    assert gone not in machine.neighbours()


def test_a_client_whose_servers_are_all_gone_takes_those_that_come():
    machine, _ = client(*servers_up("s1@h", "s2@h"), CHOOSE)
    play(machine, MemberDown("s1@h"), MemberDown("s2@h"))
    assert machine.neighbours() == []
    play(machine, *servers_up("s9@h"), CHOOSE)
    assert machine.neighbours() == ["s9@h"]


def test_a_client_tries_all_servers_when_it_reaches_none():
    machine, _ = client(*servers_up(*NAMES), CHOOSE, connections=1)
    tried, random = [], Random(7)
    for _ in range(12):
        (wanted,) = machine.neighbours()
        tried.append(wanted)
        play(machine, Unreachable(wanted), random=random)
        if machine.neighbours() == [wanted]:
            effects = play(machine, TimerFired("retry"), random=random)
            assert any(isinstance(effect, SetTimer) and effect.key == "retry" for effect in effects)
    assert set(tried[:4]) == set(NAMES)
    assert len(set(tried[4:])) > 1


def test_a_server_that_is_reached_is_kept_when_the_other_is_not():
    machine, _ = client(*servers_up("s1@h", "s2@h", "s3@h"), CHOOSE)
    one, other = machine.neighbours()
    play(machine, LinkUp(one), Unreachable(other))
    assert one in machine.neighbours() and other not in machine.neighbours()
    assert len(machine.neighbours()) == 2


def test_a_server_that_has_moved_is_dialled_anew():
    machine, _ = client(*servers_up("s1@h"), CHOOSE)
    assert play(machine, MemberUp("s1@h", SERVER)) == [Connect("s1@h")]


def test_a_link_between_clients_is_closed_after_a_while():
    machine, effects = client(MemberUp("c@h", CLIENT), LinkUp("c@h"))
    assert effects == [SetTimer(("grace", "c@h"), 2.0)]
    assert play(machine, TimerFired(("grace", "c@h"))) == [Disconnect("c@h")]
    assert machine.neighbours() == []


def test_one_that_changes_its_role_is_what_it_says_now():
    machine, _ = server(*servers_up("x@h"), LinkUp("x@h"))
    assert Disconnect("x@h") in play(machine, MemberUp("x@h", CLIENT))
    assert machine.neighbours() == []


def test_d20_a_member_that_leaves_costs_its_own_link_only():
    machine, _ = server(*servers_up("s1@h", "s2@h"), LinkUp("s1@h"), LinkUp("s2@h"))
    assert play(machine, MemberDown("s1@h")) == [Disconnect("s1@h")]
    assert machine.neighbours() == ["s2@h"]
    assert play(machine, MemberDown("s1@h"), MemberDown("never@h")) == []


@pytest.mark.parametrize("other", [SERVER, CLIENT, "", "operator"])
@pytest.mark.parametrize("own", [SERVER, CLIENT])
def test_d21_every_pair_of_tags_has_a_rule(own, other):
    machine = ClientServer(own).overlay("me@h")
    play(machine, MemberUp("x@h", other), CHOOSE)
    assert machine.neighbours() == (["x@h"] if other == SERVER else [])
    effects = play(machine, LinkUp("x@h"))
    allowed = SERVER in (own, other) and other in (SERVER, CLIENT)
    assert (SetTimer(("grace", "x@h"), 2.0) in effects) != allowed
    assert (Disconnect("x@h") in play(machine, TimerFired(("grace", "x@h")))) != allowed


@pytest.mark.parametrize("payload", [None, ("attach", 1), "attach", {}, ("keep",), float("nan")])
def test_what_makes_no_sense_is_counted(payload):
    machine, effects = server(MemberUp("c@h", CLIENT), LinkUp("c@h"), Message("c@h", payload))
    assert (machine.neighbours(), effects, machine.refused) == ([], [Refuse("c@h", "payload")], {"payload": 1})


@pytest.mark.parametrize("tag", [SERVER, "", None])
def test_only_a_client_attaches(tag):
    machine, _ = server(*([MemberUp("x@h", tag)] if tag is not None else []))
    before = machine.neighbours()
    refused = Refuse("x@h", "role") if tag is not None else Refuse("x@h", "no member", late=True)
    assert play(machine, Message("x@h", ATTACH)) == [refused]
    assert (machine.neighbours(), machine.refused) == (before, {refused.reason: 1})


def test_the_servers_by_name_serve_for_every_node():
    topology = ClientServer(servers=("s2@h", "s1@h"))
    assert topology.tag == ""
    assert find_topology("client_server", topology.parameters()) == topology
    one = topology.overlay("s1@h")
    play(one, MemberUp("s2@h"), MemberUp("c@h", SERVER))  # what it says of itself does not count
    assert one.neighbours() == ["s2@h"]
    two = topology.overlay("c@h")
    play(two, MemberUp("s2@h"), MemberUp("s1@h"), MemberUp("d@h"), CHOOSE)
    assert two.neighbours() == ["s1@h", "s2@h"]


def test_a_role_is_of_one_node_and_cannot_be_sent():
    with pytest.raises(NotForEveryNode, match=r'role="client" is of one node.*ClientServer\(servers='):
        ClientServer(CLIENT).parameters()
    assert ClientServer(CLIENT).tag == CLIENT


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "role"),
        ({"role": "both"}, "role"),
        ({"role": SERVER, "servers": ("a@h",)}, "role"),
        ({"servers": "a@h"}, "servers"),
        ({"servers": 5}, "servers"),
        ({"servers": (5,)}, "servers"),
        ({"role": CLIENT, "connections": 0}, "connections"),
        ({"role": CLIENT, "connections": True}, "connections"),
        ({"role": CLIENT, "settle": 0}, "settle"),
        ({"role": CLIENT, "grace": float("inf")}, "grace"),
        ({"role": CLIENT, "retry": "1"}, "retry"),
    ],
)
def test_what_makes_no_topology_is_named(given, field):
    with pytest.raises((TypeError, ValueError), match=field):
        ClientServer(**given)


def test_news_reach_clients_through_their_servers_and_servers_by_few():
    names = [f"s{number:02}@h" for number in range(30)]
    machine, _ = server(*servers_up(*names), MemberUp("c@h", CLIENT), MemberUp("a@h", CLIENT))
    passed_on = list(machine.gossip(sorted([*names, "a@h", "c@h"])))
    assert passed_on == sorted(passed_on)
    assert {"a@h", "c@h"} < set(passed_on) and len(passed_on) <= 2 + 6
    assert client()[0].gossip(["s1@h", "s2@h"]) == ["s1@h", "s2@h"]


def test_a_client_costs_a_server_the_same_whether_there_are_a_hundred_or_ten_thousand():
    def seconds(clients: int) -> float:
        machine, _ = server(*servers_up("s1@h"))
        random = Random(1)
        events: list[Any] = []
        for number in range(clients):
            name = f"c{number}@h"
            events += [MemberUp(name, CLIENT), LinkUp(name), Message(name, ATTACH)]
        for event in events:
            machine.step(event, 0.0, random)
        begin = time.perf_counter()
        for event in events[-300:]:
            machine.step(event, 0.0, random)
        for event in events[-300::3]:
            machine.step(MemberDown(event.node), 0.0, random)
        return time.perf_counter() - begin

    gc.disable()
    try:
        few, many = (min(seconds(clients) for _ in range(5)) for clients in (100, 10_000))
    finally:
        gc.enable()
    assert many < 5 * few


def test_a_thousand_clients_are_served_and_outlive_a_server():
    servers = [f"n{number}@sim" for number in range(4)]
    topology = ClientServer(servers=tuple(servers))
    simulation = ProtocolSimulation(
        1, lambda node: [overlay_layer(topology.overlay(node.name))], members=FullMembers(down_after=1.0)
    )
    simulation.grow(4 + 1000, spacing=0.002)
    simulation.run(5.0)
    simulation.crash(simulation["n2@sim"])
    simulation.run(15.0)
    live = {name for name in servers if name != "n2@sim"}
    links = {node.name: set(node.linked()) for node in simulation.alive()}
    assert all(mine <= live and len(mine) == 2 for name, mine in links.items() if name not in live)
    served = [len(links[name] - live) for name in sorted(live)]
    assert sum(served) == 2000 and all(live - {name} < links[name] for name in live)
    assert min(served) > 400  # by chance, and so about the same
    before = sum(simulation.sent)
    simulation.run(60.0)
    assert sum(simulation.sent) == before
