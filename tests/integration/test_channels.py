"""Channels between whole nodes: order, affinity, falling back, monotonic and compressed ones, over real sockets."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import gevent
import pytest

from partisan_actors import (
    ActorError,
    Channel,
    Down,
    Node,
    Pid,
    Remote,
    WouldBlock,
    monitor,
    receive,
    register,
    self_pid,
    send,
    spawn,
    whereis,
)
from partisan_actors.behaviours import call, cast, receive_response, send_request
from tests.conditions import wait_until
from tests.integration.workers import Echo
from tests.nodes import Nodes, cluster_of, cut, session_between, stop_reading

BULK = Channel("bulk", parallelism=4)
LATEST = Channel("latest", monotonic=True)
CHANNELS = (BULK, LATEST, Channel("packed", compression=3), Channel("strict", fallback=False))


@pytest.fixture
def pair(nodes: Nodes) -> Iterator[list[Node]]:
    here, there = nodes.cluster("here", "there", channels=CHANNELS)
    with here.attached():
        yield [here, there]


def collect(last: int, owner: Pid) -> None:
    """Gather numbers until the last one, and tell them."""
    gathered: list[int] = []
    while not gathered or gathered[-1] != last:
        gathered.append(receive(int))
    send(owner, (self_pid(), gathered))


def streams_used(node: Node, other: Node) -> set[tuple[int, int]]:
    session = session_between(node, other)
    return {stream.id for stream in session.machine.streams if stream.sending.sent}


@pytest.mark.parametrize(
    ("channel", "pairs"), [(BULK, 2000), (Channel("default", parallelism=4), 500)], ids=["bulk", "default"]
)
def test_order_per_pair_holds_for_thousands_of_pairs_while_connections_break(
    nodes: Nodes, channel: Channel, pairs: int
):
    here, there = nodes.cluster("here", "there", channels=(channel,))
    with here.attached():
        keeps_order(here, there, None if channel.name == "default" else channel.name, pairs)
        session = session_between(here, there)
        agreed = session.channels[channel.name]
        assert {index for number, index in streams_used(here, there) if number == agreed.number} == {0, 1, 2, 3}


def keeps_order(here: Node, there: Node, channel: str | None, pairs: int) -> None:
    """Numbers to so many processes, which get them in order while connections break; the session lasts."""
    rounds = 15
    receivers = [there.spawn(collect, rounds - 1, self_pid()) for _ in range(pairs)]
    chance = random.Random(7)

    def sender(pid: Pid) -> None:
        for number in range(rounds):
            send(pid, number, channel=channel)
            if not chance.randrange(4):
                gevent.sleep(0)

    for pid in receivers:
        spawn(sender, pid)
    told: dict[Pid, list[int]] = {}
    session = session_between(here, there)
    while len(told) < pairs:
        pid, gathered = receive(tuple, timeout=30.0)
        told[pid] = gathered
        if len(told) % (pairs // 5) == 0:
            for link in list(cluster_of(there).peers._links):
                link.connection.close("cut")
    assert all(gathered == list(range(rounds)) for gathered in told.values())
    assert session_between(here, there) is session


def test_a_partition_key_picks_the_stream_whoever_sends_and_receives(pair: list[Node]):
    here, there = pair
    echoes = [there.run(Echo.start) for _ in range(10)]
    for echo in echoes:
        assert call(echo, ("echo", 1), channel="bulk", partition_key=("tenant", 7)) == 1
    number = session_between(here, there).channels["bulk"].number
    used = [index for channel, index in streams_used(here, there) if channel == number]
    assert len(used) == 1
    # The answers came back on it.
    assert [index for channel, index in streams_used(there, here) if channel == number] == used


def test_what_two_senders_send_with_one_key_keeps_its_order_whatever_its_size(pair: list[Node]):
    """Each in turn: one of them large messages, which others would pass, the other one small ones."""
    _, there = pair
    echo = there.run(Echo.start)
    rounds = 10

    def sender(first: int, size: int) -> None:
        for number in range(first, 2 * rounds, 2):
            other = receive(Pid)
            send(echo, (number, bytes(size)), channel="bulk", partition_key="both")
            send(other, self_pid())

    large, small = spawn(sender, 0, 1 << 20), spawn(sender, 1, 10)
    send(large, small)
    wait_until(lambda: there.run(call, echo, "count") == 2 * rounds, 10.0)
    assert [number for number, _ in there.run(call, echo, "notes")] == list(range(2 * rounds))


def test_a_call_is_one_frame_each_way(nodes: Nodes):
    here, there = nodes.cluster("here", "there")
    with here.attached():
        echo = there.run(Echo.start)
        call(echo, ("echo", "connects, and learns what it has to"))

        def frames(one: Node, other: Node) -> int:
            count: int = one.telemetry()["peers"][other.name]["channels"]["default"]["frames_sent"]
            return count

        def quiet() -> bool:
            peers = here.telemetry()["peers"][there.name], there.telemetry()["peers"][here.name]
            channels = [peer["channels"]["default"] for peer in peers]
            return not any(channel["unsent_bytes"] + channel["unacknowledged_bytes"] for channel in channels)

        wait_until(quiet)
        before = frames(here, there), frames(there, here)
        for number in range(1, 21):
            assert call(echo, ("echo", number)) == number
            assert (frames(here, there), frames(there, here)) == (before[0] + number, before[1] + number)
        wait_until(quiet)
        assert (frames(here, there), frames(there, here)) == (before[0] + 20, before[1] + 20)


def test_a_reply_does_not_overtake_what_was_sent_before_it(pair: list[Node]):
    _, there = pair

    def talker() -> None:
        owner = receive(Pid)
        for number in range(200):
            send(owner, number, channel="bulk")
        send(owner, "done", channel="bulk")

    pid = there.spawn(talker)
    send(pid, self_pid(), channel="bulk")
    ref = monitor(pid)
    assert [receive(int, timeout=5.0) for _ in range(200)] == list(range(200))
    assert receive(str, timeout=5.0) == "done"
    assert receive(Down, timeout=5.0).ref == ref


def test_a_channel_that_the_other_node_lacks_falls_back_or_fails_as_it_says(nodes: Nodes):
    here, there = nodes.start("here", channels=CHANNELS), nodes.start("there")
    here.join(there.address)
    with here.attached():
        echo = there.run(Echo.start)
        assert call(echo, ("echo", 1), channel="bulk") == 1
        assert streams_used(here, there) == {(0, 0), (1, 0)}
        with pytest.raises(ActorError, match=f"{there.name} has no channel 'strict', .* fallback=False: declare it"):
            call(echo, ("echo", 2), channel="strict")
        with pytest.raises(ActorError, match="has no channel 'strict'"):
            send(echo, 1, channel="strict")
        # Nothing is left of it.
        assert call(echo, ("echo", 3)) == 3


def test_a_channel_that_this_node_lacks_is_an_error_at_the_call(pair: list[Node]):
    echo = pair[1].run(Echo.start)
    for use in (call, cast, send_request):
        with pytest.raises(ActorError, match=r"no channel 'bluk', only 'default', 'bulk'"):
            use(echo, 1, channel="bluk")


def test_d23_the_channel_of_one_call_is_not_that_of_the_next(pair: list[Node]):
    """Partisan: the channel given to one call or cast sticks for later ones of the same process."""
    here, there = pair
    echo = there.run(Echo.start)
    session = session_between(here, there)
    named = session.outgoing((session.channels["bulk"].number, 0)).stream.id[0]

    def sent() -> tuple[int, int]:
        """Frames of the named channel, and of the default one."""
        frames = {True: 0, False: 0}
        for stream in session.machine.streams:
            if stream is not session.system.stream:
                frames[stream.id[0] == named] += stream.sending.sent
        return frames[True], frames[False]

    for use in (call, cast, lambda *asked, **options: receive_response(send_request(*asked, **options), 5.0)):
        on_named, on_default = sent()
        use(echo, ("echo", 1), channel="bulk")
        call(echo, ("echo", 2), channel="bulk")  # what was cast is out, too
        assert sent()[0] > on_named and sent()[1] == on_default
        on_named, on_default = sent()
        use(echo, ("echo", 3))
        call(echo, ("echo", 4))
        assert sent()[0] == on_named and sent()[1] > on_default


def test_a_monotonic_channel_keeps_the_newest_of_each_key_and_counts_the_rest(pair: list[Node]):
    here, there = pair

    def gather() -> None:
        owner = receive(Pid)
        newest: dict[str, int] = {}
        while newest != {"a": 999, "b": 999}:
            key, number = receive(tuple)
            assert number > newest.get(key, -1)
            newest[key] = number
        send(owner, "all")

    pid = there.spawn(gather)
    send(pid, self_pid())
    send(pid, ("a", 0), channel="latest", partition_key="a")
    session = session_between(here, there)
    wait_until(lambda: len(session.connections) == 1)
    read_on = stop_reading(there, here)
    for number in range(1, 1000):
        for key in "ab":
            send(pid, (key, number), channel="latest", partition_key=key)
    sending = session.outgoing((session.channels["latest"].number, 0)).stream.sending
    assert sending.superseded == 2 * 998
    read_on()
    assert receive(str, timeout=5.0) == "all"


def test_a_monotonic_channel_takes_no_calls(pair: list[Node]):
    echo = pair[1].run(Echo.start)
    for use in (call, send_request):
        with pytest.raises(ActorError, match="channel 'latest' is monotonic and takes no calls"):
            use(echo, ("echo", 1), channel="latest")


def test_d7_a_compressed_channel_carries_the_same_in_fewer_bytes(pair: list[Node]):
    """Partisan: compression is ignored unless pids and refs are encoded its other way."""
    _, there = pair
    echo = there.run(Echo.start)
    counters = cluster_of(there).peers.counters
    text = [f"line {number} of a text that repeats itself\n" for number in range(5000)]
    for message, most in (
        (text, 60_000),
        ("short", 200),
        (("a" * 1_000_000,), 2_000),
        (random.Random(1).randbytes(300_000), 301_000),
    ):
        before = counters.bytes_received
        assert call(echo, ("echo", message), channel="packed") == message
        assert counters.bytes_received - before < most


def test_a_dictionary_that_both_nodes_declare_makes_it_fewer_still(nodes: Nodes):
    words = " ".join(f"typical{number}" for number in range(100))
    received: list[int] = []
    for dictionary in (None, words.encode()):
        channels = (Channel("packed", compression=3, dictionary=dictionary),)
        here, there = nodes.cluster("here", "there", channels=channels)
        with here.attached():
            echo = there.run(Echo.start)
            assert call(echo, ("echo", words), channel="packed") == words
            agreed = session_between(here, there).channels["packed"].dictionary
            assert (agreed is not None) == (dictionary is not None)
            counters = cluster_of(there).peers.counters
            before = counters.bytes_received
            for number in range(20):
                message = f"{number}: {words[number * 20 : number * 20 + 500]}"
                assert call(echo, ("echo", message), channel="packed") == message
            received.append(counters.bytes_received - before)
    without, shared = received
    assert shared < without / 2


def test_large_messages_of_many_pairs_arrive_whole_while_connections_break(pair: list[Node]):
    here, there = pair
    echo = there.run(Echo.start)
    chance = random.Random(3)
    messages = [chance.randbytes(chance.choice((10, 70_000, 500_000, 3_000_000))) for _ in range(40)]
    requests = [
        send_request(echo, ("echo", message), channel=chance.choice((None, "bulk")), partition_key=index % 7)
        for index, message in enumerate(messages)
    ]
    cut(here, there)
    for index, (request, message) in enumerate(zip(requests, messages, strict=True)):
        assert receive_response(request, 30.0) == message
        if index % 10 == 0:
            for link in list(cluster_of(there).peers._links):
                link.connection.close("cut")


def test_a_small_call_passes_a_large_message_of_another_pair(pair: list[Node]):
    here, there = pair
    slow, quick = there.run(Echo.start), there.run(Echo.start)
    read_on = stop_reading(there, here)
    large = send_request(slow, ("echo", bytes(6 << 20)))
    small = send_request(quick, ("echo", 1))
    read_on()
    order: list[Any] = []
    while len(order) < 2:
        order.append(receive(timeout=10.0).request)
    assert order == [small, large]


def test_one_channel_full_is_no_matter_to_another(nodes: Nodes):
    channels = (Channel("bulk", high_watermark=1 << 20, low_watermark=1 << 19),)
    here, there = nodes.cluster("here", "there", channels=channels)
    with here.attached():
        echo = there.run(Echo.start)
        assert call(echo, ("echo", 1), channel="bulk") == 1
        session = session_between(here, there)
        outgoing = session.outgoing((session.channels["bulk"].number, 0))
        (connection,) = session_between(there, here).connections._connections.values()
        assert connection.link is not None
        connection.link.connection._reader.stop()  # type: ignore[attr-defined]
        with pytest.raises(WouldBlock):
            while True:
                send(echo, bytes(10_000), channel="bulk", nosuspend=True)
        assert outgoing.congested
        assert call(echo, ("echo", 2)) == 2
        send(echo, "x", nosuspend=True)


def test_the_first_messages_of_a_channel_are_not_lost_when_their_node_stops(nodes: Nodes):
    here, there = nodes.cluster("here", "there", channels=CHANNELS)
    echo = there.run(Echo.start)
    with here.attached():
        for number in range(50):
            cast(echo, number, channel="bulk", partition_key=number % 5)
    here.stop()
    wait_until(lambda: there.run(call, echo, "count") == 50)


def test_a_down_by_name_does_not_pass_a_large_message_sent_before(pair: list[Node]):
    _, there = pair

    def talker() -> None:
        register("talker", self_pid())
        owner = receive(Pid)
        send(owner, bytes(6 << 20))

    pid = there.spawn(talker)
    wait_until(lambda: there.run(whereis, "talker") == pid)
    ref = monitor(Remote("talker", there.name))
    send(pid, self_pid())
    assert len(receive((bytes, Down), timeout=5.0)) == 6 << 20  # type: ignore[arg-type]
    assert receive(timeout=5.0) == Down(ref, Remote("talker", there.name), "normal")


def test_a_dictionary_that_cannot_be_used_is_told():
    with pytest.raises(ValueError, match="channel 'x': dictionary cannot be used"):
        Channel("x", compression=3, dictionary=b"\x37\xa4\x30\xec" + b"x" * 100)
