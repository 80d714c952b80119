"""TLS: whom it lets in, what goes through it however the bytes were cut, and every way for it to end."""

from __future__ import annotations

import hashlib
import itertools
import os
import socket
import ssl
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from partisan_actors.transport import TLS, SocketTransport
from partisan_actors.transport.sockets import WRITE_BUDGET
from partisan_actors.transport.tls import TlsCredentials, naming_objection, problem_with
from partisan_actors.transport.tls_connection import BATCH, HANDSHAKE_LIMIT, TlsConnection
from tests.certificates import EXPIRED, NOT_YET_VALID, Authority, write
from tests.conditions import wait_until
from tests.transport.peers import Network, Recorder, certificate_of_loopback, raw_connection
from tests.transport.test_sockets import reset

MEGABYTE = 1024 * 1024


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


# A peer whose every byte is the test's.


class RawTls:
    """The dialling end of a TLS connection over a plain socket."""

    def __init__(self, sock: socket.socket, tls: TLS | None = None, highest: ssl.TLSVersion | None = None) -> None:
        self.sock = sock
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(certificate_of_loopback().ca)
        if tls is not None:
            context.load_cert_chain(tls.certificate, tls.key)
        if highest is not None:
            context.maximum_version = highest
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing)
        self.data = bytearray()

    def shake(self) -> None:
        """Do the handshake."""
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self.send()
                self.receive()
            else:
                self.send()
                return

    def encrypted(self, data: bytes) -> bytes:
        """What goes over the wire for `data`."""
        view = memoryview(data)
        while view:
            view = view[self.tls.write(view) :]
        return self.outgoing.read()

    def send(self, data: bytes = b"") -> None:
        """Send what TLS has to say, and bytes as they are."""
        data = self.outgoing.read() + data
        while data:
            try:
                data = data[self.sock.send(data) :]
            except BlockingIOError:
                gevent.sleep(0)

    def receive(self) -> bool:
        """Wait for more bytes; whether they were not the end."""
        pieces: list[bytes] = []

        def came() -> bool:
            try:
                pieces.append(self.sock.recv(65536))
            except BlockingIOError:
                return False
            return True

        wait_until(came, what="bytes")
        self.incoming.write(pieces[0])
        return bool(pieces[0])

    def read_to_the_end(self) -> str:
        """Read until the other side ends it; how it did so."""
        while True:
            try:
                data = self.tls.read(65536)
                if not data:
                    return "close_notify"
                self.data += data
            except ssl.SSLWantReadError:
                if not self.receive():
                    return "eof"
            except ssl.SSLError as error:
                return str(error.reason)


def accepted_raw(network: Network, **options: Any) -> tuple[RawTls, Recorder]:
    peer, end = raw_connection(network)
    return RawTls(peer, **options), end


@pytest.fixture
def raw(under_tls: Network) -> tuple[RawTls, Recorder]:
    """A raw peer, past its handshake, and the accepted end."""
    peer, end = accepted_raw(under_tls, tls=certificate_of_loopback())
    peer.shake()
    connection: Any = end.connection
    wait_until(lambda: connection._ready)
    return peer, end


# Bytes, however they were cut: two ends in memory.


class Wire:
    """Stands in for the socket of one end: keeps what it writes, and takes only so much."""

    def __init__(self, capacity: int) -> None:
        self.peer_address = "wire:1"
        self.capacity = capacity
        self.sent = bytearray()
        self.unsent = 0
        self.ended: str | None = None
        self.receiver: Any = None

    def start(self, receiver: Any) -> None:
        self.receiver = receiver

    def write(self, buffers: Any) -> None:
        for buffer in buffers:
            self.sent += buffer
        self.unsent = max(len(self.sent) - self.capacity, 0)

    def close(self, reason: str, *, flush: bool = False) -> None:
        self.ended = self.ended or reason

    def take(self, count: int) -> bytes:
        taken = bytes(self.sent[:count])
        del self.sent[:count]
        before, self.unsent = self.unsent, max(len(self.sent) - self.capacity, 0)
        if before and not self.unsent:
            self.receiver.writable()
        return taken


