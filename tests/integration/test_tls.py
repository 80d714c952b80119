"""Nodes under TLS: who may speak as whom, whatever certificate of the cluster's authority it holds."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent import socket as gevent_socket
from gevent import ssl as gevent_ssl
from gevent import subprocess as gevent_subprocess

from partisan_actors import TLS, JoinError, Node, Pid
from partisan_actors.behaviours import call
from partisan_actors.distribution.strangers import StrangerParameters
from tests.certificates import EXPIRED, NOT_YET_VALID, Authority, write
from tests.conditions import wait_until
from tests.integration.programs import run_program
from tests.integration.workers import Echo
from tests.nodes import Nodes, cluster_of, connected, session_between

HERE = "127.0.0.1"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.fixture
def sockets() -> Iterator[list[Any]]:
    made: list[Any] = []
    yield made
    for sock in made:
        sock.close()


def refusal(node: Node, contact: Node) -> JoinError:
    """Why `node` cannot join."""
    with node.attached(), pytest.raises(JoinError) as caught:
        node.join(contact.address, timeout=8.0)
    assert not session_exists(node, contact)
    return caught.value


def session_exists(one: Node, other: Node) -> bool:
    return any(cluster_of(node).peers.session(peer.name) is not None for node, peer in ((one, other), (other, one)))


def refused_by(node: Node, logs: list[Any]) -> list[tuple[str, str]]:
    """What `node` logged of those that it refused: reasons and details."""
    return [
        (line["reason"], line["detail"])
        for line in logs
        if line["event"] == "connection_refused" and line["node"] == node.name
    ]


def answers(caller: Node, server: Pid, request: Any = "hello") -> bool:
    return caller.run(call, server, ("echo", request)) == request


def cut(one: Node, other: Node) -> None:
    """Break the connection of two nodes under TLS, and wait until that was noticed."""
    link = session_between(one, other).link
    connection: Any = link.connection
    connection._inner._socket.shutdown(socket.SHUT_RDWR)
    wait_until(lambda: session_between(one, other).link is not link)


# What works.


def test_nodes_join_and_call_under_tls(nodes: Nodes, authority: Authority):
    one, other, third = nodes.cluster("one", "other", "third", tls=authority.tls(HERE))
    server = one.run(Echo.start)
    assert answers(other, server)
    large = bytes(3 << 20)
    assert answers(third, server, large)
    link = session_between(one, other).link
    assert link.mine.tls and link.peer.tls


def test_each_with_a_certificate_of_its_own_name(nodes: Nodes, authority: Authority):
    one = nodes.start("first@127.0.0.1", tls=authority.tls("partisan:first@127.0.0.1"))
    other = nodes.start("second@127.0.0.1", tls=authority.tls("second@127.0.0.1"))
    other.join(one.address)
    assert answers(other, one.run(Echo.start))


def test_connections_that_are_cut_are_made_again_under_tls(nodes: Nodes, authority: Authority):
    one, other = nodes.cluster("one", "other", tls=authority.tls(HERE))
    server = one.run(Echo.start)
    session = session_between(one, other)
    for _ in range(5):
        wait_until(lambda: session.connected and session_between(other, one).connected)
        cut(one, other)
        assert answers(other, server)
    assert session_between(one, other) is session


def test_a_unix_socket_does_without_tls(nodes: Nodes, authority: Authority, tmp_path: Path):
    tls = authority.tls(HERE)
    one = nodes.start("one", tls=tls, listen=["127.0.0.1:0", f"unix:{tmp_path}/one"])
    other = nodes.start("other", tls=tls, listen=f"unix:{tmp_path}/other")
    other.join(f"unix:{tmp_path}/one")
    link = session_between(other, one).link
    assert not link.mine.tls and not link.peer.tls
    third = nodes.start("third", tls=tls)
    third.join(one.address)
    assert session_between(third, one).link.mine.tls


@pytest.mark.parametrize("patch", ["", "from gevent import monkey; monkey.patch_all()"])
def test_the_child_of_a_fork_leaves_the_sessions_of_its_parent_alone(authority: Authority, patch: str):
    tls = authority.tls(HERE)
    result = run_program(
        textwrap.dedent(
            f"""
            {patch}
            import os, warnings
            import gevent
            from partisan_actors import TLS, Node
            from partisan_actors.behaviours import call
            from tests.integration.workers import Echo
            from tests.nodes import session_between

            warnings.simplefilter("ignore", DeprecationWarning)
            tls = TLS({str(tls.certificate)!r}, {str(tls.key)!r}, {str(tls.ca)!r})
            other = Node("other@127.0.0.1", tls=tls).start()
            with Node("one@127.0.0.1", tls=tls) as one:
                one.join(other.address)
                echo = other.run(Echo.start)
                link = session_between(one, other).link
                child = os.fork()
                if not child:
                    gevent.sleep(0.05)
                    os._exit(7)
                while not (ended := os.waitpid(child, os.WNOHANG))[0]:
                    assert call(echo, ("echo", 1)) == 1
                print(os.waitstatus_to_exitcode(ended[1]), session_between(one, other).link is link)
            other.stop()
            """
        )
    )
    assert (result.stdout, result.stderr, result.returncode) == ("7 True\n", "", 0)


# Certificates that are not good enough.


@pytest.mark.parametrize("dials", ["the bad one", "the good one"])
@pytest.mark.parametrize(
    ("validity", "reason"), [(EXPIRED, "certificate has expired"), (NOT_YET_VALID, "certificate is not yet valid")]
)
def test_a_certificate_out_of_its_time(
    nodes: Nodes, authority: Authority, logs: list[Any], dials: str, validity: dict[str, Any], reason: str
):
    good = nodes.start("good", tls=authority.tls(HERE))
    bad = nodes.start("bad", tls=authority.tls(HERE, **validity))
    assert any(line["event"] == "certificate_unfit" and reason in line["reason"] for line in logs)
    error = refusal(bad, good) if dials == "the bad one" else refusal(good, bad)
    assert error.reason == "tls"
    (entry,) = wait_until(lambda: refused_by(good, logs))
    assert entry[0] == "tls" and reason in entry[1]
    assert cluster_of(good).peers.counters.refusals["tls"] == 1
    assert wait_until(lambda: [key for key, _ in refused_by(bad, logs)]) == ["tls, by the peer"]


@pytest.mark.parametrize("dials", ["the bad one", "the good one"])
@pytest.mark.parametrize(
    "names", [("10.9.8.7",), ("partisan:good@127.0.0.1", HERE), ("good@127.0.0.1", HERE), ("*.0.0.1",)]
)
def test_a_certificate_of_another_node(
    nodes: Nodes, authority: Authority, logs: list[Any], dials: str, names: tuple[str, ...]
):
    good = nodes.start("good@127.0.0.1", tls=authority.tls(HERE))
    bad = nodes.start("bad@127.0.0.1", tls=authority.tls(*names))
    error = refusal(bad, good) if dials == "the bad one" else refusal(good, bad)
    assert error.reason == "tls"
    (entry,) = wait_until(lambda: refused_by(good, logs))
    assert entry[0] == "tls" and entry[1].startswith("the certificate is")
    # Also when the authority and the cookie are right, nothing of it came so far as to be a session.
    assert good.members() == [good.name]


def test_a_node_that_holds_another_ones_certificate_cannot_take_its_place(
    nodes: Nodes, authority: Authority, logs: list[Any]
):
    one = nodes.start("one@127.0.0.1", tls=authority.tls("partisan:one@127.0.0.1"))
    other = nodes.start("other@127.0.0.1", tls=authority.tls("partisan:other@127.0.0.1"))
    other.join(one.address)
    place = other.listening
    other.stop()
    wait_until(lambda: other.name not in one.members())
    thief = nodes.start("other@127.0.0.1", tls=authority.tls("partisan:thief@127.0.0.1"), listen=place)
    assert refusal(thief, one).reason == "tls"
    assert one.members() == [one.name]


@pytest.mark.parametrize("dials", ["one", "other"])
def test_a_certificate_of_another_authority(
    nodes: Nodes, authority: Authority, tmp_path: Path, logs: list[Any], dials: str
):
    one = nodes.start("one", tls=authority.tls(HERE))
    other = nodes.start("other", tls=Authority(tmp_path / "another").tls(HERE))
    error = refusal(one, other) if dials == "one" else refusal(other, one)
    assert error.reason == "tls"
    assert wait_until(lambda: refused_by(one, logs))[0][0].startswith("tls")


@pytest.mark.parametrize("dials", ["good", "bad"])
def test_a_nodes_certificate_vouches_for_nobody(nodes: Nodes, authority: Authority, logs: list[Any], dials: str):
    own = authority.tls("partisan:bad@127.0.0.1")
    forged = authority.forged("partisan:other@127.0.0.1", by=own)
    good, bad = nodes.start("good", tls=authority.tls(HERE)), nodes.start("other@127.0.0.1", tls=forged)
    error = refusal(good, bad) if dials == "good" else refusal(bad, good)
    assert error.reason == "tls"
    ((reason, detail),) = wait_until(lambda: refused_by(good, logs))
    assert reason == "tls" and "invalid CA certificate" in detail


# TLS on one side only.


def test_a_plain_node_dials_one_with_tls(nodes: Nodes, authority: Authority, logs: list[Any]):
    under_tls, plain = nodes.start("under-tls", tls=authority.tls(HERE)), nodes.start("plain")
    error = refusal(plain, under_tls)
    assert error.reason == "tls" and "the other side uses TLS, and this one does not" in str(error)
    assert wait_until(lambda: refused_by(under_tls, logs)) == [("tls", "tls: the other side does not speak TLS")]


def test_a_node_with_tls_dials_a_plain_one(nodes: Nodes, authority: Authority, logs: list[Any]):
    under_tls, plain = nodes.start("under-tls", tls=authority.tls(HERE)), nodes.start("plain")
    error = refusal(under_tls, plain)
    assert error.reason == "tls" and "the other side does not speak TLS" in str(error)
    ((reason, detail),) = wait_until(lambda: refused_by(plain, logs))
    assert reason == "tls" and "a TLS record where a frame was expected" in detail


# Somebody on the path.


class Middle:
    """Ends the TLS of both sides, with certificates that the authority vouches for, and passes on what is inside."""

    def __init__(self, target: Any, as_acceptor: TLS, as_dialler: TLS) -> None:
        self.target = target
        self.passed = 0
        self._server, self._client = (
            context(ssl.PROTOCOL_TLS_SERVER, as_acceptor),
            context(ssl.PROTOCOL_TLS_CLIENT, as_dialler),
        )
        self._listening = gevent_socket.socket()
        self._listening.bind((HERE, 0))
        self._listening.listen()
        self.address = f"{HERE}:{self._listening.getsockname()[1]}"
        self._greenlets = [gevent.spawn(self._accept)]

    def _accept(self) -> None:
        while True:
            client, _ = self._listening.accept()
            self._greenlets.append(gevent.spawn(self._serve, client))

    def _serve(self, client: Any) -> None:
        host, _, port = self.target.rpartition(":")
        server = gevent_socket.create_connection((host, int(port)))
        with self._server.wrap_socket(client, server_side=True) as near, self._client.wrap_socket(server) as far:
            back = gevent.spawn(self._pass_on, far, near)
            self._pass_on(near, far)
            back.join()

    def _pass_on(self, source: Any, sink: Any) -> None:
        try:
            while data := source.recv(65536):
                self.passed += len(data)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self) -> None:
        gevent.killall(self._greenlets)
        self._listening.close()


def context(protocol: int, tls: TLS) -> Any:
    made = gevent_ssl.SSLContext(protocol)
    made.check_hostname = False
    made.load_cert_chain(tls.certificate, tls.key)
    made.load_verify_locations(tls.ca)
    made.verify_mode = ssl.CERT_REQUIRED
    return made


def test_the_proof_is_bound_to_both_certificates(
    nodes: Nodes, authority: Authority, sockets: list[Any], logs: list[Any]
):
    one = nodes.start("one@127.0.0.1", tls=authority.tls("partisan:one@127.0.0.1"))
    other = nodes.start("other@127.0.0.1", tls=authority.tls("partisan:other@127.0.0.1"))
    # The names are right on both sides: whoever issued these did what an authority must not do.
    middle = Middle(one.address, authority.tls("partisan:one@127.0.0.1"), authority.tls("partisan:other@127.0.0.1"))
    sockets.append(middle)
    with pytest.raises(JoinError, match="cookie") as caught:
        other.join(middle.address)
    assert caught.value.reason == "cookie"
    assert middle.passed > 400  # both hellos and a proof went through
    assert refused_by(one, logs) == [("cookie", "the cookie does not match")]
    assert not session_exists(one, other)


# Strangers.


def test_who_accepts_and_says_nothing_is_given_up_in_time(nodes: Nodes, authority: Authority):
    with socket.create_server((HERE, 0)) as silent:
        one = nodes.start("one", tls=authority.tls(HERE))
        with pytest.raises(JoinError, match="not within the time limit") as caught:
            one.join(f"{HERE}:{silent.getsockname()[1]}", timeout=0.5)
        assert caught.value.reason == "unreachable"


def test_handshakes_that_never_end_cost_nobody_else(
    nodes: Nodes, authority: Authority, sockets: list[Any], logs: list[Any], monkeypatch: pytest.MonkeyPatch
):
    one = nodes.start("one", tls=authority.tls(HERE))
    peers = cluster_of(one).peers
    strangers = StrangerParameters(prove_within=0.5)
    object.__setattr__(peers.parameters, "strangers", strangers)
    address = (HERE, int(one.address.rpartition(":")[2]))
    for number in range(strangers.pending_from_one - 1):
        silent = socket.create_connection(address)
        sockets.append(silent)
        # Some say nothing, and some begin a record and never end it.
        silent.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[: number % 12])
    wait_until(lambda: peers.open_connections == strangers.pending_from_one - 1)
    other = nodes.start("other", tls=authority.tls(HERE))
    other.join(one.address)
    assert connected(one, other)
    wait_until(lambda: peers.open_connections == 1, what="those that never ended are gone")
    assert peers.counters.refusals["expired"] == strangers.pending_from_one - 1


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", bytes(30), b"\x16\x03\x01\xff\xff" + bytes(100)])
def test_what_is_no_tls_is_refused_and_logged(
    nodes: Nodes, authority: Authority, sockets: list[Any], logs: list[Any], data: bytes
):
    one = nodes.start("one", tls=authority.tls(HERE))
    stranger = gevent_socket.create_connection((HERE, int(one.address.rpartition(":")[2])))
    sockets.append(stranger)
    stranger.sendall(data)
    answer = b""
    while piece := stranger.recv(4096):
        answer += piece
    assert len(answer) < 64
    stranger.close()
    ((reason, detail),) = wait_until(lambda: refused_by(one, logs))
    assert reason == "tls" and detail.startswith("tls: ")


def test_six_nodes_join_at_once(nodes: Nodes, authority: Authority):
    tls = authority.tls(HERE)
    first = nodes.start("first", tls=tls)
    others = [nodes.start("node", tls=tls) for _ in range(6)]
    joins = [gevent.spawn(node.join, first.address) for node in others]
    gevent.joinall(joins, raise_error=True)
    wait_until(lambda: connected(first, *others), 20.0, what="all are connected")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_on_a_unix_socket_is_refused_counted_and_logged(nodes: Nodes, logs: list[Any]):
    folder = tempfile.mkdtemp(prefix="anybody-")
    try:
        os.chmod(folder, 0o777)
        one = nodes.start("one", listen=f"unix:{folder}/one")
        os.chmod(f"{folder}/one", 0o777)
        program = "import os, socket, sys; os.setuid(65534); s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])"
        gevent_subprocess.run([sys.executable, "-c", program, f"{folder}/one"], check=True, timeout=20)
        ((reason, detail),) = wait_until(lambda: refused_by(one, logs))
        assert reason == "another user" and "user 65534" in detail
        assert cluster_of(one).peers.counters.refusals["another user"] == 1
        one.stop()
    finally:
        shutil.rmtree(folder)


# New files.


def test_new_files_are_used_without_a_restart_and_sessions_go_on(nodes: Nodes, authority: Authority, logs: list[Any]):
    renewed = authority.tls(HERE, **EXPIRED)
    one = nodes.start("one", tls=renewed)
    other = nodes.start("other", tls=authority.tls(HERE))
    assert refusal(other, one).reason == "tls"
    write(Path(renewed.certificate), Path(renewed.key), *authority.issue(HERE))
    other.join(one.address)
    server = one.run(Echo.start)
    session = session_between(other, one)
    # And the other way: what is connected is not asked again, and what is new is.
    write(Path(renewed.certificate), Path(renewed.key), *authority.issue(HERE, **EXPIRED))
    third = nodes.start("third", tls=authority.tls(HERE))
    assert refusal(third, one).reason == "tls"
    assert answers(other, server) and session.connected and session_between(other, one) is session
    assert [line["event"] for line in logs if line["event"].startswith("certificate_re")] == [
        "certificate_reloaded"
    ] * 2


def test_files_that_are_broken_leave_those_before_in_use(nodes: Nodes, authority: Authority, logs: list[Any]):
    tls = authority.tls(HERE)
    one = nodes.start("one", tls=tls)
    Path(tls.key).write_bytes(authority.issue(HERE)[1])
    for name in ("other", "third"):
        nodes.start(name, tls=authority.tls(HERE)).join(one.address)
    (line,) = [line for line in logs if line["event"] == "certificate_reload_failed"]
    assert line["log_level"] == "warning" and "is not that of the certificate" in line["reason"]


# Options.


def test_tls_is_checked_when_the_node_is_made(authority: Authority):
    with pytest.raises(TypeError, match=r"tls is TLS\(certificate, key, ca\), not str"):
        Node("one@127.0.0.1", tls="cert.pem")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="own transport"):
        Node("one@127.0.0.1", tls=authority.tls(HERE), transport=object())


def test_a_node_says_so_when_its_certificate_names_another(nodes: Nodes, authority: Authority, logs: list[Any]):
    nodes.start("one@127.0.0.1", tls=authority.tls("partisan:two@127.0.0.1"))
    (line,) = [line for line in logs if line["event"] == "certificate_unfit"]
    assert line["reason"] == "the certificate is that of two@127.0.0.1, not of one@127.0.0.1"
    nodes.start("two@127.0.0.1", tls=authority.tls("partisan:two@127.0.0.1"))
    assert len([line for line in logs if line["event"] == "certificate_unfit"]) == 1
