"""What a peer that has proved itself sends, and should not: it costs that message, or its connection, and no more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from partisan_actors import (
    CallError,
    Down,
    Exit,
    Node,
    Pid,
    message,
    monitor,
    receive,
    self_pid,
    send,
    spawn_opt,
    trap_exits,
)
from partisan_actors.behaviours import call, wait_response
from partisan_actors.processes.requests import RequestId
from partisan_actors.processes.runtime import current_process
from partisan_actors.wire import signals
from partisan_actors.wire.codec import Codec
from partisan_actors.wire.message_types import MessageTypes
from partisan_actors.wire.signals import OPTIONAL, encode_signal
from tests.conditions import wait_until
from tests.integration.workers import Echo, wait_for_ever
from tests.nodes import Nodes, cluster_of, connected, session_between


@message
@dataclass
class Versioned:
    """A message class, as this version of the program has it."""

    kept: int
    added: str = "default"


@dataclass
class Unknown:
    """A class that only its sender marked."""

    value: int = 1


def of_a_class_that_only_its_sender_has() -> bytes:
    registry = MessageTypes()
    registry.add_message(Unknown)
    return Codec(registry=registry).encode(("of", Unknown()))


def of_another_version(fields: str, values: list[Any]) -> bytes:
    """A `Versioned` as another version of the program would send it."""
    registry = MessageTypes()
    other = dataclass(type("Other", (), {"__annotations__": dict.fromkeys(fields.split(), "object")}))
    registry.add_message(other, f"{Versioned.__module__}:Versioned")
    return Codec(registry=registry).encode(other(*values))


UNDECODABLE = {
    "10,000 nested arrays": b"\x91" * 10_000 + b"\xc0",
    "nested too deeply": b"\x92" * 70 + b"\xc0\x00" * 70 + b"\xc0",
    "truncated": Codec().encode(["a long enough text", 1, 2])[:-3],
    "trailing bytes": Codec().encode(1) + b"\x00",
    "an unknown extension type": b"\xd4\x7b\x00",
    "a length that is not there": b"\xdd\xff\xff\xff\xff",
    "no msgpack": b"\xc1",
    "nothing at all": b"",
    "an unknown class": of_a_class_that_only_its_sender_has(),
}


class Pair:
    """Two nodes; the test is a process of the first, and speaks for the second as it likes."""

    def __init__(self, here: Node, there: Node) -> None:
        self.here = here
        self.there = there
        self.echo: Pid = Echo.start(node=there.name)

    def say(self, kind: int, payload: bytes, to: int | None = None, ref: int = 0, flags: int = 0) -> None:
        """Send any signal to the other node's server."""
        to = self.echo.serial if to is None else to
        session_between(self.here, self.there).send(
            encode_signal(kind, to, self_pid().serial, ref, payload, flags=flags)
        )

    def hear(self, kind: int, payload: bytes, ref: int = 0, sender: int | None = None) -> None:
        """Let the other node send any signal to the test."""
        sender = self.echo.serial if sender is None else sender
        session_between(self.there, self.here).send(encode_signal(kind, self_pid().serial, sender, ref, payload))

    def ask(self, payload: bytes, kind: int = signals.CALL, to: int | None = None) -> RequestId:
        """Make a request with any payload."""
        request = RequestId(current_process(), self.echo, "made by hand")
        remote = cluster_of(self.here).remote
        to = self.echo.serial if to is None else to
        ties = remote.ties_to(self.there.name)
        assert not isinstance(ties, str)
        way = ties.ways.usual(0)
        signal = remote._expect_answer(ties, way, request, kind, to, None, payload)
        assert signal is not None
        way.send(signal)
        return request


@pytest.fixture
def pair(nodes: Nodes) -> Any:
    here, there = nodes.cluster("here", "there")
    with here.attached():
        yield Pair(here, there)


def logged(logs: list[Any], event: str) -> list[Any]:
    return [entry for entry in logs if entry["event"] == event]


def test_a_message_that_cannot_be_read_costs_itself(pair, logs):
    before = session_between(pair.here, pair.there)
    for number, payload in enumerate(UNDECODABLE.values()):
        send(pair.echo, number)
        pair.say(signals.SEND, payload)
        pair.say(signals.CAST, payload)
    assert call(pair.echo, "notes") == tuple(range(len(UNDECODABLE)))
    assert session_between(pair.here, pair.there) is before and before.connected
    told = logged(logs, "undecodable_message")
    assert cluster_of(pair.there).remote.incoming.undecodable == 2 * len(UNDECODABLE)
    assert len(told) == 2 * len({entry["reason"] for entry in told}), "one line for each reason and kind of message"
    assert {(entry["node"], entry["peer"], entry["to"]) for entry in told} == {
        (pair.there.name, pair.here.name, pair.echo.serial)
    }
    assert all(entry["reason"] for entry in told)
    assert any("Unknown" in entry["reason"] for entry in told)


@pytest.mark.parametrize("payload", UNDECODABLE.values(), ids=UNDECODABLE)
def test_a_call_that_cannot_be_read_fails(pair, payload):
    for kind, to in ((signals.CALL, None), (signals.SYSTEM_CALL, None), (signals.CALL, 10**9)):
        with pytest.raises(CallError, match="could not be decoded"):
            wait_response(pair.ask(payload, kind, to), 5)
    assert call(pair.echo, ("echo", 1)) == 1