class Soon:
    """A clock that keeps what is to be called."""

    def __init__(self) -> None:
        self.due: list[Any] = []

    def call_soon(self, function: Any, *arguments: Any) -> None:
        self.due.append((function, arguments))

    def call_later(self, seconds: float, function: Any, *arguments: Any) -> Any:
        raise AssertionError("nothing here waits")

    def run(self) -> None:
        while self.due:
            function, arguments = self.due.pop(0)
            function(*arguments)


def ends_in_memory(capacity: int = 1 << 30) -> tuple[list[Recorder], list[Wire], Soon]:
    clock: Any = Soon()
    credentials = TlsCredentials(certificate_of_loopback()).current()
    wires: list[Any] = [Wire(capacity), Wire(capacity)]
    connections = [TlsConnection(wire, credentials, wire is wires[0], clock) for wire in wires]
    ends = [Recorder(connection, 1000) for connection in connections]
    return ends, wires, clock


def start(end: Recorder) -> None:
    """Begin the handshake of an end in memory."""
    connection: Any = end.connection
    connection.start(end)


def exchange(ends: list[Recorder], wires: list[Wire], clock: Soon, sizes: Iterator[int]) -> None:
    """Carry bytes in both directions, in pieces, until there are none."""
    while any(wire.sent for wire in wires) or clock.due:
        for source, sink in (wires, reversed(wires)):
            piece = source.take(next(sizes))
            while piece:
                space = sink.receiver.buffer()
                count = min(len(space), len(piece))
                space[:count] = piece[:count]
                sink.receiver.received(count)
                piece = piece[count:]
            clock.run()


@pytest.mark.parametrize("size", [1, 2, 3, 5, 6, 16, 21, 22, 100, 1000, 4095, 4096, 4097, 16405, 100_000])
def test_bytes_go_through_in_pieces_of_every_size(size):
    ends, wires, clock = ends_in_memory()
    texts = [bytes(range(256)) * 100, b"the other way " * 1000]
    for end, text in zip(ends, texts, strict=True):
        end.connection.write([text[:5], memoryview(text)[5:20_000], text[20_000:]])
        end.connection.start(end)
    exchange(ends, wires, clock, iter(lambda: size, None))
    assert (ends[1].data, ends[0].data) == tuple(texts)


@given(
    st.lists(st.integers(1, 40_000), min_size=1, max_size=8),
    st.lists(st.integers(50, 9_000), min_size=1, max_size=8),
    st.integers(1, 50_000),
)
def test_bytes_go_through_whatever_the_pieces_and_the_room(writes, pieces, capacity):
    ends, wires, clock = ends_in_memory(capacity)
    for end in ends:
        end.connection.start(end)
    sizes = itertools.cycle(pieces)
    expected = b""
    for number, length in enumerate(writes):
        data = bytes([number]) * length
        half = length // 2
        for end in ends:
            end.connection.write([data[:half], memoryview(data)[half:]])
        expected += data
        if number % 2:
            exchange(ends, wires, clock, sizes)
    exchange(ends, wires, clock, sizes)
    for end in ends:
        assert end.data == expected
        assert end.connection.unsent == 0


def test_nothing_is_delivered_before_the_handshake_is_over():
    ends, wires, _ = ends_in_memory()
    ends[0].connection.write([b"secret"])
    for end in ends:
        end.connection.start(end)
    assert b"secret" not in wires[0].sent
    assert ends[0].connection.unsent == len("secret") + wires[0].unsent
    with pytest.raises(ValueError, match="before the TLS handshake is over"):
        _ = ends[1].connection.security.channel_binding


def test_both_ends_have_the_same_binding(under_tls: Network):
    near, far = under_tls.pair()
    leaf = hashlib.sha256(ssl.PEM_cert_to_DER_cert(Path(certificate_of_loopback().certificate).read_text())).digest()
    for end in (near, far):
        assert end.connection.security.channel_binding == leaf * 2
        assert end.connection.security.objection("any@127.0.0.1") is None
        assert end.connection.security.objection("any@127.0.0.2") is not None


