"""Listeners: what they bind, how much they accept at a time, and what they do without descriptors."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from gevent import get_hub
from structlog.testing import capture_logs

from partisan_actors.transport import listeners
from tests.conditions import wait_until
from tests.transport.peers import Recorder

ROOT = Path(__file__).parent.parent.parent


def test_the_address_really_bound(tcp):
    listener = tcp.listen(lambda connection: None)
    host, _, port = listener.address.rpartition(":")
    assert host == "127.0.0.1"
    assert int(port) > 0


def test_a_name_is_listened_on(tcp):
    listener = tcp.listen(lambda connection: None, "localhost:0")
    assert listener.address.startswith(("127.0.0.1:", "[::1]:"))


@pytest.mark.parametrize("address", ["nonsense", "unix:relative", "[::1:80", "127.1:0"])
def test_a_bad_address_is_a_value_error(tcp, address):
    with pytest.raises(ValueError, match="address"):
        tcp.listen(lambda connection: None, address)


def test_a_name_that_does_not_resolve_is_named(tcp, monkeypatch):
    class Ignorant:
        def getaddrinfo(self, *question):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(get_hub(), "resolver", Ignorant())
    with pytest.raises(OSError, match=r"cannot listen on no\.such\.name\.invalid:0: "):
        tcp.listen(lambda connection: None, "no.such.name.invalid:0")


def test_an_address_of_another_machine_is_named(tcp):
    with pytest.raises(OSError, match=r"cannot listen on 192\.0\.2\.1:0: Cannot assign"):
        tcp.listen(lambda connection: None, "192.0.2.1:0")


def test_options_of_both_ends(tcp):
    near, far = tcp.pair()
    for end in (near, far):
        sock = end.connection._socket
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert not sock.getblocking()
        assert not os.get_inheritable(sock.fileno())


def test_a_port_is_free_again_at_once(tcp):
    near, far = tcp.pair()
    far.connection.close("first to close, so in TIME_WAIT")
    wait_until(lambda: near.reason, what="closed")
    again = tcp.listen(lambda connection: None, tcp.listeners[0].address)
    assert again.address == tcp.listeners[0].address


def test_a_crowd_is_accepted_in_turns(tcp):
    accepted, turns = [], []

    def accept(connection):
        accepted.append(tcp.record(connection))
        return accepted[-1]

    listener = tcp.listen(accept)
    on_acceptable = listener._on_acceptable

    def counted():
        before = len(accepted)
        on_acceptable()
        turns.append(len(accepted) - before)

    listener._watcher.stop()
    listener._watcher.start(counted)
    host, _, port = listener.address.rpartition(":")
    crowd = [socket.create_connection((host, int(port))) for _ in range(200)]
    wait_until(lambda: len(accepted) == 200, what="everybody")
    assert max(turns) == listeners.ACCEPTS_PER_EVENT
    for peer in crowd:
        peer.close()


def test_closing_inside_accepted_turns_the_rest_away(tcp, capfd):
    accepted = []

    def accept(connection):
        listener.close()
        accepted.append(tcp.record(connection))
        return accepted[-1]

    listener = tcp.listen(accept)
    host, _, port = listener.address.rpartition(":")
    crowd = [socket.create_connection((host, int(port))) for _ in range(3)]
    wait_until(lambda: accepted, what="the first")
    for peer in crowd[1:]:
        with pytest.raises(ConnectionResetError):
            peer.recv(1)
    assert len(accepted) == 1
    assert capfd.readouterr() == ("", "")
    for peer in crowd:
        peer.close()


def test_one_that_is_gone_before_it_is_accepted_costs_nobody(tcp, monkeypatch):
    codes = [errno.ECONNABORTED, errno.EPROTO, errno.EHOSTUNREACH]

    def accept_descriptor(listening):
        if codes:
            raise OSError(codes.pop(), "gone")
        return original(listening)

    original = listeners.accept_descriptor
    monkeypatch.setattr(listeners, "accept_descriptor", accept_descriptor)
    with capture_logs() as logs:
        near, far = tcp.pair()
    assert codes == []
    assert logs == []
    near.connection.write([b"x"])
    far.expect(b"x")


def test_an_unknown_failure_pauses_and_is_logged_once(tcp, monkeypatch):
    failures = []

    def accept_descriptor(listening):
        if len(failures) < 3:
            failures.append(tcp.clock.now())
            raise OSError(errno.ENOBUFS, "No buffer space available")
        return original(listening)

    original = listeners.accept_descriptor
    monkeypatch.setattr(listeners, "accept_descriptor", accept_descriptor)
    with capture_logs() as logs:
        tcp.pair()
    assert failures[2] - failures[0] > 2 * listeners.PAUSE_SECONDS * 0.9
    assert [line["event"] for line in logs] == ["accept_failed"]
    assert logs[0]["reason"] == "No buffer space available"


def test_closing_during_a_pause(tcp, monkeypatch):
    failures = []

    def accept_descriptor(listening):
        failures.append(listening)
        raise OSError(errno.ENOBUFS, "No buffer space available")

    monkeypatch.setattr(listeners, "accept_descriptor", accept_descriptor)
    listener = tcp.listen(lambda connection: None)
    host, _, port = listener.address.rpartition(":")
    with capture_logs(), socket.create_connection((host, int(port))):
        wait_until(lambda: failures, what="a failure")
        listener.close()


class Crowded:
    """A server in a process of its own that may open few descriptors."""

    def __init__(self, limit: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.transport.crowded", limit],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self.address = self.line()

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def ask(self, question: str) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(question + "\n")
        self.process.stdin.flush()
        return self.line()

    def end(self) -> None:
        rest, _ = self.process.communicate("end\n", timeout=10)
        assert (self.process.returncode, rest) == (0, "")


def crowd_of(network, address: str, count: int) -> list[Recorder]:
    return [network.dial(address) for _ in range(count)]


def test_without_descriptors_newcomers_are_turned_away_and_others_served(tcp):
    server = Crowded("some")
    crowd = crowd_of(tcp, server.address, 100)
    wait_until(lambda: all(end.data or end.reason for end in crowd), what="an answer for everybody")
    served = [end for end in crowd if end.data == b"hello"]
    turned_away = [end for end in crowd if end.reason is not None]
    assert len(served) >= 20
    assert len(turned_away) >= 20
    assert len(served) + len(turned_away) == 100
    served[0].connection.write([b"?"])
    served[0].expect(b"hello?")
    for end in served[1:10]:
        end.connection.close("makes room")
    wait_until(lambda: int(server.ask("connections")) == len(served) - 9, what="room")
    (late,) = crowd_of(tcp, server.address, 1)
    late.expect(b"hello")
    assert server.ask("log lines") == "1"
    server.end()


def test_without_even_a_spare_descriptor_accepting_pauses(tcp):
    server = Crowded("none")
    crowd = crowd_of(tcp, server.address, 3)
    wait_until(lambda: int(server.ask("attempts")) >= 3, what="three attempts")
    # Each attempt is at most two calls; a loop without pauses makes thousands while three pauses pass.
    assert int(server.ask("attempts")) <= 20
    assert all(end.data == b"" and end.reason is None for end in crowd)
    server.ask("more")
    for end in crowd:
        end.expect(b"hello")
    server.end()
