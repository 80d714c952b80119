"""What holds for a connection of every kind: TCP over IPv4 and IPv6, under TLS and not, unix and memory."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from tests.conditions import wait_until

MEGABYTE = 1024 * 1024


def echo(end, count):
    end.connection.write([bytes(end.data[-count:])])


def test_bytes_go_both_ways(network):
    near, far = network.pair()
    far.on_received = echo
    near.connection.write([b"one ", memoryview(b"and two"), b""])
    near.expect(b"one and two")
    near.connection.write([])
    near.connection.write([b""])
    near.connection.write([b"!"])
    near.expect(b"one and two!")


def test_the_peer_is_named(network):
    near, far = network.pair()
    near_name, far_name = near.connection.peer_address, far.connection.peer_address
    start = {"tcp": "127.0.0.1:", "tcp6": "[::1]:", "tls": "127.0.0.1:", "unix": "unix:/", "memory": "m:"}[network.kind]
    assert near_name.startswith(start)
    assert near_name == network.listeners[0].address
    assert far_name.startswith({"unix": "unix:uid=", "memory": "memory:"}.get(network.kind, start))


def test_large_transfers_both_ways_while_both_write(network):
    near, far = network.pair()
    chunk = bytes(range(256)) * 4096
    total = 24

    def keep_writing(end):
        while end.left and not end.connection.unsent:
            end.left -= 1
            end.connection.write([chunk])

    for end in (near, far):
        end.left = total
        end.on_writable = keep_writing
        keep_writing(end)
    for end in (near, far):
        wait_until(lambda end=end: end.count == total * MEGABYTE, 20.0, what="all of it")
        assert end.data == chunk * total
    for end in (near, far):
        assert end.rooms > 0
        assert end.connection.unsent == 0


def test_many_buffers_in_one_write(network):
    near, far = network.pair()
    buffers = [b"%d," % number for number in range(5000)]
    near.connection.write(buffers)
    far.expect(b"".join(buffers))


def test_order_holds_between_what_waits_and_what_is_written_next(network):
    near, far = network.pair()
    far.keep = False
    seen = bytearray()
    far.on_received = lambda end, count: seen.extend(end.buffer()[:count])
    pieces = [bytes([number]) * (1 + 70_001 * (number % 7)) for number in range(100)]
    for piece in pieces:
        near.connection.write([piece[:1], piece[1:]])
    wait_until(lambda: far.count == sum(map(len, pieces)), what="all pieces")
    assert seen == b"".join(pieces)


def test_room_is_reported_once_and_never_inside_write(network):
    near, far = network.pair()
    far.keep = False
    near.connection.write([bytes(16 * MEGABYTE)])
    assert near.connection.unsent > 0
    assert near.rooms == 0
    wait_until(lambda: far.count == 16 * MEGABYTE, 20.0, what="all of it")
    wait_until(lambda: near.rooms, what="room")
    near.connection.write([b"."])
    wait_until(lambda: far.count == 16 * MEGABYTE + 1, what="the last byte")
    assert near.rooms == 1


def test_close_is_reported_to_both_ends_and_not_inside_close(network):
    near, far = network.pair()
    near.connection.close("done")
    assert near.reason is None
    near.connection.close("again")
    near.connection.write([b"late"])
    wait_until(lambda: near.reason and far.reason, what="both closed")
    assert (near.reason, far.reason) == ("done", "eof")
    assert far.data == b""
    assert near.connection.unsent == far.connection.unsent == 0
    far.connection.write([b"later"])
    far.connection.close("later still", flush=True)


def test_a_flush_sends_what_waits(network):
    near, far = network.pair()
    data = bytes(range(256)) * 40_000
    near.connection.write([data])
    assert near.connection.unsent > 0
    near.connection.close("done", flush=True)
    far.expect(data)
    wait_until(lambda: near.reason and far.reason, what="both closed")
    assert (near.reason, far.reason) == ("done", "eof")
    assert near.rooms == 0


def test_a_flushing_end_takes_no_more_input(network):
    near, far = network.pair()
    near.connection.close("done", flush=True)
    far.connection.write([b"x" * 100])
    wait_until(lambda: near.reason and far.reason, what="both closed")
    assert near.data == b""
    assert far.reason == "eof"


def test_closing_inside_received(network):
    near, far = network.pair()

    def on_received(end, count):
        end.connection.close("enough")
        assert end.reason is None
        end.connection.write([b"no more"])

    far.on_received = on_received
    near.connection.write([b"x" * 300_000])
    wait_until(lambda: near.reason and far.reason, what="both closed")
    assert far.reason == "enough"
    assert far.count <= 64 * 1024
    assert near.data == b""


def test_calls_inside_closed_do_nothing(network):
    near, far = network.pair()

    def on_closed(end):
        end.connection.write([b"x"])
        end.connection.close("again")
        end.connection.close("again", flush=True)

    near.on_closed = far.on_closed = on_closed
    near.connection.close("done")
    wait_until(lambda: near.reason and far.reason, what="both closed")
    assert (near.reason, far.reason) == ("done", "eof")


@pytest.mark.parametrize("callback", ["on_received", "on_writable", "on_closed"])
def test_a_failing_callback_ends_its_connection_only(network, callback):
    near, far = network.pair()
    other_near, other_far = network.pair()

    def fail(*_):
        raise LookupError("a bug")

    with capture_logs() as logs:
        if callback == "on_writable":
            far.keep = False
            near.on_writable = fail
            near.connection.write([bytes(16 * MEGABYTE)])
            failing = near
        else:
            setattr(far, callback, fail)
            near.connection.write([b"x"])
            failing = far
            if callback == "on_closed":
                near.connection.close("done")
        wait_until(lambda: near.reason and far.reason, 20.0, what="both closed")
        wait_until(lambda: logs, what="the log line")
    assert failing.reason == ("eof" if callback == "on_closed" else "callback failed")
    (line,) = logs
    assert line["event"] == "transport_callback_failed"
    assert line["callback"] == callback.removeprefix("on_")
    assert line["address"] == failing.connection.peer_address
    assert isinstance(line["exc_info"], LookupError)
    other_near.connection.write([b"still here"])
    other_far.expect(b"still here")


def test_an_empty_buffer_is_the_receivers_fault(network):
    near, far = network.pair()
    far._space = memoryview(b"")
    with capture_logs() as logs:
        near.connection.write([b"x"])
        wait_until(lambda: far.reason, what="closed")
    assert far.reason == "callback failed"
    assert "empty buffer" in str(logs[0]["exc_info"])


def test_no_receiver_is_a_refusal(network):
    listener = network.listen(lambda connection: None)
    near = network.dial(listener.address)
    wait_until(lambda: near.reason, what="closed")
    assert near.reason.removesuffix(" in the TLS handshake") in ("eof", "reset")


def test_a_refusal_that_says_why(network):
    def refuse(connection):
        connection.write([b"no room"])
        connection.close("no room", flush=True)

    listener = network.listen(refuse)

    def greet(connection):
        # What the refusing end never reads must not cost us its last words.
        connection.write([b"hello" * 1000])
        return network.record(connection)

    near = network.dial(listener.address, greet)
    wait_until(lambda: near.reason, what="closed")
    assert near.data == b"no room"
    assert near.reason == "eof"


def test_a_failing_acceptor_costs_one_connection(network):
    accepted = []

    def accept(connection):
        if not accepted:
            accepted.append(None)
            raise LookupError("a bug")
        accepted.append(network.record(connection))
        return accepted[-1]

    listener = network.listen(accept)
    with capture_logs() as logs:
        first = network.dial(listener.address)
        wait_until(lambda: first.reason, what="closed")
    assert logs[0]["callback"] == "accepted"
    second = network.dial(listener.address)
    second.connection.write([b"x"])
    wait_until(lambda: len(accepted) == 2, what="accepted")
    accepted[1].expect(b"x")


def test_a_failing_connected_closes_the_connection(network):
    accepted = []

    def accept(connection):
        accepted.append(network.record(connection))
        return accepted[-1]

    listener = network.listen(accept)

    def connected(connection):
        raise LookupError("a bug")

    with capture_logs() as logs:
        network.transport.dial(listener.address, 5.0, connected, lambda reason: None)
        wait_until(lambda: logs, what="the log line")
    assert logs[0]["callback"] == "connected"
    wait_until(lambda: not accepted or accepted[0].reason, what="closed")


def test_a_failing_failed_is_logged(network):
    address = network.listen(lambda connection: None)
    address.close()

    def failed(reason):
        raise LookupError("a bug")

    with capture_logs() as logs:
        network.transport.dial(address.address, 5.0, lambda connection: None, failed)
        wait_until(lambda: logs, what="the log line")
    assert logs[0]["callback"] == "failed"


def test_writing_and_closing_before_the_receiver_is_known(network):
    accepted = []

    def accept(connection):
        end = network.record(connection)
        connection.write([b"bye"])
        connection.close("short visit", flush=True)
        accepted.append(end)
        return end

    listener = network.listen(accept)
    near = network.dial(listener.address)
    near.expect(b"bye")
    wait_until(lambda: near.reason and accepted[0].reason, what="both closed")
    assert accepted[0].reason == "short visit"


def test_a_listener_that_is_closed_accepts_nobody_and_keeps_whom_it_has(network):
    accepted = []

    def accept(connection):
        accepted.append(network.record(connection))
        return accepted[-1]

    listener = network.listen(accept)
    near = network.dial(listener.address)
    wait_until(lambda: accepted, what="accepted")
    listener.close()
    listener.close()
    assert network.failure(listener.address) == "refused"
    near.connection.write([b"x"])
    accepted[0].expect(b"x")


def test_closing_the_listener_inside_accepted(network):
    accepted = []

    def accept(connection):
        listener.close()
        accepted.append(network.record(connection))
        return accepted[-1]

    listener = network.listen(accept)
    near = network.dial(listener.address)
    wait_until(lambda: accepted, what="accepted")
    near.connection.write([b"x"])
    accepted[0].expect(b"x")


def test_an_address_is_listened_on_once(network):
    listener = network.listen(lambda connection: None)
    with pytest.raises(OSError, match="cannot listen on") as caught:
        network.listen(lambda connection: None, listener.address)
    assert listener.address in str(caught.value)


def test_a_cancelled_dial_is_silent(network):
    listener = network.listen(lambda connection: None)
    calls = []
    dial = network.transport.dial(listener.address, 5.0, calls.append, calls.append)
    dial.cancel()
    dial.cancel()
    lost = network.transport.dial(
        "nowhere:1" if network.kind == "memory" else "127.0.0.1:1", 5.0, calls.append, calls.append
    )
    lost.cancel()
    network.dial(listener.address)
    assert calls == []


def test_cancelling_after_the_end_is_harmless(network):
    listener = network.listen(network.record)
    ends = []

    def connected(connection):
        dial.cancel()
        ends.append(network.record(connection))
        return ends[-1]

    dial = network.transport.dial(listener.address, 5.0, connected, ends.append)
    wait_until(lambda: ends, what="connected")
    dial.cancel()
    ends[0].connection.write([b"x"])
    wait_until(lambda: len(network.ends) == 2, what="accepted")
    accepted = next(end for end in network.ends if end is not ends[0])
    accepted.expect(b"x")