def test_the_peer_is_known_although_a_broken_record_follows(under_tls: Network):
    """What came before it is delivered, and its receiver may ask who it is from; OpenSSL has forgotten by then."""
    near, far = under_tls.pair()
    told: list[Any] = []

    def ask(end: Any, count: int) -> None:
        security = end.connection.security
        told.append((security.channel_binding, security.objection("any@127.0.0.1")))

    far.on_received = ask
    binding = near.connection.security.channel_binding
    connection: Any = near.connection
    inner, held = connection._inner, Held()
    connection._inner = held
    connection.write([b"hello"])
    connection._inner = inner
    inner.write([b"".join(held.buffers) + b"\x16\x03\x03\x00\x10" + bytes(16)])
    wait_until(lambda: far.reason is not None)
    assert told == [(binding, None)]


class Held:
    """Takes what would be written."""

    unsent = 0

    def __init__(self) -> None:
        self.buffers: list[bytes] = []

    def write(self, buffers: list[bytes]) -> None:
        self.buffers += buffers


def test_the_one_who_dialled_comes_first_in_the_binding(under_tls: Network, authority: Authority):
    dialling, accepting = authority.tls("127.0.0.1"), authority.tls("127.0.0.1")
    near, far = pair_of(under_tls, dialling, accepting)
    near.connection.write([b"x"])
    far.expect(b"x")
    expected = b"".join(
        hashlib.sha256(ssl.PEM_cert_to_DER_cert(Path(tls.certificate).read_text())).digest()
        for tls in (dialling, accepting)
    )
    assert near.connection.security.channel_binding == far.connection.security.channel_binding == expected


def test_the_child_of_a_fork_says_nothing(monkeypatch: pytest.MonkeyPatch):
    ends, wires, clock = ends_in_memory()
    for end in ends:
        start(end)
    exchange(ends, wires, clock, iter(lambda: 1000, None))
    monkeypatch.setattr(os, "getpid", lambda: -1)
    ends[0].connection.close("fork")
    assert (wires[0].ended, wires[0].sent) == ("fork", b"")


# Much at once.


def test_what_is_written_is_not_encrypted_far_ahead(under_tls: Network):
    _, end = under_tls.pair()
    connection: Any = end.connection
    data = bytes(64 * MEGABYTE)
    tracemalloc.start()
    try:
        connection.write([data])
        assert tracemalloc.get_traced_memory()[1] < 2 * MEGABYTE
    finally:
        tracemalloc.stop()
    # One call does so much work at most.
    assert connection.unsent >= len(data) - WRITE_BUDGET
    assert connection._inner.unsent <= BATCH * 1.01


def test_a_peer_that_does_not_read_is_held(raw: tuple[RawTls, Recorder]):
    peer, end = raw
    connection: Any = end.connection
    end.connection.write([bytes(32 * MEGABYTE)])
    wait_until(lambda: connection._inner.unsent)
    settled = -1
    while settled != connection.unsent:
        settled = connection.unsent
        for _ in range(20):
            gevent.sleep(0)
    assert end.connection.unsent > 20 * MEGABYTE and end.rooms == 0
    assert connection._inner.unsent <= BATCH * 1.01
    while len(peer.data) < 32 * MEGABYTE:
        try:
            peer.data += peer.tls.read(MEGABYTE)
        except ssl.SSLWantReadError:
            peer.receive()
    wait_until(lambda: end.rooms == 1)
    assert end.connection.unsent == 0


# Whom it lets in.


def pair_of(network: Network, dialling: TLS | None, accepting: TLS | None) -> tuple[Recorder, Recorder]:
    """The two ends of a connection between transports with these certificates."""
    accepted: list[Recorder] = []

    def accept(connection: Any) -> Recorder:
        accepted.append(network.record(connection))
        return accepted[-1]

    listener = SocketTransport(network.clock, accepting).listen("127.0.0.1:0", accept)
    network.listeners.append(listener)
    network.transport = SocketTransport(network.clock, dialling)
    near = network.dial(listener.address)
    wait_until(lambda: accepted, what="accepted")
    return near, accepted[0]


