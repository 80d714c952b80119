"""What a node says of itself on each connection, and whether whoever is at the other end may have it.

Promised: every hello is true when it is sent; a connection between two nodes is for their session, or for one stream
of the session that both hold. The rules are `admission`'s; here is what they are told.

Not known here: what becomes of a connection.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Protocol

from partisan_actors.distribution.admission import Acquaintances, Grounds, judge, judge_stream
from partisan_actors.distribution.attempt import Attempt
from partisan_actors.distribution.channels import (
    AgreedChannel,
    agree_channels,
    declared,
    declared_dictionaries,
    dictionaries_of,
)
from partisan_actors.distribution.link import Link
from partisan_actors.distribution.live_session import Session
from partisan_actors.distribution.ports import LocalIdentity
from partisan_actors.distribution.streams import SYSTEM, StreamId
from partisan_actors.processes.clock import Clock
from partisan_actors.wire.handshake import Hello, Purpose, Refusal, RefusalCode
from partisan_actors.wire.hello import encode_round_trip, encode_topology_version

__all__ = ["Greeter", "GreeterOwner"]

_NONCE_SIZE = 32


class GreeterOwner(Protocol):
    """What a greeter looks at."""

    clock: Clock
    identity: LocalIdentity
    acquaintances: Acquaintances

    @property
    def closed(self) -> bool:
        """Whether nobody is to be let in any more."""

    def session(self, node: str) -> Session | None:
        """The live session with `node`."""

    def attempts(self) -> Collection[Attempt]:
        """All dials and handshakes of ours that are under way."""

    def objection(self, peer: Hello) -> str | None:
        """Why the parts above refuse a peer."""

    @property
    def places(self) -> int:
        """How many sessions more there may be."""


class Greeter:
    """Makes hellos, and judges those of others."""

    def __init__(self, owner: GreeterOwner) -> None:
        """Make it. Raises ValueError for an identity that is too long for a handshake."""
        self._owner = owner
        self._turn = 0  # counts hellos and established links, to tell which came first
        # Now, rather than in the middle of the first handshake.
        self.hello_to(None, Purpose.JOIN).encode()

    def turn(self) -> int:
        """The next number."""
        self._turn += 1
        return self._turn

    def hello_to(self, node: str | None, purpose: Purpose, stream: StreamId = SYSTEM, round_trip: float = 0.0) -> Hello:
        """What to say to `node`, or to whoever answers, on a connection for `stream`, made in `round_trip` seconds."""
        session = self._owner.session(node) if node is not None else None
        hello = self._hello(node, session, purpose, stream)
        return dataclasses.replace(hello, extensions=(*hello.extensions, encode_round_trip(round_trip)))

    def greet(self, link: Link, peer: Hello) -> Hello | Refusal:
        """Answer one that dialled us; nothing of it is proven."""
        link.hello_turn = self.turn()
        if self._owner.closed:
            return Refusal(RefusalCode.BUSY, text="the node is closing")
        session = self._owner.session(peer.node)
        held = session if session is not None and session.peer == peer.life else None
        return self._hello(peer.node, held, Purpose.LINK, (peer.channel, peer.stream))

    def greeted(self, link: Link, peer: Hello) -> Refusal | None:
        """See the hello of one that we dialled, before we prove ourselves to it."""
        attempt = link.attempt
        if attempt is not None and attempt.purpose is Purpose.PROBE:
            return Refusal(RefusalCode.PROBED)
        if attempt is not None and attempt.expected is None:
            session = self._owner.session(peer.node)
            if session is not None and session.peer == peer.life:
                # Our hello named no session, so going on would end this one.
                return Refusal(RefusalCode.SIMULTANEOUS, text="it is connected already")
        elif attempt is not None and attempt.expected != peer.node:
            return Refusal(RefusalCode.NAME, text=f"{peer.node} answers in place of {attempt.expected}")
        return self._judge(link, peer)

    def admit(self, link: Link, peer: Hello) -> Refusal | None:
        """Decide on one that has proved itself."""
        if self._owner.closed:
            return Refusal(RefusalCode.BUSY, text="the node is closing")
        refusal = self._judge(link, peer)
        if refusal is not None or link.stream != SYSTEM:
            return refusal
        reason = self._owner.objection(peer)
        if reason is None:
            return None
        code = RefusalCode.__members__.get(reason.upper(), RefusalCode.NAME)
        return Refusal(code, text=f"refused by {self._owner.identity.life.node}: {reason}")

    def agreed(self, link: Link, mine: Hello, peer: Hello) -> tuple[Mapping[str, AgreedChannel], bool]:
        """What the two hellos say of a new session: its channels, and whether we make its streams' connections."""
        # Who dialled has measured it, and said so; so both take the same.
        round_trip = (mine if link.dialled else peer).round_trip
        features = mine.features & peer.features
        dictionaries = dictionaries_of(peer.extensions)
        channels = agree_channels(self._owner.identity.channels, peer.channels, features, round_trip, dictionaries)
        # Of two that can both be dialled, the one with the smaller name makes the streams' connections.
        return channels, bool(peer.addresses) and (not mine.addresses or mine.node < peer.node)

    def is_of_a_session(self, link: Link) -> bool:
        """Whether it says to be somebody that is connected, and so has given this one up for a connection of ours."""
        session = self._owner.session(link.peer.node) if link.peer is not None else None
        return session is not None and link.peer is not None and session.peer == link.peer.life

    def has_room_for(self, node: str, link: Link | None = None) -> bool:
        """Whether there may be a session with `node`, by `link` perhaps, now that there is none."""
        owner = self._owner
        if owner.places > len(owner.attempts()):
            return True
        # Those that we prove ourselves to right now take it that they are in, and begin a session when they have our
        # proof. To refuse them then would be an end of what had just begun: a NodeUp and a NodeDown for nothing.
        promised = {
            answer.node
            for attempt in owner.attempts()
            if attempt.link is not link
            and attempt.stream == SYSTEM
            and (answer := attempt.answered_by()) is not None
            and owner.session(answer.node) is None
        }
        return owner.places > len(promised - {node})

    def _judge(self, link: Link, peer: Hello) -> Refusal | None:
        if link.stream == SYSTEM:
            return judge(self._grounds(link, peer), link.mine, peer)
        session = self._owner.session(peer.node)
        if session is not None and not session.linked:
            # It is late, of a link that was given up meanwhile: by a route there is one connection.
            return Refusal(RefusalCode.SIMULTANEOUS, text="the session has no link")
        has_it = session is not None and session.machine.streams.get(link.stream) is not None
        return judge_stream(self._grounds(link, peer), link.mine, peer, has_it)

    def _hello(self, node: str | None, session: Session | None, purpose: Purpose, stream: StreamId) -> Hello:
        identity = self._owner.identity
        known = self._owner.acquaintances.get(node) if node is not None else None
        return Hello(
            node=identity.life.node,
            epoch=identity.life.epoch,
            bits=identity.life.bits,
            # Not of the clock's generator: a nonce that can be foretold is none.
            nonce=self._owner.clock.entropy(_NONCE_SIZE),
            protocol_min=identity.protocol[0],
            protocol_max=identity.protocol[1],
            features=identity.features,
            topology=identity.topology,
            session=session.number if session is not None else 0,
            last_session=known.last_session if known is not None else 0,
            peer_bits=session.peer.bits if session is not None else 0,
            channel=stream[0],
            stream=stream[1],
            received=session.received_number(stream) if session is not None else 0,
            channels=declared(identity.channels),
            addresses=tuple(identity.addresses()),
            purpose=purpose,
            extensions=(
                declared_dictionaries(identity.channels),
                encode_topology_version(identity.topology_version),
                *identity.extensions(),
            ),
        )

    def _grounds(self, link: Link, peer: Hello) -> Grounds:
        owner = self._owner
        session = owner.session(peer.node)
        current = session.link if session is not None else None
        routed = link.routed
        return Grounds(
            own=owner.identity.life,
            topology=owner.identity.topology,
            topology_version=owner.identity.topology_version,
            known=owner.acquaintances.get(peer.node),
            held=session.peer if session is not None else None,
            held_number=session.number if session is not None else 0,
            acknowledged=session is not None and session.machine.sending.acknowledged > 0,
            answers=session is not None and session.answers,
            dial_answered=any(
                attempt.link is not link
                and attempt.stream == SYSTEM
                and attempt.routed <= routed
                and (answer := attempt.answered_by()) is not None
                and answer.life == peer.life
                for attempt in owner.attempts()
            ),
            crossed=current is not None
            and current.dialled
            and current.routed <= routed
            and current.established_turn > link.hello_turn,
            routed=routed,
            linked=session is not None and session.direct and session.answers,
            accepting=not link.dialled,
            room=session is not None or self.has_room_for(peer.node, link),
        )
