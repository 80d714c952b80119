"""Dials: every outcome, in time, once, and never from inside `dial`."""

from __future__ import annotations

import errno
import socket
import time

import pytest
from gevent import get_hub
from gevent.event import Event
from structlog.testing import capture_logs

from partisan_actors.transport import tcp as tcp_module
from partisan_actors.transport.dials import SocketDial
from partisan_actors.transport.sockets import SocketFamily
from partisan_actors.transport.tcp import _peer_address, _set_options
from tests.conditions import wait_until
from tests.transport.peers import refusing_address, silent_address

UNREACHABLE = "/dev/null/no-folder"  # without a packet leaving the machine


class Resolver:
    """Answers as told."""

    def __init__(self, answer=(), ready=True):
        self.answer = answer
        self.asked = []
        self.left = 0
        self.ready = Event()
        if ready:
            self.ready.set()

    def getaddrinfo(self, *question):
        self.asked.append(question[:2])
        try:
            self.ready.wait()
        finally:
            self.left += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in self.answer]


@pytest.fixture
def resolver(monkeypatch):
    def install(*arguments, **settings):
        made = Resolver(*arguments, **settings)
        monkeypatch.setattr(get_hub(), "resolver", made)
        return made

    return install


def socket_address(address):
    host, _, port = address.rpartition(":")
    return host, int(port)


def dial_each(network, candidates, timeout=5.0, prepare=_set_options):
    """Dial candidates in turn; the outcome, a recorder or a reason."""
    outcome = []

    def connected(connection):
        outcome.append(network.record(connection))
        return outcome[0]

    dial = SocketDial(
        "several",
        timeout,
        SocketFamily(prepare, _peer_address),
        connected,
        outcome.append,
        network.clock,
        get_hub().loop,
    )
    dial.try_soon(
        [
            (socket.AF_UNIX, address) if address == UNREACHABLE else (socket.AF_INET, socket_address(address))
            for address in candidates
        ]
    )
    assert outcome == []
    wait_until(lambda: outcome, what="connected or failed")
    return outcome[0]


def test_a_port_without_a_listener_refuses(tcp):
    address = refusing_address(tcp)
    assert tcp.failure(address) == "refused"


def test_silence_is_a_timeout(tcp):
    address = silent_address(tcp)
    start = time.monotonic()
    assert tcp.failure(address, 0.2) == "timeout"
    assert 0.15 < time.monotonic() - start < 2.0


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("nonsense", "unreachable: address 'nonsense' has no port"),
        ("127.0.0.1:0", "unreachable: address '127.0.0.1:0': nobody listens on port 0"),
        ("127.0.0.1:99999", "unreachable: address '127.0.0.1:99999': the port"),
        ("[fe80::1%no-such-zone]:80", "unreachable: "),
        ("unix:relative", "unreachable: address 'unix:relative': the path"),
        ("unix:/no/such/folder/socket", "refused"),
        ("unix:/dev/null", "refused"),
        ("unix:/dev/null/socket", "unreachable: Not a directory"),
    ],
)
def test_a_bad_address_fails_as_any_other_dial(tcp, address, reason):
    assert tcp.failure(address).startswith(reason)


def test_without_descriptors_a_dial_fails(tcp, monkeypatch):
    def new_socket(family):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("partisan_actors.transport.dials.new_socket", new_socket)
    assert tcp.failure("127.0.0.1:9") == "unreachable: Too many open files"


def test_candidates_are_tried_in_turn(tcp):
    refusing = refusing_address(tcp)
    accepted = []
    listener = tcp.listen(lambda connection: accepted.append(tcp.record(connection)) or accepted[-1])
    end = dial_each(tcp, [refusing, listener.address])
    assert end.connection.peer_address == listener.address


def test_a_silent_candidate_leaves_time_for_the_next(tcp):
    silent = silent_address(tcp)
    listener = tcp.listen(tcp.record)
    start = time.monotonic()
    end = dial_each(tcp, [silent, listener.address], timeout=0.6)
    assert end.connection.peer_address == listener.address
    assert 0.25 < time.monotonic() - start < 0.6


def test_a_refusal_counts_only_if_no_candidate_was_silent(tcp):
    silent = silent_address(tcp)
    refusing = refusing_address(tcp)
    assert dial_each(tcp, [refusing, UNREACHABLE]) == "refused"
    assert dial_each(tcp, [UNREACHABLE, refusing]) == "refused"
    assert dial_each(tcp, [UNREACHABLE, UNREACHABLE]).startswith("unreachable: ")
    assert dial_each(tcp, [silent, refusing], timeout=0.3) == "timeout"