@pytest.mark.parametrize("whose", ["the one that dials", "the one that is dialled"])
@pytest.mark.parametrize(
    ("validity", "reason"), [(EXPIRED, "certificate has expired"), (NOT_YET_VALID, "certificate is not yet valid")]
)
def test_a_certificate_out_of_its_time_is_refused_on_both_sides(
    under_tls: Network, authority: Authority, validity: Any, reason: str, whose: str
):
    good, bad = authority.tls("127.0.0.1"), authority.tls("127.0.0.1", **validity)
    near, far = pair_of(under_tls, *((bad, good) if whose == "the one that dials" else (good, bad)))
    near.connection.write([b"hello"])
    wait_until(lambda: near.reason and far.reason, what="both closed")
    told = [far.reason, near.reason] if whose == "the one that dials" else [near.reason, far.reason]
    assert told[0] == f"tls: certificate verify failed: {reason}"
    assert str(told[1]).startswith("tls, by the peer: ")
    assert far.data == b""


def test_a_certificate_of_another_authority_is_refused(under_tls: Network, authority: Authority, tmp_path: Path):
    stranger = Authority(tmp_path / "stranger")
    near, far = pair_of(under_tls, stranger.tls("127.0.0.1", ca=authority.path), authority.tls("127.0.0.1"))
    near.connection.write([b"hello"])
    wait_until(lambda: near.reason and far.reason, what="both closed")
    assert far.reason == "tls: certificate verify failed: unable to get local issuer certificate"
    assert near.reason == "tls, by the peer: tlsv1 alert unknown ca"
    assert far.data == b""


def test_one_without_a_certificate_is_refused(under_tls: Network):
    peer, end = accepted_raw(under_tls)
    peer.shake()
    peer.send(peer.encrypted(b"hello"))
    assert peer.read_to_the_end() == "TLSV13_ALERT_CERTIFICATE_REQUIRED"
    peer.sock.close()
    wait_until(lambda: end.reason)
    assert end.reason == "tls: peer did not return a certificate"
    assert end.data == b""


def test_an_older_version_is_refused(under_tls: Network):
    peer, end = accepted_raw(under_tls, tls=certificate_of_loopback(), highest=ssl.TLSVersion.TLSv1_2)
    with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
        peer.shake()
    peer.sock.close()
    wait_until(lambda: end.reason)
    assert end.reason == "tls: unsupported protocol"


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"\x10" + bytes(40), b"\0"])
def test_what_is_no_tls_is_refused(under_tls: Network, data: bytes):
    peer, end = raw_connection(under_tls)
    peer.sendall(data)
    peer.shutdown(socket.SHUT_WR)
    wait_until(lambda: end.reason)
    assert end.reason == "tls: the other side does not speak TLS"
    assert end.data == b""


def test_a_listener_that_does_not_speak_tls(under_tls: Network):
    near, _ = pair_of(under_tls, certificate_of_loopback(), None)
    far = under_tls.ends[0] if under_tls.ends[0] is not near else under_tls.ends[1]
    far.connection.write([b"220 mail ready\r\n"])
    wait_until(lambda: near.reason)
    assert near.reason == "tls: the other side does not speak TLS"


def test_a_handshake_without_end_costs_so_much_and_no_more(under_tls: Network):
    peer, end = raw_connection(under_tls)
    connection: Any = end.connection
    sent = 0
    # A hello of 16 MiB, as its header says, in records of 16 KiB.
    message = b"\x01\xff\xff\xff" + bytes(16380)
    while end.reason is None and sent < MEGABYTE:
        try:
            sent += peer.send(b"\x16\x03\x01\x40\x00" + message)
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            gevent.sleep(0)
        message = bytes(16384)
        assert len(connection._space) == 4096
        assert connection._incoming.pending <= HANDSHAKE_LIMIT
        gevent.sleep(0)
    peer.close()
    wait_until(lambda: end.reason)
    assert end.reason.startswith("tls: ")


# Ways to end.


