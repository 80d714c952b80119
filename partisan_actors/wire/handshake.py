"""The handshake: two node lives prove to each other that they know the cookie and agree on how to talk.

    initiator                                acceptor
      HELLO  ------------------------------->          make_hello(peer) answers or refuses
             <-------------------------------  HELLO
      PROOF  ------------------------------->          checks the proof, then check(peer)
             <-------------------------------  PROOF   the acceptor is done
      checks the proof, then check(peer): done

Either side may send REFUSAL instead, and the initiator also after the acceptor was done: its `check` comes last.
So feed a REFUSAL that arrives before any other frame of an established connection to `step`, too.

A proof is HMAC-SHA256 under the key derived from the cookie, over a direction byte and the length-framed bodies
of both hellos and the channel binding (under TLS: SHA-256 of the initiator's and of the acceptor's leaf
certificate; else empty). It answers:

- a stranger: no cookie, no proof, and a stranger who dials is sent none either. It learns what a HELLO has to say
  and the code of a refusal; details and texts are for peers that have proved themselves, but for the versions;
- a replay: both nonces are fresh, 32 bytes of the operating system's randomness, never of a seeded generator;
- a reflection: the direction byte, and an own nonce or an own life in the peer's hello is refused;
- somebody in the middle who changes a byte of a hello, a downgrade included: the proofs cover every byte, and the
  version and features that were negotiated follow from nothing else;
- somebody who gathers proofs (who gets dialled gets one) to guess the cookie off line: scrypt makes each guess
  cost some 40 ms and 16 MiB. Cookies should be random all the same.

Not answered: who merely passes bytes on, or changes them after the handshake. That is what TLS is for. And the
last proof can be lost like any last message: the acceptor is established and the initiator is not, until the
connection closes or a REFUSAL comes.

Refusals are not proved: act on one, and on its detail, only as far as one would on a connection that broke.

A PROOF body is the 32 bytes; `wire.hello` has the other two. A hello extension of an unknown type passes below 128;
one from 128 on says that the peer cannot do without it, and is a VERSION refusal.

Effects: `Send`, `Established`, `Refused`. Nothing follows Refused. Pure: no clock (the driver owns the time limit
and calls `refuse`), no randomness (the nonce comes with the hello), no logging.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
from collections.abc import Callable, Sequence
from typing import NamedTuple

from partisan_actors.wire.frames import HELLO, PROOF, REFUSAL, BrokenFrame
from partisan_actors.wire.hello import MAX_HANDSHAKE_BODY, PROTOCOL, Hello, Purpose, Refusal, RefusalCode

__all__ = [
    "EXPECTED",
    "MAX_HANDSHAKE_BODY",
    "PROTOCOL",
    "Check",
    "Effect",
    "Established",
    "Handshake",
    "Hello",
    "Keys",
    "MakeHello",
    "Purpose",
    "Refusal",
    "RefusalCode",
    "Refused",
    "Send",
    "State",
    "agree_session",
    "derive_key",
    "negotiate",
]

# A hello extension of this type or above is one that its sender cannot do without.
_REQUIRED_EXTENSION = 128

_MIN_COOKIE = 16
# The salt is the same everywhere, as nodes that share nothing but the cookie must come to the same key; it keeps
# tables that were computed for other uses of scrypt out. n and r: 16 MiB and about 40 ms, once when a node starts.
_SALT = b"partisan_actors/handshake/1"
_SCRYPT_N = 1 << 14
_SCRYPT_R = 8
_SCRYPT_P = 1

_FROM_INITIATOR = b"\x01"
_FROM_ACCEPTOR = b"\x02"


def negotiate(mine: Hello, peer: Hello) -> int | None:
    """The highest protocol version that both speak, if there is one."""
    highest = min(mine.protocol_max, peer.protocol_max)
    return highest if highest >= max(mine.protocol_min, peer.protocol_min) else None


def agree_session(mine: Hello, peer: Hello) -> tuple[int, bool]:
    """The number of the session that the two go on with, and whether it is one that both still hold.

    Both sides come to the same answer (design, decision 6). A side that holds another session than the answer
    has to end that one first: the peer restarted, or gave it up while the two could not talk.
    """
    same = 0 < mine.session == peer.session
    if same and mine.peer_bits == peer.bits and peer.peer_bits == mine.bits:
        return mine.session, True
    return max(mine.session, mine.last_session, peer.session, peer.last_session) + 1, False


def derive_key(cookie: bytes) -> bytes:
    """The 32 byte key of a cookie; some 40 ms. Raises ValueError for a cookie below 16 bytes."""
    if len(cookie) < _MIN_COOKIE:
        raise ValueError(
            f"a cookie of {len(cookie)} bytes is too easy to guess; use at least {_MIN_COOKIE}, random ones, "
            f"such as python -c 'import secrets; print(secrets.token_hex(16))' prints"
        )
    return hashlib.scrypt(cookie, salt=_SALT, n=_SCRYPT_N, r=_SCRYPT_R, p=_SCRYPT_P, dklen=32)


class Keys:
    """The keys of the cookies that a node knows: the first proves, all are accepted.

    To rotate a cookie without a node ever being refused: add the new one behind the old one on every node, then put
    it first on every node, then take the old one off.
    """

    __slots__ = ("_keys",)

    def __init__(self, cookies: Sequence[bytes]) -> None:
        """Derive the keys, some 40 ms a cookie. Raises ValueError for none or a short one."""
        self._keys = tuple(derive_key(cookie) for cookie in cookies)
        if not self._keys:
            raise ValueError("at least one cookie is needed")

    @classmethod
    def derived(cls, keys: Sequence[bytes]) -> Keys:
        """Keys that `derive_key` made before. Raises ValueError for none."""
        if not keys:
            raise ValueError("at least one key is needed")
        made = cls.__new__(cls)
        made._keys = tuple(keys)
        return made

    def __repr__(self) -> str:
        return f"<Keys of {len(self._keys)} cookies>"

    def prove(self, message: bytes, index: int = 0) -> bytes:
        """The proof of knowing the cookie at `index`."""
        return hmac.digest(self._keys[index], message, "sha256")

    def match(self, proof: bytes, message: bytes) -> int | None:
        """The index of the cookie that `proof` was made with, if it is a known one. All are always tried."""
        found = None
        for index in reversed(range(len(self._keys))):
            if hmac.compare_digest(self.prove(message, index), proof):
                found = index
        return found


class Send(NamedTuple):
    """Send a frame of this kind and body."""

    kind: int
    body: bytes


class Established(NamedTuple):
    """The peer has proved itself and both agree. `key_index` says which own cookie it used."""

    peer: Hello
    protocol: int
    features: int
    key_index: int


class Refused(NamedTuple):
    """It is over, by our refusal or the peer's. Close once what was sent is out."""

    refusal: Refusal
    by_us: bool


