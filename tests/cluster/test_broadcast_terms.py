"""Whatever other nodes send, reading it raises nothing, and fills nothing."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from partisan_actors.cluster import broadcast_terms as terms
from partisan_actors.cluster.broadcast_events import (
    BroadcastReceived,
    MemberUp,
    NeighbourUp,
    PlumtreeParameters,
    Root,
    SendBroadcast,
)
from partisan_actors.cluster.broadcasting import read_message
from partisan_actors.cluster.plumtree import Plumtree
from partisan_actors.distribution.machine import TimerFired
from partisan_actors.wire.codec import Codec, DecodeError
from partisan_actors.wire.signals import BROADCAST, BROADCAST_CONTROL, Signal, encode_signal, signals_of

KINDS = (
    *("gossip", "answer", "ihave", "graft", "prune", "digest", "branches", "leaves", "summary"),
    *("pull", "served", "synchronise", "asked", "marks"),
)
NUMBERS = st.sampled_from([-1, 0, 1, 2, 3, 63, 64, 4095, 1 << 31, 1 << 40, (1 << 62) - 1, 1 << 62, (1 << 64) - 1])
WORDS: st.SearchStrategy[Any] = st.sampled_from(["", "r", "me", "a", "h", "x" * 256]) | NUMBERS | st.booleans()
ODD: st.SearchStrategy[Any] = st.none() | st.floats() | st.binary(max_size=3)
RANGES = st.lists(st.tuples(NUMBERS, NUMBERS), max_size=3).map(tuple)
ROOTS = st.tuples(st.sampled_from(["r", "me", "a"]), st.sampled_from([1, 7]))
NEARLY = (
    st.tuples(ROOTS, NUMBERS, RANGES).map(lambda parts: (*parts[0], *parts[1:]))  # a summary
    | st.tuples(ROOTS, NUMBERS, st.booleans(), NUMBERS).map(lambda parts: (*parts[0], *parts[1:]))  # an announcement
    | st.tuples(ROOTS, RANGES).map(lambda parts: (*parts[0], parts[1]))  # what is wanted
    | st.tuples(NUMBERS, st.just((0,) * 64))  # the leaves of a branch
)
ITEMS = st.recursive(WORDS | ODD | NEARLY, lambda inner: st.lists(inner, max_size=4).map(tuple), max_leaves=10)
MESSAGES = (
    st.lists(ITEMS, max_size=9).map(tuple)
    | st.tuples(st.sampled_from(KINDS), st.lists(ITEMS, max_size=8)).map(lambda parts: (parts[0], *parts[1]))
    | st.tuples(st.sampled_from(["gossip", "answer"]), ROOTS, NUMBERS, NUMBERS, st.booleans(), NUMBERS).map(
        lambda parts: (parts[0], *parts[1], *parts[2:], "h", b"payload")
    )
    | st.tuples(st.sampled_from(["ihave", "pull"]), st.lists(NEARLY, max_size=4).map(tuple))
    | st.tuples(st.just("summary"), st.booleans(), st.lists(NUMBERS, max_size=3).map(tuple), st.tuples(NEARLY))
    | st.tuples(st.just("marks"), st.booleans(), st.booleans(), st.booleans(), st.tuples(NEARLY))
    | ITEMS
)
SMALL = PlumtreeParameters(max_missing=5, max_trees=3, retention_count=8, max_roots=6, max_holes=4)
TIMERS = st.sampled_from(["ihave", "graft", "sweep", "exchange", "meet", "pull", "synchronise"])


@given(ITEMS)
def test_no_term_raises(term: Any):
    for read in (terms.read_announcement, terms.read_age, terms.read_ranges, terms.read_summary, terms.read_wanted):
        read(term)
    message = term if type(term) is tuple else (term,)
    terms.read_gossip(message, 100)
    terms.read_announcements(message)


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "stranger"]), MESSAGES | TIMERS), max_size=25))
def test_no_message_raises_or_fills_a_table(messages: list[tuple[str, Any]]):
    machine, random, now = Plumtree("me", 1, SMALL), Random(1), 0.0
    for known in (MemberUp("a", 7), MemberUp("b", 8), NeighbourUp("a"), NeighbourUp("b")):
        machine.step(known, now, random)
    for node, message in messages:
        now += 0.1
        event = TimerFired((message, node)) if type(message) is str else BroadcastReceived(node, message)
        effects = machine.step(event, now, random)
        said = [effect for effect in effects if type(effect) is SendBroadcast]
        assert sum(len(repr(effect.message)) for effect in said) < 200_000
    sizes = machine.sizes()
    assert sizes["missing"] <= 5 and sizes["trees"] <= 3 and sizes["log"] <= 8 and sizes["roots"] <= 6
    assert all(state.marks.holes <= 5 for state in machine._roots if machine.synchronised)
    assert machine.seen(Root("me", 1), 1) is False, "nobody can broadcast for this node"


def signal_of(kind: int, payload: bytes) -> Signal:
    encoded = encode_signal(kind, payload=payload)
    assert isinstance(encoded, bytes)
    (signal,) = signals_of(encoded)
    return signal


@given(st.sampled_from([BROADCAST, BROADCAST_CONTROL]), st.binary(max_size=60) | MESSAGES.map(repr).map(str.encode))
def test_no_bytes_raise_anything_else(kind: int, payload: bytes):
    signal = signal_of(kind, payload)
    try:
        read_message(Codec(), signal)
    except DecodeError:
        pass


@given(st.integers(0, (1 << 32) - 1), st.binary(max_size=20))
def test_a_length_that_lies_reserves_nothing(length: int, rest: bytes):
    signal = signal_of(BROADCAST, length.to_bytes(4, "big") + rest)
    try:
        message = read_message(Codec(), signal)
    except DecodeError:
        return
    assert len(repr(message)) < 200