def test_an_end_that_is_meant_is_told_from_one_that_was_cut(raw: tuple[RawTls, Recorder]):
    peer, end = raw
    peer.send(peer.encrypted(b"the whole of it"))
    with pytest.raises(ssl.SSLWantReadError):
        peer.tls.unwrap()
    peer.send()
    wait_until(lambda: end.reason)
    assert (end.data, end.reason) == (b"the whole of it", "eof")


def test_an_end_that_was_cut_delivers_what_came(raw: tuple[RawTls, Recorder]):
    peer, end = raw
    peer.send(peer.encrypted(b"the first half"))
    peer.sock.shutdown(socket.SHUT_WR)
    wait_until(lambda: end.reason)
    assert (end.data, end.reason) == (b"the first half", "eof without close_notify")


def test_half_a_record_is_not_delivered(raw: tuple[RawTls, Recorder]):
    peer, end = raw
    first, second = peer.encrypted(b"whole"), peer.encrypted(bytes(10_000))
    peer.send(first + second[:-1])
    peer.sock.shutdown(socket.SHUT_WR)
    wait_until(lambda: end.reason)
    assert (end.data, end.reason) == (b"whole", "eof without close_notify")


def test_a_reset_in_the_middle_of_a_record(raw: tuple[RawTls, Recorder]):
    peer, end = raw
    peer.send(peer.encrypted(b"whole") + peer.encrypted(bytes(10_000))[:5000])
    wait_until(lambda: end.data == b"whole")
    reset(peer.sock)
    wait_until(lambda: end.reason)
    assert (end.data, end.reason) == (b"whole", "reset")


def test_a_byte_that_was_changed_ends_it(raw: tuple[RawTls, Recorder]):
    peer, end = raw
    record = bytearray(peer.encrypted(b"pay 100"))
    record[-1] ^= 1
    peer.send(bytes(record))
    assert peer.read_to_the_end() in ("SSLV3_ALERT_BAD_RECORD_MAC", "TLSV1_ALERT_BAD_RECORD_MAC")
    peer.sock.close()
    wait_until(lambda: end.reason)
    assert end.data == b""
    assert end.reason == "tls: decryption failed or bad record mac"


@pytest.mark.parametrize("flush", [True, False])
def test_closing_says_so_to_the_peer(raw: tuple[RawTls, Recorder], flush: bool):
    peer, end = raw
    end.connection.write([b"good-bye"])
    end.connection.close("done", flush=flush)
    assert peer.read_to_the_end() == "close_notify"
    peer.sock.close()
    wait_until(lambda: end.reason)
    assert (peer.data, end.reason) == (b"good-bye", "done")


def test_closing_in_the_middle_of_what_waits_is_no_clean_end(raw: tuple[RawTls, Recorder]):
    peer, end = raw
    end.connection.write([bytes(32 * MEGABYTE)])
    assert end.connection.unsent
    end.connection.close("enough")
    wait_until(lambda: end.reason)
    assert end.connection.unsent == 0
    assert peer.read_to_the_end() == "eof"
    assert len(peer.data) < 32 * MEGABYTE


def test_a_flush_gets_a_large_write_out_before_the_end(raw: tuple[RawTls, Recorder]):
    peer, end = raw
    end.connection.write([bytes(8 * MEGABYTE)])
    end.connection.close("done", flush=True)
    assert peer.read_to_the_end() == "close_notify"
    assert peer.data == bytes(8 * MEGABYTE)
    peer.sock.close()
    wait_until(lambda: end.reason)
    assert end.reason == "done"


def test_a_flush_outlives_a_peer_that_does_not_read_by_a_second(raw: tuple[RawTls, Recorder]):
    _, end = raw
    end.connection.write([bytes(32 * MEGABYTE)])
    start = time.monotonic()
    end.connection.close("done", flush=True)
    wait_until(lambda: end.reason, 3.0)
    assert 0.9 < time.monotonic() - start < 2.0
    assert end.reason == "done"