def test_connecting_to_oneself_is_a_refusal(tcp):
    address = refusing_address(tcp)
    tcp.raw.pop().close()

    def own_port(sock):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(socket_address(address))

    assert dial_each(tcp, [address], prepare=own_port) == "refused"


def test_a_name_is_resolved_by_the_hubs_resolver(tcp, resolver):
    refusing = refusing_address(tcp)
    listener = tcp.listen(tcp.record)
    asked = resolver([socket_address(refusing), socket_address(refusing), socket_address(listener.address)])
    end = tcp.dial(f"somewhere.example:{socket_address(listener.address)[1]}")
    assert end.connection.peer_address == listener.address
    assert asked.asked == [("somewhere.example", socket_address(listener.address)[1])]


def test_localhost_by_name(tcp):
    listener = tcp.listen(tcp.record)
    end = tcp.dial(listener.address.replace("127.0.0.1", "localhost"))
    assert end.connection.peer_address == listener.address


def test_resolving_does_not_block_the_hub(tcp, resolver):
    waiting = resolver([("127.0.0.1", 9)], ready=False)
    calls = []
    dial = tcp.transport.dial("somewhere.example:9", 5.0, calls.append, calls.append)
    near, far = tcp.pair()
    near.connection.write([b"x"])
    far.expect(b"x")
    assert waiting.asked and calls == []
    dial.cancel()
    wait_until(lambda: waiting.left, what="the resolver's greenlet to end")
    tcp.dial(tcp.listen(tcp.record).address)
    assert calls == []


def test_resolving_counts_towards_the_timeout(tcp, resolver):
    waiting = resolver(ready=False)
    assert tcp.failure("somewhere.example:9", 0.05) == "timeout"
    wait_until(lambda: waiting.left, what="the resolver's greenlet to end")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "unreachable: Name or service not known"),
        (UnicodeError("label too long"), "unreachable: label too long"),
        ([], "unreachable: the name has no address"),
    ],
)
def test_a_name_that_does_not_resolve(tcp, resolver, answer, reason, capfd):
    resolver(answer)
    with capture_logs() as logs:
        assert tcp.failure("somewhere.example:9") == reason
    assert logs == []
    assert capfd.readouterr() == ("", "")


def test_a_number_needs_no_resolver(tcp, resolver):
    asked = resolver(RuntimeError("asked"))
    listener = tcp.listen(tcp.record)
    tcp.dial(listener.address)
    assert asked.asked == []


@pytest.mark.parametrize("when", ["at once", "connecting"])
def test_a_dial_that_is_cancelled_says_no_more(tcp, when):
    silent = silent_address(tcp)
    calls = []
    dial = tcp.transport.dial(silent, 0.05, calls.append, calls.append)
    if when == "connecting":
        wait_until(lambda: dial._watcher is not None, what="connecting")
    dial.cancel()
    # Another dial with a longer time limit ends after the first one would have.
    assert tcp.failure(silent, 0.2) == "timeout"
    assert calls == []


def test_a_full_unix_listener_is_tried_again(unix, tmp_path):
    path = str(tmp_path / "full")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen(0)
    fillers = []
    while True:
        filler = socket.socket(socket.AF_UNIX)
        filler.setblocking(False)
        fillers.append(filler)
        if filler.connect_ex(path) == errno.EAGAIN:
            break
    assert unix.failure(f"unix:{path}", 0.1) == "timeout"
    ends = []
    unix.transport.dial(f"unix:{path}", 5.0, lambda connection: ends.append(unix.record(connection)) or ends[-1], print)
    wait_until(lambda: not ends, what="a first attempt")
    for _ in range(len(fillers) - 1):
        listening.accept()[0].close()
    wait_until(lambda: ends, what="connected")
    for each in (listening, *fillers):
        each.close()


def test_a_peer_that_resets_at_once(tcp):
    def refuse(connection):
        connection.close("not you")

    listener = tcp.listen(refuse)
    for _ in range(20):
        end = tcp.dial(listener.address)
        end.connection.write([b"x"])
    wait_until(lambda: all(end.reason for end in tcp.ends), what="every end closed")
    assert {end.reason for end in tcp.ends} <= {"eof", "reset"}


def test_the_limit_on_unsent_bytes_is_set(tcp):
    near, _ = tcp.pair()
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        value = near.connection._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)
        assert value == tcp_module.UNSENT_LOW_WATER
