"""Which stream a flow travels on."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partisan_actors.cluster.ways import Way, Ways, flow_of, name_flow
from partisan_actors.distribution.channels import (
    STREAMS_FEATURE,
    Channel,
    agree_channels,
    declare_channels,
    declared,
)
from partisan_actors.distribution.streams import DEFAULT, ONLY, StreamId
from partisan_actors.errors import ActorError

serials = st.integers(0, (1 << 64) - 1)


class FakeSession:
    """What `Ways` asks of a session; a stream's sending end is its number."""

    node = "peer"

    def __init__(self, mine: tuple[Channel, ...], theirs: tuple[Channel, ...], features: int = STREAMS_FEATURE) -> None:
        self.channels = agree_channels(mine, declared(theirs), features, 0.0)
        self.default: object = DEFAULT if self.channels else ONLY
        self.asked: list[StreamId] = []

    def outgoing(self, stream: StreamId) -> object:
        assert any(channel.number == stream[0] and 0 <= stream[1] < channel.used for channel in self.channels.values())
        self.asked.append(stream)
        return stream


def ways_of(
    mine: tuple[Channel, ...], theirs: tuple[Channel, ...] | None = None, features: int = STREAMS_FEATURE
) -> Ways:
    mine = declare_channels(mine)
    session = FakeSession(mine, declare_channels(theirs) if theirs is not None else mine, features)
    return Ways(session, {channel.name: channel for channel in mine})  # type: ignore[arg-type]


def stream_of(way: Way) -> StreamId:
    stream: object = way.outgoing
    return stream  # type: ignore[return-value]


# Flows


@given(serials, serials)
def test_a_flow_of_two_processes_is_the_same_in_both_directions(one: int, other: int) -> None:
    assert flow_of(one, other, None) == flow_of(other, one, None)


@given(serials, st.text())
def test_a_flow_to_a_name_is_that_of_the_name_whatever_process_has_it(one: int, name: str) -> None:
    assert flow_of(one, 0, name) == flow_of(one, 7, name) == one + name_flow(name)
    assert 0 <= name_flow(name) <= 0xFFFFFFFF


def test_a_name_may_have_any_characters() -> None:
    assert len({name_flow(name) for name in ("", "a", "b", "größer", "\ud800", "a\0")}) == 6


@given(serials, serials, st.integers(1, 256))
def test_both_ends_put_a_flow_on_the_same_stream(one: int, other: int, parallelism: int) -> None:
    here = ways_of((Channel("default", parallelism),), (Channel("default", 200),))
    there = ways_of((Channel("default", 200),), (Channel("default", parallelism),))
    stream = stream_of(here.usual(flow_of(one, other, None)))
    assert stream == stream_of(there.usual(flow_of(other, one, None)))
    assert stream[0] == 1 and 0 <= stream[1] < min(parallelism, 200)


# How flows are spread


def spread(flows: list[int], streams: int) -> Counter[int]:
    ways = ways_of((Channel("default", streams),))
    return Counter(stream_of(ways.usual(flow))[1] for flow in flows)


@pytest.mark.parametrize("streams", [4, 16])
@pytest.mark.parametrize(
    "flows",
    [
        pytest.param([flow_of(1000 + at, 5000 + at, None) for at in range(1000)], id="pairs in a row"),
        pytest.param([flow_of(1000 + at, 17, None) for at in range(1000)], id="many with one"),
        pytest.param([flow_of(1000 + at, 0, "server") for at in range(1000)], id="many with a name"),
        pytest.param([flow_of(1000 + 8 * at, 17, None) for at in range(1000)], id="each eighth with one"),
        pytest.param([flow_of(1000 + 16 * at, 5000 + 16 * at, None) for at in range(1000)], id="each sixteenth pair"),
        pytest.param([flow_of((1 << 40) + at, 17, None) for at in range(1000)], id="large serials"),
    ],
)
def test_processes_in_a_row_are_spread_over_the_streams(flows: list[int], streams: int) -> None:
    counts = spread(flows, streams)
    assert len(counts) == streams
    assert max(counts.values()) <= 1.3 * len(flows) / streams
    assert min(counts.values()) >= 0.7 * len(flows) / streams


@pytest.mark.parametrize("streams", [4, 16])
def test_so_are_a_few_pairs_and_any_pairs(streams: int) -> None:
    assert len(spread([flow_of(100 + at, 200 + at, None) for at in range(2 * streams)], streams)) >= streams * 0.7
    chance = random.Random(1)
    counts = spread([flow_of(chance.getrandbits(40), chance.getrandbits(40), None) for _ in range(8000)], streams)
    assert max(counts.values()) < 1.3 * 8000 / streams


# Channels


def test_one_stream_needs_no_look() -> None:
    ways = ways_of((Channel("default"),))
    assert {stream_of(ways.usual(flow)) for flow in range(100)} == {DEFAULT}
    assert ways.usual(7).flow == 7


def test_a_channel_that_both_have_is_used() -> None:
    ways = ways_of((Channel("bulk", 4), Channel("control")))
    assert {stream_of(ways.on("bulk", flow, "key")) for flow in range(100)} == {(2, at) for at in range(4)}
    assert stream_of(ways.on("control", 5, "key")) == (3, 0)
    assert ways.on("bulk", 5, "key").flow == 5, "a flow, as the channel is not monotonic"


def test_the_flow_of_a_monotonic_channel_is_the_key() -> None:
    ways = ways_of((Channel("newest", 4, monotonic=True),))
    way = ways.on("newest", 5, ("any", "key"))
    assert way.flow == ("any", "key")
    assert stream_of(way) == stream_of(ways.on("newest", 5, "another")), "the stream goes by the flow"


def test_a_channel_that_the_peer_lacks_falls_back_on_the_default_one() -> None:
    ways = ways_of((Channel("default", 4), Channel("bulk")), (Channel("default", 4),))
    for flow in range(100):
        assert ways.on("bulk", flow, "key") == ways.usual(flow)
    monotonic = ways_of((Channel("newest", monotonic=True),), ())
    assert monotonic.on("newest", 5, "key").flow == 5, "nothing is dropped there"


def test_or_is_refused_with_what_to_do_about_it() -> None:
    ways = ways_of((Channel("bulk", fallback=False),), ())
    with pytest.raises(ActorError, match=r"peer has no channel 'bulk'.*fallback=False.*declare it there"):
        ways.on("bulk", 1, "key")


@pytest.mark.parametrize("fallback", [True, False])
def test_a_peer_of_before_channels_lacks_all(fallback: bool) -> None:
    ways = ways_of((Channel("default", 4), Channel("bulk", fallback=fallback)), features=0)
    assert {stream_of(ways.usual(flow)) for flow in range(100)} == {ONLY}
    if fallback:
        assert stream_of(ways.on("bulk", 1, "key")) == ONLY
    else:
        with pytest.raises(ActorError, match="peer has no channel 'bulk'"):
            ways.on("bulk", 1, "key")


def test_a_way_sends_in_its_flow() -> None:
    sent = []

    class Outgoing:
        def send(self, signal: bytes, flow: object) -> bool:
            sent.append((signal, flow))
            return False

    assert not Way(Outgoing(), "flow").send(b"signal")  # type: ignore[arg-type]
    assert sent == [(b"signal", "flow")]