Effect = Send | Established | Refused
MakeHello = Callable[[Hello], Hello | Refusal]
Check = Callable[[Hello], Refusal | None]


class State(enum.Enum):
    """Where a handshake stands, named by what it waits for."""

    START = "start"
    ACCEPTOR_HELLO = "the acceptor's hello"
    ACCEPTOR_PROOF = "the acceptor's proof"
    INITIATOR_HELLO = "the initiator's hello"
    INITIATOR_PROOF = "the initiator's proof"
    ESTABLISHED = "nothing, it is established"
    ENDED = "nothing, it is over"


# Every transition: what may come in a state, and the method that takes it. Anything else is MALFORMED.
EXPECTED: dict[State, dict[int, str]] = {
    State.START: {},
    State.ACCEPTOR_HELLO: {HELLO: "_acceptor_hello", REFUSAL: "_refusal"},
    State.ACCEPTOR_PROOF: {PROOF: "_acceptor_proof", REFUSAL: "_refusal"},
    State.INITIATOR_HELLO: {HELLO: "_initiator_hello", REFUSAL: "_refusal"},
    State.INITIATOR_PROOF: {PROOF: "_initiator_proof", REFUSAL: "_refusal"},
    State.ESTABLISHED: {REFUSAL: "_refusal"},
}