def test_a_start_that_cannot_be_read_fails(pair):
    request = pair.ask(UNDECODABLE["truncated"], signals.SPAWN)
    with pytest.raises(CallError, match="could not be decoded"):
        wait_response(request, 5)
    for nonsense in (1, {}, {"target": 3}, {"target": "no colon"}, {"target": "tests.integration.workers:crash"}):
        assert wait_response(pair.ask(Codec().encode(nonsense), signals.SPAWN), 5)[0] == "error"
    assert call(pair.echo, ("echo", 1)) == 1


def test_a_reply_that_cannot_be_read_fails_its_call(pair):
    for kind in (signals.REPLY, signals.CALL_FAILED):
        request = pair.ask(Codec().encode("keep"))
        pair.hear(kind, UNDECODABLE["truncated"], ref=request.numbered())
        with pytest.raises(CallError, match="could not be decoded"):
            wait_response(request, 5)


def test_an_end_is_told_even_if_its_reason_cannot_be_read(pair):
    trap_exits()
    for payload in UNDECODABLE.values():
        ref = monitor(pair.echo)
        pair.hear(signals.DOWN, payload, ref=ref.serial)
        match receive(timeout=5):
            case Down(down_ref, sender, ("undecodable", str())):
                assert (down_ref, sender) == (ref, pair.echo)
            case other:
                pytest.fail(repr(other))
        linked = spawn_opt(wait_for_ever, node=pair.there.name, link=True)
        pair.hear(signals.LINK_EXIT, payload, sender=linked.serial)
        match receive(timeout=5):
            case Exit(sender, ("undecodable", str())):
                assert sender == linked
            case other:
                pytest.fail(repr(other))
        pair.hear(signals.EXIT, payload)
        assert receive(timeout=5).reason[0] == "undecodable"


def test_other_versions_of_a_message_class_are_read(pair):
    pair.say(signals.SEND, of_another_version("kept", [1]))
    pair.say(signals.SEND, of_another_version("kept added removed", [2, "a", "b"]))
    pair.say(signals.SEND, of_another_version("added", ["kept is missing"]))
    assert call(pair.echo, "notes") == (Versioned(1, "default"), Versioned(2, "a"))


def test_news_for_the_runtime_that_cannot_be_read_are_passed_over(pair, logs):
    for kind in (signals.MEMBERSHIP, signals.NAMES, signals.OVERLAY):
        for payload in (
            *UNDECODABLE.values(),
            *map(Codec().encode, (None, 1, (), ("hello", 1), ("names", (1, 2)), [[]])),
        ):
            pair.say(kind, payload)
    assert call(pair.echo, ("echo", 1)) == 1
    assert connected(pair.here, pair.there)
    assert logged(logs, "records_refused") and logged(logs, "names_refused")
    assert not logged(logs, "received_frame_failed")


def test_signals_to_nobody_and_about_nothing_are_passed_over(pair, logs):
    everything = Codec().encode(("a", "term"))
    for kind in range(signals.SEND, signals.SPAWN):
        if kind not in (signals.CALL, signals.SYSTEM_CALL, signals.MONITOR, signals.LINK):
            for to in (0, 10**12, (1 << 64) - 1):
                pair.say(kind, everything, to=to, ref=10**12)
    pair.say(200, everything, flags=OPTIONAL)  # what a later version may send
    assert call(pair.echo, ("echo", 1)) == 1
    assert not logged(logs, "received_frame_failed") and not logged(logs, "broken_envelope")


BROKEN = {
    "an unknown kind": encode_signal(200),
    "longer than its frame": encode_signal(signals.SEND, payload=b"\xc0" * 100)[:-1],
    "too short for a header": b"\x01\x00",
    "extensions that are cut short": encode_signal(signals.SEND, 1, name="name")[:-2],
    "a name that is no text": bytes(encode_signal(signals.SEND, 1, name="aa")[:-2]) + b"\xff\xff",
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_a_broken_envelope_ends_the_connection_and_not_the_session(pair, logs, broken):
    session = session_between(pair.here, pair.there)
    monitor(pair.echo)
    first = session.link
    send(pair.echo, "before")
    session.send(broken)
    session.flush()
    send(pair.echo, "after")
    wait_until(lambda: session.link is not None and session.link is not first, what="another connection")
    assert call(pair.echo, "notes") == ("before", "after")
    assert session_between(pair.here, pair.there) is session
    assert receive(timeout=0, default=None) is None
    (entry,) = logged(logs, "broken_envelope")
    assert (entry["node"], entry["peer"]) == (pair.there.name, pair.here.name) and entry["address"]


def test_who_sends_nothing_but_broken_envelopes_loses_the_session(pair, logs):
    session = session_between(pair.here, pair.there)
    ref = monitor(pair.echo)
    for _ in range(5):
        wait_until(lambda: session.ended or session.link is not None)
        if session.ended:
            break
        session.send(BROKEN["an unknown kind"])
        session.flush()
        before = session.link
        wait_until(lambda before=before: session.ended or session.link is not before)
    assert session.ended is not None
    assert receive(Down, timeout=5) == Down(ref, pair.echo, "noconnection")
    # It was a mistake, say: they find each other again.
    wait_until(lambda: connected(pair.here, pair.there))
    assert call(pair.echo, "where") == pair.there.name
