"""Who may have a connection."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from partisan_actors.distribution.admission import Acquaintance, Acquaintances, Grounds, judge, judge_stream
from partisan_actors.processes.identity import Life
from partisan_actors.wire.handshake import Hello, RefusalCode
from partisan_actors.wire.hello import encode_topology_version

A = Life("a", 10, 1)
B = Life("b", 10, 2)
B_LATER = Life("b", 20, 3)
B_EARLIER = Life("b", 5, 4)

_nonces = itertools.count()


def hello(life: Life, **fields: object) -> Hello:
    nonce = next(_nonces).to_bytes(32, "big")
    return Hello(node=life.node, epoch=life.epoch, bits=life.bits, nonce=nonce, **fields)  # type: ignore[arg-type]


NOTHING = Grounds(own=A, topology="")
KNOWN = replace(NOTHING, known=Acquaintance(B, 3))
HELD = replace(KNOWN, held=B, held_number=3)
ANSWERS = replace(HELD, answers=True)


def code(grounds: Grounds, peer: Hello, mine: Hello | None = None) -> int | None:
    refusal = judge(grounds, mine, peer)
    return refusal.code if refusal is not None else None


def test_a_newcomer_is_welcome():
    assert code(NOTHING, hello(B), hello(A)) is None


def test_ourselves():
    assert code(NOTHING, hello(A)) == RefusalCode.SELF


def test_our_own_name_from_another_life():
    refusal = judge(NOTHING, None, hello(Life("a", 99, 9)))
    assert refusal is not None
    assert (refusal.code, refusal.detail) == (RefusalCode.NAME, A.epoch)


def test_who_holds_no_session_needs_a_place_and_is_told_last_that_there_is_none():
    assert code(replace(NOTHING, room=False), hello(B)) == RefusalCode.FULL
    assert code(replace(KNOWN, room=False), hello(B)) == RefusalCode.FULL
    assert code(replace(HELD, room=False), hello(B)) is None
    assert code(replace(HELD, room=False), hello(B_LATER)) is None, "in the place of the life before"
    assert code(replace(KNOWN, room=False), hello(B_EARLIER)) == RefusalCode.NAME
    refusal = judge(replace(NOTHING, room=False), None, hello(B))
    assert refusal is not None and refusal.text == "a has as many sessions as it may"


@pytest.mark.parametrize("grounds", [KNOWN, HELD, ANSWERS])
def test_a_life_that_was_seen_comes_back(grounds: Grounds):
    assert code(grounds, hello(B)) is None


def test_a_later_life_is_welcome_when_nobody_answers_for_the_old_one():
    assert code(KNOWN, hello(B_LATER)) is None
    assert code(HELD, hello(B_LATER)) is None


def test_and_not_while_the_old_one_answers():
    refusal = judge(ANSWERS, None, hello(B_LATER))
    assert refusal is not None
    assert (refusal.code, refusal.detail) == (RefusalCode.NAME, B.epoch)
    assert "connected and answers" in refusal.text


@pytest.mark.parametrize("grounds", [KNOWN, HELD])
@pytest.mark.parametrize("life", [B_EARLIER, Life("b", B.epoch, 77)])
def test_an_earlier_life_is_told_what_to_be_above_of(grounds: Grounds, life: Life):
    refusal = judge(grounds, None, hello(life))
    assert refusal is not None
    assert (refusal.code, refusal.detail) == (RefusalCode.NAME, B.epoch)


def test_another_topology_is_refused():
    grounds = replace(NOTHING, topology="full_mesh")
    refusal = judge(grounds, None, hello(B, topology="hyparview"))
    assert refusal is not None
    assert refusal.code == RefusalCode.TOPOLOGY
    assert "full_mesh" in refusal.text and "hyparview" in refusal.text


@pytest.mark.parametrize(("mine", "theirs"), [(1, 0), (0, 1), (1, 2)])
def test_but_not_in_a_cluster_that_has_changed_it_while_it_ran(mine: int, theirs: int):
    grounds = replace(NOTHING, topology="full_mesh", topology_version=mine)
    peer = hello(B, topology="hyparview", extensions=(encode_topology_version(theirs),))
    assert code(grounds, peer) is None


# What the hellos said is overtaken


def test_a_session_that_both_hold_goes_on():
    mine = hello(A, session=3, last_session=3, peer_bits=B.bits)
    peer = hello(B, session=3, last_session=3, peer_bits=A.bits)
    assert code(HELD, peer, mine) is None


def test_one_that_ended_during_the_handshake_does_not():
    mine = hello(A, session=3, last_session=3, peer_bits=B.bits)
    peer = hello(B, session=3, last_session=3, peer_bits=A.bits)
    assert code(KNOWN, peer, mine) == RefusalCode.SIMULTANEOUS
    newer = replace(HELD, held_number=4, known=Acquaintance(B, 4))
    assert code(newer, peer, mine) == RefusalCode.SIMULTANEOUS


def test_one_that_began_during_the_handshake_is_not_ended_by_it():
    assert code(replace(HELD, held_number=1, known=Acquaintance(B, 1)), hello(B), hello(A)) == RefusalCode.SIMULTANEOUS


def test_one_that_only_we_hold_gives_way_to_a_newer_one():
    mine = hello(A, session=3, last_session=3, peer_bits=B.bits)
    peer = hello(B, last_session=3)
    assert code(HELD, peer, mine) is None


def test_a_session_number_is_never_used_twice():
    # Both began with none known; meanwhile another connection made session 1, which has ended since.
    assert code(replace(KNOWN, known=Acquaintance(B, 1)), hello(B), hello(A)) == RefusalCode.SIMULTANEOUS


# Crossing dials; "a" is the smaller name


def test_the_smaller_name_keeps_its_own_dial_once_that_was_answered():
    assert code(replace(NOTHING, dial_answered=True), hello(B), hello(A)) == RefusalCode.SIMULTANEOUS
    assert code(NOTHING, hello(B), hello(A)) is None, "a dial into nowhere keeps nobody out"


def test_or_has_just_become_the_sessions_connection():
    mine = hello(A, session=3, last_session=3, peer_bits=B.bits)
    peer = hello(B, session=3, last_session=3, peer_bits=A.bits)
    assert code(replace(ANSWERS, crossed=True), peer, mine) == RefusalCode.SIMULTANEOUS


def test_the_greater_name_accepts():
    grounds = Grounds(own=B, topology="", dial_answered=True, crossed=True)
    assert code(grounds, hello(A), hello(B)) is None


def test_the_end_that_dialled_does_not_refuse_its_own_dial():
    assert code(replace(NOTHING, dial_answered=True, accepting=False), hello(B), hello(A)) is None


def test_a_connection_that_is_half_open_does_not_keep_the_peers_redial_out():
    # Ours seems to be connected, and even answers; the peer would not dial if it saw that connection.
    mine = hello(A, session=3, last_session=3, peer_bits=B.bits)
    peer = hello(B, session=3, last_session=3, peer_bits=A.bits)
    assert code(ANSWERS, peer, mine) is None


# A connection for one stream


def judged(grounds: Grounds, *, mine: Hello | None, peer: Hello, has_it: bool = True) -> int | None:
    refusal = judge_stream(grounds, mine, peer, has_it)
    return refusal.code if refusal is not None else None


def of_stream(life: Life, session: int = 3, stream: tuple[int, int] = (2, 1)) -> Hello:
    return hello(life, session=session, channel=stream[0], stream=stream[1])


def test_a_stream_of_the_session_that_both_hold_gets_a_connection():
    assert judged(HELD, mine=of_stream(A), peer=of_stream(B)) is None
    assert judged(HELD, mine=None, peer=of_stream(B)) is None, "before anything was said"
    assert judged(replace(HELD, accepting=False, dial_answered=True), mine=of_stream(A), peer=of_stream(B)) is None


@pytest.mark.parametrize("grounds", [NOTHING, KNOWN, replace(HELD, held=B_LATER), replace(HELD, held_number=4)])
def test_no_stream_without_a_session_or_with_another_life_or_another_session(grounds: Grounds):
    assert judged(grounds, mine=of_stream(A), peer=of_stream(B)) == RefusalCode.SIMULTANEOUS
    assert judged(grounds, mine=None, peer=of_stream(B)) == RefusalCode.SIMULTANEOUS


@pytest.mark.parametrize(("mine", "peer"), [(0, 3), (3, 0), (0, 0), (2, 3), (3, 2), (2, 2)])
def test_a_session_that_began_or_ended_during_the_handshake_is_not_that_of_the_hellos(mine: int, peer: int):
    assert judged(HELD, mine=of_stream(A, mine), peer=of_stream(B, peer)) == RefusalCode.SIMULTANEOUS


@pytest.mark.parametrize("other", [(2, 2), (3, 1), (0, 0)])
def test_the_two_have_to_mean_the_same_stream(other: tuple[int, int]):
    refusal = judge_stream(HELD, of_stream(A), of_stream(B, stream=other), True)
    assert refusal is not None
    assert (refusal.code, refusal.text) == (RefusalCode.MALFORMED, "the two sides name different streams")


def test_a_stream_that_they_have_not_is_named():
    refusal = judge_stream(HELD, of_stream(A), of_stream(B), False)
    assert refusal is not None
    assert (refusal.code, refusal.text) == (RefusalCode.MALFORMED, "there is no stream 1 on channel 2")


# Acquaintances


def test_the_least_recently_seen_name_is_forgotten_first():
    known = Acquaintances(2)
    known.remember(B, 1)
    known.remember(Life("c", 1, 1), 1)
    known.remember(B_LATER, 2)
    known.remember(Life("d", 1, 1), 1)
    assert known.get("b") == Acquaintance(B_LATER, 2)
    assert known.get("c") is None
    assert len(known) == 2


# Routes


def test_a_route_does_not_take_the_place_of_a_link_whose_peer_is_heard():
    peer = hello(B, session=3, peer_bits=A.bits)
    mine = hello(A, session=3, peer_bits=B.bits)
    by_route = replace(ANSWERS, routed=True)
    assert code(replace(by_route, linked=True), peer, mine) == RefusalCode.SIMULTANEOUS
    assert code(replace(by_route, linked=True), peer) == RefusalCode.SIMULTANEOUS, "told before anything was said"
    assert code(replace(by_route, linked=True, accepting=False), peer, mine) == RefusalCode.SIMULTANEOUS
    assert code(by_route, peer, mine) is None, "that of another route, or of a link that is half open"


def test_a_link_takes_the_place_of_anything():
    peer = hello(B, session=3, peer_bits=A.bits)
    mine = hello(A, session=3, peer_bits=B.bits)
    assert code(replace(ANSWERS, linked=True), peer, mine) is None
    assert code(ANSWERS, peer, mine) is None


def test_a_later_life_by_a_route_takes_the_place_of_one_that_is_not_heard():
    assert code(replace(HELD, routed=True), hello(B_LATER)) is None
    assert code(replace(ANSWERS, routed=True, linked=True), hello(B_LATER)) == RefusalCode.NAME
