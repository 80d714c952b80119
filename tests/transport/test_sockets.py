"""What a connection does with a real kernel: exact accounts, bounded turns, and every way for a peer to go."""

from __future__ import annotations

import errno
import resource
import socket
import struct
import threading
import time
import tracemalloc

import pytest

from partisan_actors.transport import sockets as machinery
from tests.conditions import wait_until
from tests.transport.peers import raw_connection

MEGABYTE = 1024 * 1024


def read_all_there_is(peer, enough=None):
    """Read until the kernel has no more; with `enough`, until that much has come (the network may take a moment)."""
    count = 0
    deadline = time.monotonic() + 5.0
    while time.monotonic() < deadline:
        try:
            data = peer.recv(MEGABYTE)
        except BlockingIOError:
            if enough is None or count >= enough:
                return count
            continue
        if not data:
            return count
        count += len(data)
    raise AssertionError(f"only {count} bytes of {enough} came")


def reset(peer):
    """Close so that the other end is sent a reset (on TCP)."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


class Thread:
    """Runs blocking code on a native thread until the test ends."""

    def __init__(self, run):
        self.error = None
        self._thread = threading.Thread(target=self._run, args=(run,), daemon=True)
        self._thread.start()

    def _run(self, run):
        try:
            run()
        except OSError as error:
            self.error = error

    def join(self):
        self._thread.join(10.0)
        assert not self._thread.is_alive()


def test_unsent_is_exact_and_nothing_is_copied(sockets):
    peer, end = raw_connection(sockets)
    data = bytes(64 * MEGABYTE)
    tracemalloc.start()
    try:
        end.connection.write([data])
        end.connection.write([data[:1000], memoryview(data)[:500]])
        assert tracemalloc.get_traced_memory()[1] < 64 * 1024
    finally:
        tracemalloc.stop()
    total = 64 * MEGABYTE + 1500
    read = 0
    while read < total:
        # The hub does not run in between, so what it gave to the kernel is what can be read.
        taken = total - end.connection.unsent
        read += read_all_there_is(peer, taken - read)
        assert read == taken
        unsent = end.connection.unsent
        if unsent:
            wait_until(lambda unsent=unsent: end.connection.unsent < unsent, what="more was sent")
    wait_until(lambda: end.rooms, what="room")
    assert end.rooms == 1


def test_what_waits_is_offered_to_the_kernel_again_when_the_peer_is_heard(sockets):
    peer, end = raw_connection(sockets)
    end.connection.write([bytes(16 * MEGABYTE)])
    assert end.connection.unsent
    end.connection._writer.stop()  # as a kernel that does not call it writable yet
    unsent = end.connection.unsent
    read_all_there_is(peer, 1)
    peer.send(b"!")
    wait_until(lambda: end.count, what="the byte of the peer")
    wait_until(lambda: end.connection.unsent < unsent, what="more was sent")


def test_one_call_of_write_does_bounded_work(sockets):
    peer, end = raw_connection(sockets)
    peer.setblocking(True)
    total = 256 * MEGABYTE

    def drain():
        left = total
        while left:
            left -= len(peer.recv(MEGABYTE))

    thread = Thread(drain)
    data = bytes(total)
    end.connection.write([data])
    assert end.connection.unsent >= total - machinery.WRITE_BUDGET
    wait_until(lambda: end.rooms, 30.0, what="room")
    thread.join()


def test_a_fast_writer_does_not_delay_a_small_message(sockets):
    peer, busy = raw_connection(sockets)
    near, far = sockets.pair()
    peer.setblocking(True)
    busy.keep = False
    stop = threading.Event()
    data = bytes(MEGABYTE)

    def saturate():
        while not stop.is_set():
            peer.sendall(data)

    sent_at, delays = [], []

    def on_busy(end, count):
        if len(sent_at) == len(delays) and end.count > (len(sent_at) + 1) * 16 * MEGABYTE:
            sent_at.append(end.count)
            near.connection.write([b"!"])

    busy.on_received = on_busy
    far.on_received = lambda end, count: delays.append(busy.count - sent_at[-1])
    thread = Thread(saturate)
    wait_until(lambda: len(delays) >= 10, 30.0, what="ten small messages")
    stop.set()
    # Both watchers are ready in the next turn of the loop at the latest.
    assert max(delays) <= 3 * machinery.READ_BUDGET
    wait_until(lambda: not thread._thread.is_alive(), what="the thread's end")


def test_a_fast_reader_does_not_delay_a_small_message(sockets):
    peer, busy = raw_connection(sockets)
    near, far = sockets.pair()
    peer.setblocking(True)
    total = 256 * MEGABYTE

    def drain():
        while peer.recv(MEGABYTE):
            pass

    thread = Thread(drain)
    busy.connection.write([memoryview(bytes(total))])
    delays = []
    for number in range(20):
        start = busy.connection.unsent
        near.connection.write([b"!"])
        wait_until(lambda number=number: far.count > number, what="the small message")
        delays.append(start - busy.connection.unsent)
    assert busy.connection.unsent > 0, "the writer was not busy all the time"
    # wait_until looks once for each few turns of the loop.
    assert max(delays) <= 6 * MEGABYTE
    busy.connection.close("done")
    thread.join()


def test_tiny_buffers_count_for_more_than_their_bytes():
    class Greedy:
        calls = 0

        def sendmsg(self, buffers):
            self.calls += 1
            assert len(buffers) <= machinery.MOST_BUFFERS
            return sum(map(len, buffers))

    queue, kernel = machinery.SendQueue(), Greedy()
    queue.append([b"tiny", b"."] * 10_000)
    queue.send(kernel)
    assert kernel.calls == machinery.WRITE_BUDGET // (machinery.MOST_BUFFERS * machinery.BUFFER_COST)
    assert 0 < queue.size < 50_000
    while queue.size:
        left, calls = queue.size, kernel.calls
        queue.send(kernel)
        assert queue.size < left
        assert kernel.calls == calls + 1


def test_tiny_buffers_behind_a_large_one(sockets):
    peer, end = raw_connection(sockets)
    end.connection.write([bytes(16 * MEGABYTE)])
    waiting = end.connection.unsent
    for _ in range(20_000):
        end.connection.write([b"tiny", b"."])
    assert end.connection.unsent == waiting + 100_000
    read = []

    def all_read():
        read.append(read_all_there_is(peer))
        return sum(read) == 16 * MEGABYTE + 100_000

    wait_until(all_read, what="all of it")
    assert end.connection.unsent == 0


def test_a_buffer_takes_no_more_than_it_is_long(tcp):
    peer, end = raw_connection(tcp)
    end._space = memoryview(bytearray(8 * MEGABYTE))
    sizes = []
    end.on_received = lambda end, count: sizes.append(count)
    end.keep = False
    peer.setblocking(True)
    thread = Thread(lambda: peer.sendall(bytes(32 * MEGABYTE)))
    wait_until(lambda: end.count == 32 * MEGABYTE, 20.0, what="all of it")
    thread.join()
    assert max(sizes) <= machinery.READ_BUDGET


def test_end_of_file(sockets):
    peer, end = raw_connection(sockets)
    peer.send(b"bye")
    peer.close()
    wait_until(lambda: end.reason, what="closed")
    assert (end.reason, end.data) == ("eof", b"bye")


def test_a_reset_in_the_middle(tcp):
    peer, end = raw_connection(tcp)
    end.connection.write([bytes(16 * MEGABYTE)])
    peer.send(b"half a fra")
    wait_until(lambda: end.data, what="the first half")
    reset(peer)
    wait_until(lambda: end.reason, what="closed")
    assert (end.reason, end.data) == ("reset", b"half a fra")
    assert end.connection.unsent == 0
    assert end.rooms == 0


def test_a_peer_that_closes_with_input_unread(unix):
    peer, end = raw_connection(unix)
    end.connection.write([b"never read"])
    peer.close()
    wait_until(lambda: end.reason, what="closed")
    assert end.reason == "reset"


def test_a_failing_write_is_reported_later_and_after_what_had_come(sockets):
    peer, end = raw_connection(sockets)
    peer.send(b"because of that")
    peer.close()
    if sockets.kind == "tcp":
        # The first write after the peer's end provokes the reset that the second one runs into.
        end.connection.write([b"x"])
    deadline = time.monotonic() + 5.0
    while end.connection._output_error is None:
        assert time.monotonic() < deadline, "no write failed"
        end.connection.write([b"x"])
    assert (end.reason, end.data) == (None, b"")
    end.connection.write([b"ignored"])
    assert end.connection.unsent == 0
    wait_until(lambda: end.reason, what="closed")
    assert end.data == b"because of that"
    assert end.reason in ("reset", "eof")


def test_more_input_than_one_turn_after_a_failing_write(unix):
    peer, end = raw_connection(unix)
    sent = 0
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * MEGABYTE)
    try:
        while True:
            sent += peer.send(bytes(MEGABYTE))
    except BlockingIOError:
        pass
    peer.close()
    end.connection.write([b"x"])
    wait_until(lambda: end.reason, what="closed")
    assert end.count == sent


def test_a_peer_that_only_stopped_reading_is_let_go_in_the_end(unix):
    peer, end = raw_connection(unix)
    peer.shutdown(socket.SHUT_RD)
    end.connection.write([b"x"])
    peer.send(b"still talking")
    wait_until(lambda: end.reason, what="closed")
    assert (end.reason, end.data) == ("reset", b"still talking")


def test_input_without_end_after_a_failing_write_is_bounded(unix):
    peer, end = raw_connection(unix)
    end.keep = False

    def babble(*_):
        try:
            peer.send(bytes(128 * 1024))
        except OSError:
            return

    end.on_received = babble
    peer.shutdown(socket.SHUT_RD)
    babble()
    end.connection.write([b"x"])
    wait_until(lambda: end.reason, what="closed")
    assert end.reason == "reset"
    # The watcher adds its turns to those that are counted.
    assert end.count <= 3 * machinery.INPUT_TURNS_AFTER_FAILURE * machinery.READ_BUDGET


def test_half_a_frame_and_then_silence(sockets):
    peer, end = raw_connection(sockets)
    for byte in b"half a fra":
        peer.send(bytes([byte]))
        wait_until(lambda byte=byte: end.data.endswith(bytes([byte])), what="the byte")
    assert end.reason is None


def test_a_flush_outlives_a_peer_that_says_nothing_by_a_second(sockets):
    _, end = raw_connection(sockets)
    end.connection.write([bytes(16 * MEGABYTE)])
    start = time.monotonic()
    end.connection.close("done", flush=True)
    wait_until(lambda: end.reason, what="closed")
    assert end.reason == "done"
    assert time.monotonic() - start > machinery.FLUSH_SECONDS - 0.05


def test_closing_again_ends_a_flush(sockets):
    _, end = raw_connection(sockets)
    end.connection.write([bytes(16 * MEGABYTE)])
    end.connection.close("first", flush=True)
    end.connection.close("second", flush=True)
    end.connection.close("third")
    assert end.reason is None
    sockets.clock.call_soon(lambda: None)
    wait_until(lambda: end.reason, machinery.FLUSH_SECONDS / 2, what="closed at once")
    assert end.reason == "first"


def test_a_flush_goes_on_when_the_peer_has_nothing_more_to_say(sockets):
    peer, end = raw_connection(sockets)
    end.connection.write([bytes(16 * MEGABYTE)])
    start = time.monotonic()
    end.connection.close("done", flush=True)
    peer.shutdown(socket.SHUT_WR)
    read = []

    def all_read():
        read.append(read_all_there_is(peer))
        return end.reason

    wait_until(all_read, what="closed")
    read.append(read_all_there_is(peer))
    assert (end.reason, sum(read)) == ("done", 16 * MEGABYTE)
    assert time.monotonic() - start < machinery.FLUSH_SECONDS


def test_a_flush_ends_when_the_peer_is_gone(tcp):
    peer, end = raw_connection(tcp)
    end.connection.write([bytes(16 * MEGABYTE)])
    end.connection.close("done", flush=True)
    reset(peer)
    wait_until(lambda: end.reason, machinery.FLUSH_SECONDS / 2, what="closed at once")
    assert end.reason == "done"


def test_what_arrives_during_a_flush_is_thrown_away(sockets):
    peer, end = raw_connection(sockets)
    end.connection.write([b"goodbye"])
    end.connection.close("done", flush=True)
    peer.send(bytes(100_000))
    reader = end.connection._reader
    wait_until(lambda: reader.active, what="reading for nothing")
    assert peer.recv(100) == b"goodbye"
    assert peer.recv(100) == b""
    peer.close()
    wait_until(lambda: end.reason, what="closed")
    assert (end.reason, end.data) == ("done", b"")


def test_an_interrupt_in_a_callback_goes_on_and_ends_the_connection(sockets):
    near, far = sockets.pair()

    def interrupt(end, count):
        raise KeyboardInterrupt

    far.on_received = interrupt
    near.connection.write([b"x"])
    with pytest.raises(KeyboardInterrupt):
        wait_until(lambda: False, what="the interrupt")
    wait_until(lambda: near.reason and far.reason, what="both closed")
    assert far.reason == "callback failed"


@pytest.fixture
def many_descriptors():
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 3000
    if limits[1] != resource.RLIM_INFINITY and limits[1] < wanted:
        pytest.skip(f"this machine allows {limits[1]} descriptors")
    if limits[0] != resource.RLIM_INFINITY and limits[0] < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_thousand_connections_at_once(many_descriptors, sockets):
    accepted = []

    def accept(connection):
        end = sockets.record(connection, size=64)
        end.on_received = lambda end, count: end.connection.write([bytes(end.data[-count:])])
        accepted.append(end)
        return end

    listener = sockets.listen(accept)
    dialled, failures = [], []

    def connected(connection):
        end = sockets.record(connection, size=64)
        dialled.append(end)
        connection.write([b"%d" % len(dialled)])
        return end

    for _ in range(1000):
        sockets.transport.dial(listener.address, 20.0, connected, failures.append)
    wait_until(lambda: len(dialled) + len(failures) == 1000, 20.0, what="a thousand outcomes")
    assert failures == []
    for number, end in enumerate(dialled, 1):
        end.expect(b"%d" % number)
    assert len(accepted) == 1000


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (errno.ECONNRESET, "reset"),
        (errno.EPIPE, "reset"),
        (errno.ETIMEDOUT, "timeout"),
        (errno.EHOSTUNREACH, "unreachable: No route to host"),
        (errno.ENOBUFS, "error: No buffer space available"),
    ],
)
def test_every_error_has_a_reason(code, reason):
    assert machinery.describe_error(OSError(code, "text")) == reason


def test_an_error_without_a_number_is_told_in_its_own_words():
    assert machinery.describe_error(OSError("odd")) == "error: odd"