def test_closing_again_ends_a_flush(raw: tuple[RawTls, Recorder]):
    _, end = raw
    end.connection.write([bytes(32 * MEGABYTE)])
    end.connection.close("done", flush=True)
    end.connection.close("now")
    wait_until(lambda: end.reason, 0.5)
    assert end.reason == "done"


def test_a_flush_before_the_handshake_waits_for_it(under_tls: Network):
    accepted: list[Recorder] = []

    def accept(connection: Any) -> None:
        connection.write([b"no room"])
        connection.close("no room", flush=True)

    listener = under_tls.listen(accept)
    near = under_tls.dial(listener.address)
    wait_until(lambda: near.reason)
    assert (near.data, near.reason, accepted) == (b"no room", "eof", [])


@pytest.mark.parametrize("ending", ["eof", "reset"])
def test_an_end_in_the_handshake_is_told_as_such(under_tls: Network, ending: str):
    peer, end = raw_connection(under_tls)
    peer.sendall(b"\x16\x03\x01")
    if ending == "eof":
        peer.close()
    else:
        reset(peer)
    wait_until(lambda: end.reason)
    assert end.reason == f"{ending} in the TLS handshake"


def test_a_failing_receiver_ends_its_connection_only(under_tls: Network):
    near, far = under_tls.pair()

    def fail(*_: Any) -> None:
        raise LookupError("a bug")

    near.on_writable = fail
    far.keep = False
    with capture_logs() as logs:
        near.connection.write([bytes(3 * WRITE_BUDGET)])
        wait_until(lambda: near.reason and far.reason, what="both closed")
    assert near.reason == "callback failed"
    assert [line["callback"] for line in logs] == ["writable"]


# Names.

NAMED = {
    "the host": ("orders@10.0.0.7", [("IP Address", "10.0.0.7")], True),
    "another host": ("orders@10.0.0.7", [("IP Address", "10.0.0.8")], False),
    "one of several": ("orders@10.0.0.7", [("DNS", "a.example"), ("IP Address", "10.0.0.7")], True),
    "a name": ("orders@a.example", [("DNS", "A.Example")], True),
    "a part of a name": ("orders@a.example", [("DNS", "example")], False),
    "a wildcard": ("orders@a.example", [("DNS", "*.example")], False),
    "a name like a number": ("orders@10.0.0.7", [("DNS", "10.0.0.7")], True),
    "another spelling": ("orders@fe80::1", [("IP Address", "FE80:0:0:0:0:0:0:1\n")], True),
    "with brackets": ("orders@[::1]", [("IP Address", "0:0:0:0:0:0:0:1")], True),
    "exactly": ("orders@10.0.0.7", [("URI", "partisan:orders@10.0.0.7")], True),
    "exactly, as an email": ("orders@10.0.0.7", [("email", "orders@10.0.0.7")], True),
    "exactly another": ("orders@10.0.0.7", [("URI", "partisan:bills@10.0.0.7"), ("IP Address", "10.0.0.7")], False),
    "exactly another, as an email": ("orders@a", [("email", "bills@a"), ("DNS", "a")], False),
    "exactly both": ("orders@a", [("URI", "partisan:bills@a"), ("URI", "partisan:orders@a")], True),
    "exactly in another case": ("orders@a", [("URI", "partisan:Orders@a")], False),
    "an address of something else": ("orders@a", [("URI", "https://a"), ("DNS", "a")], True),
    "nothing": ("orders@a", [], False),
    "a name with two signs": ("a@b@c", [("DNS", "c")], True),
    "an empty name": ("orders@.", [("DNS", ".")], False),
}


@pytest.mark.parametrize("case", NAMED)
def test_which_nodes_a_certificate_names(case: str):
    node, names, named = NAMED[case]
    objection = naming_objection({"subjectAltName": tuple(names), "subject": ((("commonName", "a"),),)}, node)
    assert (objection is None) == named
    assert objection is None or (node in objection and objection.isprintable())


def test_a_certificate_without_names_names_nobody():
    assert naming_objection({}, "orders@a") == "the certificate is for nobody, not for a, the host of orders@a"


# Files.


