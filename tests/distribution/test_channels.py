"""Channels: what a program may declare, and what two nodes come to."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partisan_actors.distribution.channels import (
    AUTO_STREAMS,
    DEFAULT_CHANNEL,
    DICTIONARIES,
    STREAMS_FEATURE,
    AgreedChannel,
    Channel,
    agree_channels,
    declare_channels,
    declared,
    declared_dictionaries,
    dictionaries_of,
)

SHORT, LONG = 0.0001, 0.05


def agree(
    mine: tuple[Channel, ...], theirs: tuple[Channel, ...], round_trip: float = SHORT, features: int = STREAMS_FEATURE
) -> dict[str, AgreedChannel]:
    """As it goes through a hello."""
    dictionaries = dictionaries_of((declared_dictionaries(theirs),))
    return agree_channels(mine, declared(theirs), features, round_trip, dictionaries)


def numbers(agreed: dict[str, AgreedChannel]) -> dict[str, tuple[int, int, int]]:
    return {name: (channel.number, channel.streams, channel.used) for name, channel in agreed.items()}


# What may be declared


@pytest.mark.parametrize(
    ("wrong", "error", "named"),
    [
        ({"name": ""}, ValueError, "name"),
        ({"name": "x" * 65}, ValueError, "name"),
        ({"name": "a\nb"}, ValueError, "name"),
        ({"name": "\ud800"}, ValueError, "name"),
        ({"name": b"bytes"}, ValueError, "name"),
        ({"parallelism": 0}, ValueError, "parallelism"),
        ({"parallelism": 257}, ValueError, "parallelism"),
        ({"parallelism": -1}, ValueError, "parallelism"),
        ({"parallelism": 2.0}, ValueError, "parallelism"),
        ({"parallelism": "many"}, ValueError, "parallelism"),
        ({"compression": 23}, ValueError, "compression"),
        ({"compression": -8}, ValueError, "compression"),
        ({"compression": "zstd"}, ValueError, "compression"),
        ({"priority": "high"}, TypeError, "priority"),
        ({"priority": None}, TypeError, "priority"),
        ({"low_watermark": 0}, ValueError, "low_watermark"),
        ({"low_watermark": 8 << 20}, ValueError, "low_watermark"),
        ({"high_watermark": 1000}, ValueError, "high_watermark"),
        ({"high_watermark": 1e9}, TypeError, "high_watermark"),
        ({"high_watermark": "much"}, TypeError, "high_watermark"),
        ({"low_watermark": 1.5}, TypeError, "low_watermark"),
        ({"low_watermark": None}, TypeError, "low_watermark"),
        ({"dictionary": b""}, TypeError, "dictionary"),
        ({"dictionary": "words"}, TypeError, "dictionary"),
        ({"name": DEFAULT_CHANNEL, "monotonic": True}, ValueError, "monotonic"),
    ],
)
def test_a_wrong_field_is_an_error_that_names_it(wrong: dict[str, object], error: type[Exception], named: str) -> None:
    fields: dict[str, object] = {"name": "bulk", **wrong}
    with pytest.raises(error, match=named) as caught:
        Channel(**fields)  # type: ignore[arg-type]
    if named not in ("name", "monotonic"):
        assert "'bulk'" in str(caught.value), "and the channel"


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "x" * 64},
        {"name": "größer"},
        {"parallelism": 1},
        {"parallelism": 256},
        {"parallelism": "auto"},
        {"compression": -7},
        {"compression": 22},
        {"monotonic": True},
        {"priority": -5},
        {"low_watermark": 1, "high_watermark": 2},
        {"high_watermark": 1 << 40},
        {"dictionary": b"typical"},
    ],
)
def test_what_is_within_the_limits_has_streams_that_work(fields: dict[str, object]) -> None:
    channel = Channel(**{"name": "bulk", **fields})  # type: ignore[arg-type]
    parameters = channel.stream_parameters
    assert (parameters.low_watermark, parameters.high_watermark) == (channel.low_watermark, channel.high_watermark)
    assert parameters.hard_limit > parameters.high_watermark
    assert channel.streams == (AUTO_STREAMS if channel.parallelism == "auto" else channel.parallelism)


def test_a_channel_stays_as_it_was_declared() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Channel("bulk").parallelism = 2  # type: ignore[misc]


def test_the_default_channel_is_added_and_stands_first() -> None:
    bulk, default = Channel("bulk"), Channel(DEFAULT_CHANNEL, parallelism=4)
    assert declare_channels(()) == (Channel(DEFAULT_CHANNEL),)
    assert declare_channels([bulk]) == (Channel(DEFAULT_CHANNEL), bulk)
    assert declare_channels([bulk, default]) == (default, bulk)


@pytest.mark.parametrize("name", ["bulk", DEFAULT_CHANNEL])
def test_a_channel_is_declared_once(name: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}' is declared twice"):
        declare_channels([Channel(name), Channel(name, parallelism=2)])


def test_what_is_no_channel_cannot_be_declared() -> None:
    with pytest.raises(TypeError, match="'bulk'"):
        declare_channels(["bulk"])  # type: ignore[list-item]


def test_there_are_64_channels_at_the_most_with_the_default_one() -> None:
    channels = [Channel(f"c{number}") for number in range(64)]
    assert len(declare_channels(channels[:63])) == 64
    with pytest.raises(ValueError, match="65 channels are too many: 64"):
        declare_channels(channels)
    assert len(declare_channels([*channels[:63], Channel(DEFAULT_CHANNEL)])) == 64


def test_what_a_hello_says_of_them() -> None:
    channels = declare_channels(
        [Channel("bulk", parallelism=4), Channel("far", parallelism="auto"), Channel("newest", monotonic=True)]
    )
    assert declared(channels) == (("default", 1, 0), ("bulk", 4, 0), ("far", 0, 0), ("newest", 1, 1))


# What two nodes come to


names = st.sampled_from(["default", "bulk", "control", "a", "Z", "größer"])
channels = st.builds(
    Channel,
    name=names,
    parallelism=st.one_of(st.integers(1, 256), st.just("auto")),
    priority=st.integers(-1, 1),
    dictionary=st.sampled_from([None, b"one", b"other"]),
)
declarations = st.lists(channels, max_size=6, unique_by=lambda channel: channel.name).map(declare_channels)


@given(declarations, declarations, st.sampled_from([0.0, SHORT, LONG]))
def test_two_nodes_come_to_the_same(mine: tuple[Channel, ...], theirs: tuple[Channel, ...], round_trip: float) -> None:
    here, there = agree(mine, theirs, round_trip), agree(theirs, mine, round_trip)
    assert numbers(here) == numbers(there)
    by_name = {channel.name: channel for channel in mine}
    assert set(here) == set(by_name) & {channel.name for channel in theirs}
    assert sorted(channel.number for channel in here.values()) == list(range(1, len(here) + 1))
    assert here[DEFAULT_CHANNEL].number == 1
    for name, agreed in here.items():
        assert agreed.channel is by_name[name]
        assert agreed.name == name
        assert 1 <= agreed.used <= agreed.streams <= agreed.channel.streams
        assert agreed.dictionary == there[name].dictionary, "what one compresses with, the other expands with"
        assert agreed.dictionary in (None, agreed.channel.dictionary)


def test_a_channel_has_as_many_streams_as_who_says_less() -> None:
    here = agree(declare_channels([Channel("bulk", parallelism=4)]), declare_channels([Channel("bulk", parallelism=9)]))
    assert numbers(here)["bulk"] == (2, 4, 4)


@pytest.mark.parametrize(
    ("mine", "theirs", "round_trip", "streams", "used"),
    [
        ("auto", "auto", SHORT, 16, 1),
        ("auto", "auto", LONG, 16, 16),
        ("auto", 4, SHORT, 4, 1),
        ("auto", 4, LONG, 4, 4),
        ("auto", 100, LONG, 16, 16),
        ("auto", 1, LONG, 1, 1),
        (4, 4, SHORT, 4, 4),
        ("auto", "auto", 0.0049, 16, 1),
        ("auto", "auto", 0.005, 16, 16),
    ],
)
def test_auto_is_one_stream_and_more_where_the_round_trip_is_long(
    mine: int | str, theirs: int | str, round_trip: float, streams: int, used: int
) -> None:
    here, there = declare_channels([Channel("c", parallelism=mine)]), declare_channels([Channel("c", theirs)])
    for agreed in (agree(here, there, round_trip), agree(there, here, round_trip)):
        assert numbers(agreed)["c"] == (2, streams, used)


def test_channels_that_only_one_has_are_not_numbered() -> None:
    mine = declare_channels([Channel("b"), Channel("only-mine"), Channel("a")])
    theirs = declare_channels([Channel("a"), Channel("aa"), Channel("b")])
    assert {name: channel.number for name, channel in agree(mine, theirs).items()} == {"default": 1, "a": 2, "b": 3}


def test_a_peer_that_names_no_default_channel_has_it_all_the_same() -> None:
    agreed = agree_channels(declare_channels([Channel(DEFAULT_CHANNEL, parallelism=4)]), (), STREAMS_FEATURE, SHORT)
    assert numbers(agreed) == {"default": (1, 1, 1)}


@pytest.mark.parametrize("features", [0, 2, 0xFE])
def test_with_a_peer_of_before_channels_there_are_none(features: int) -> None:
    both = declare_channels([Channel("bulk")])
    assert agree(both, both, features=features) == {}


# Dictionaries


def test_a_dictionary_is_used_where_both_have_the_same_for_that_channel() -> None:
    mine = declare_channels([Channel("same", dictionary=b"one"), Channel("not", dictionary=b"one"), Channel("mine")])
    theirs = declare_channels([Channel("same", dictionary=b"one"), Channel("not"), Channel("mine", dictionary=b"one")])
    for agreed in (agree(mine, theirs), agree(theirs, mine)):
        assert {name: channel.dictionary for name, channel in agreed.items()} == {
            "default": None,
            "same": b"one",
            "not": None,
            "mine": None,
        }


def test_dictionaries_that_two_channels_have_the_other_way_round_are_not_mixed_up() -> None:
    mine = declare_channels([Channel("a", dictionary=b"one"), Channel("b", dictionary=b"two")])
    theirs = declare_channels([Channel("a", dictionary=b"two"), Channel("b", dictionary=b"one")])
    for agreed in (agree(mine, theirs), agree(theirs, mine)):
        assert [channel.dictionary for channel in agreed.values()] == [None, None, None]


def test_what_a_hello_says_of_dictionaries_is_read_whatever_it_is() -> None:
    assert dictionaries_of(()) == frozenset()
    assert dictionaries_of([(DICTIONARIES, b"12345678abcdefgh"), (9, b"87654321")]) == {b"12345678", b"abcdefgh"}
    kind, data = declared_dictionaries(declare_channels([Channel("a", dictionary=b"one"), Channel("b")]))
    assert (kind, len(data)) == (DICTIONARIES, 8)