class Handshake:
    """One end of the handshake of one connection. Make it by `initiator` or `acceptor`."""

    __slots__ = (
        "_binding",
        "_check",
        "_heard",
        "_hellos",
        "_keys",
        "_make_hello",
        "_proved",
        "mine",
        "peer",
        "state",
    )

    def __init__(self, state: State, keys: Keys, channel_binding: bytes, check: Check | None) -> None:
        self.state = state
        self.mine: Hello | None = None
        self.peer: Hello | None = None  # what it says of itself; proved only when established
        self._keys = keys
        self._binding = channel_binding
        self._check = check
        self._make_hello: MakeHello | None = None
        # The bodies as they went over the wire, the initiator's first.
        self._hellos = (b"", b"")
        self._heard = False  # the peer speaks the protocol, so a refusal can be sent to it
        self._proved = False

    @classmethod
    def initiator(cls, hello: Hello, keys: Keys, channel_binding: bytes = b"", check: Check | None = None) -> Handshake:
        """The end that dialled.

        Args:
            channel_binding: the same bytes on both ends; see the module's head.
            check: asked last, once the peer has proved itself.

        Raises: ValueError where `hello` does not fit into a frame.
        """
        made = cls(State.START, keys, channel_binding, check)
        made.mine = hello
        made._hellos = (hello.encode(), b"")
        return made

    @classmethod
    def acceptor(
        cls, make_hello: MakeHello, keys: Keys, channel_binding: bytes = b"", check: Check | None = None
    ) -> Handshake:
        """The end that was dialled.

        Args:
            make_hello: gives the answer to the initiator's hello, of which nothing is proved at that time.
            channel_binding: the same bytes on both ends; see the module's head.
            check: asked once the initiator has proved itself, before this side's proof is sent.
        """
        made = cls(State.INITIATOR_HELLO, keys, channel_binding, check)
        made._make_hello = make_hello
        return made

    def bind(self, channel_binding: bytes) -> None:
        """Say what the channel is, where that was not known when this was made: before the first `step`."""
        self._binding = channel_binding

    def start(self) -> list[Effect]:
        """The effects of the connection's being there: the initiator speaks first."""
        if self.state is not State.START:
            return []
        self.state = State.ACCEPTOR_HELLO
        return [Send(HELLO, self._hellos[0])]

    def step(self, kind: int, body: bytes | memoryview) -> list[Effect]:
        """Take a frame of the peer. Raises nothing for anything that a peer can send."""
        if self.state is State.ENDED:
            return []
        self._heard = self._heard or kind in (HELLO, PROOF, REFUSAL)
        method = EXPECTED[self.state].get(kind)
        if method is None:
            return self._malformed(f"a frame of kind {kind} while waiting for {self.state.value}")
        if len(body) > MAX_HANDSHAKE_BODY:
            return self._malformed(f"a handshake frame of {len(body)} bytes")
        try:
            effects: list[Effect] = getattr(self, method)(bytes(body))
        except BrokenFrame as broken:
            return self._malformed(broken.reason)
        return effects

    def refuse(self, refusal: Refusal) -> list[Effect]:
        """End it for a reason of the driver's (EXPIRED, BUSY); nothing once it has ended.

        The effect holds the whole refusal, for the log. The frame of a peer that has not proved itself holds the
        code only, but for VERSION: that says what the hello would have said.
        """
        if self.state is State.ENDED:
            return []
        self.state = State.ENDED
        if not self._heard:
            return [Refused(refusal, by_us=True)]
        told = refusal if self._proved or refusal.code == RefusalCode.VERSION else Refusal(refusal.code)
        return [Send(REFUSAL, told.encode()), Refused(refusal, by_us=True)]

    def _malformed(self, reason: str) -> list[Effect]:
        return self.refuse(Refusal(RefusalCode.MALFORMED, text=reason))

    def _initiator_hello(self, body: bytes) -> list[Effect]:
        assert self._make_hello is not None
        peer = self.peer = Hello.decode(body)
        answer = self._make_hello(peer)
        if isinstance(answer, Refusal):
            return self.refuse(answer)
        self.mine = answer
        objection = _objection(answer, peer)
        if objection is not None:
            return self.refuse(objection)
        self._hellos = (body, answer.encode())
        self.state = State.INITIATOR_PROOF
        return [Send(HELLO, self._hellos[1])]

    def _acceptor_hello(self, body: bytes) -> list[Effect]:
        assert self.mine is not None
        self.peer = Hello.decode(body)
        objection = _objection(self.mine, self.peer)
        if objection is not None:
            return self.refuse(objection)
        self._hellos = (self._hellos[0], body)
        self.state = State.ACCEPTOR_PROOF
        return [Send(PROOF, self._keys.prove(self._transcript(_FROM_INITIATOR)))]

    def _initiator_proof(self, body: bytes) -> list[Effect]:
        index = self._keys.match(body, self._transcript(_FROM_INITIATOR))
        if index is None:
            return self.refuse(Refusal(RefusalCode.COOKIE))
        self._proved = True
        objection = self._ask_check()
        if objection is not None:
            return self.refuse(objection)
        # By the key that the initiator used, not by our first: it is the only one that the initiator is known to
        # have. So while a cookie is rotated, a node that knows no more than the old one and a node that knows no
        # more than the new one are both answered by a node that accepts both, whichever of the two it puts first.
        proof = Send(PROOF, self._keys.prove(self._transcript(_FROM_ACCEPTOR), index))
        return [proof, self._establish(index)]

    def _acceptor_proof(self, body: bytes) -> list[Effect]:
        # Only the key that we proved with: an acceptor that could check our proof has it.
        expected = self._keys.prove(self._transcript(_FROM_ACCEPTOR))
        if not hmac.compare_digest(expected, body):
            return self.refuse(Refusal(RefusalCode.COOKIE))
        self._proved = True
        objection = self._ask_check()
        if objection is not None:
            return self.refuse(objection)
        return [self._establish(0)]

    def _refusal(self, body: bytes) -> list[Effect]:
        refusal = Refusal.decode(body)
        self.state = State.ENDED
        return [Refused(refusal, by_us=False)]

    def _ask_check(self) -> Refusal | None:
        assert self.peer is not None
        return self._check(self.peer) if self._check is not None else None

    def _establish(self, index: int) -> Established:
        assert self.mine is not None and self.peer is not None
        protocol = negotiate(self.mine, self.peer)
        assert protocol is not None
        self.state = State.ESTABLISHED
        return Established(self.peer, protocol, self.mine.features & self.peer.features, index)

    def _transcript(self, direction: bytes) -> bytes:
        return direction + b"".join(len(part).to_bytes(4, "big") + part for part in (*self._hellos, self._binding))


def _objection(mine: Hello, peer: Hello) -> Refusal | None:
    """What is wrong between two hellos, whoever sent them."""
    if negotiate(mine, peer) is None:
        text = (
            f"no common protocol version: {mine.protocol_min} to {mine.protocol_max} where it was refused, "
            f"{peer.protocol_min} to {peer.protocol_max} on the other side"
        )
        return Refusal(RefusalCode.VERSION, mine.protocol_min << 16 | mine.protocol_max, text)
    for kind, _ in peer.extensions:
        if kind >= _REQUIRED_EXTENSION:
            return Refusal(RefusalCode.VERSION, text=f"hello extension {kind} is required by one side only")
    # A node that dials its own address, or somebody who sends our own hello back.
    if peer.nonce == mine.nonce or peer.life == mine.life:
        return Refusal(RefusalCode.SELF, text=f"{mine.node} was connected to itself")
    if peer.tls != mine.tls:
        return Refusal(RefusalCode.TLS, text="one side uses TLS and the other does not")
    return None