def test_missing_files_are_named(authority: Authority, tmp_path: Path):
    good = authority.tls("127.0.0.1")
    missing = tmp_path / "missing.pem"
    for name in ("certificate", "key", "ca"):
        files = {"certificate": good.certificate, "key": good.key, "ca": good.ca, name: missing}
        with pytest.raises(FileNotFoundError, match=f"cannot read the {name}: No such file") as caught:
            TLS(**files)
        assert str(missing) in str(caught.value)


def test_a_key_of_another_certificate_is_named(authority: Authority):
    one, other = authority.tls("127.0.0.1"), authority.tls("127.0.0.1")
    with pytest.raises(ValueError, match=r"is not that of the certificate .*: give two that belong together") as caught:
        TLS(one.certificate, other.key, one.ca)
    assert str(other.key) in str(caught.value) and str(one.certificate) in str(caught.value)


@pytest.mark.parametrize("name", ["certificate", "key", "ca"])
@pytest.mark.parametrize(
    "content", [b"", b"rubbish", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_what_is_no_pem_is_named(authority: Authority, tmp_path: Path, name: str, content: bytes):
    good = authority.tls("127.0.0.1")
    bad = tmp_path / "bad.pem"
    bad.write_bytes(content)
    files = {"certificate": good.certificate, "key": good.key, "ca": good.ca, name: bad}
    with pytest.raises(ValueError, match=r"^TLS: .*bad\.pem.*PEM"):
        TLS(**files)


def test_a_key_with_a_password_is_no_question_on_the_terminal(authority: Authority, tmp_path: Path):
    good = authority.tls("127.0.0.1")
    key = serialization.load_pem_private_key(Path(good.key).read_bytes(), None)
    locked = tmp_path / "locked.key"
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(ValueError, match=r"locked\.key: the key has a password"):
        TLS(good.certificate, locked, good.ca)


def test_only_paths_are_taken(authority: Authority):
    with pytest.raises(TypeError, match=r"TLS\(key=\.\.\.\) is the path of a PEM file, not bytes"):
        TLS("a.pem", b"key", "ca.pem")  # type: ignore[arg-type]


def test_a_problem_is_known_before_anybody_is_met(authority: Authority, tmp_path: Path):
    assert problem_with(authority.tls("127.0.0.1"), "a@127.0.0.1") is None
    assert "not for 10.0.0.1" in str(problem_with(authority.tls("127.0.0.1"), "a@10.0.0.1"))
    assert "has expired" in str(problem_with(authority.tls("127.0.0.1", **EXPIRED), "a@127.0.0.1"))
    foreign = Authority(tmp_path / "foreign").tls("127.0.0.1", ca=authority.path)
    assert "issuer" in str(problem_with(foreign, "a@127.0.0.1"))


def test_files_are_read_again_when_they_changed_and_only_then(authority: Authority):
    tls = authority.tls("127.0.0.1")
    credentials = TlsCredentials(tls)
    first = credentials.current()
    assert credentials.current() is first
    with capture_logs() as logs:
        write(Path(tls.certificate), Path(tls.key), *authority.issue("127.0.0.1"))
        second = credentials.current()
        assert second is not first and second.fingerprint != first.fingerprint
        assert credentials.current() is second
    assert [line["event"] for line in logs] == ["certificate_reloaded"]


@pytest.mark.parametrize("broken", ["key", "certificate", "ca"])
def test_broken_files_keep_the_last_ones_and_are_told_once(authority: Authority, broken: str):
    tls = authority.tls("127.0.0.1")
    credentials = TlsCredentials(tls)
    first = credentials.current()
    path = Path(getattr(tls, broken))
    content = path.read_bytes()
    with capture_logs() as logs:
        path.unlink()
        assert [credentials.current() for _ in range(3)] == [first] * 3
        path.write_bytes(b"half")
        assert [credentials.current() for _ in range(3)] == [first] * 3
        path.write_bytes(content)
        assert credentials.current() is not first
    assert [line["event"] for line in logs] == ["certificate_reload_failed"] * 2 + ["certificate_reloaded"]
    assert all(str(path) in line["reason"] for line in logs[:2])
