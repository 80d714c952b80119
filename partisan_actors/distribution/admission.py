"""Whether a peer that says who it is may have a connection: names, lives, crossing dials. Pure.

Asked twice of each connection, when its hello comes and again when it has proved itself, since the second may be
later than something that changed. The rules, for a peer of another name:

- A life that was seen comes back, with its session or without: welcome. Its new connection replaces the one that the
  session has: it would not dial if that one worked, so what we have is half open.
- Another life of a known name is a restart when its epoch is higher and nobody answers for the old life any more;
  the old session ends first. While the old life is heard, the newcomer is an impostor or a mistake. A lower epoch is
  a clock that went back; the refusal tells the epoch to be above of.
- Both ends of a broken connection dial at once. Both would accept, and each would replace the connection that the
  other one keeps. So the node with the smaller name keeps its own dial, but only if that has come so far that the
  other end has answered it: a dial into nowhere must not keep the peer's good connection out. The other end accepts,
  and gives up its own. Why this settles: the smaller one accepts only before it has sent a proof of its own, so the
  greater one cannot have accepted it as well; and it refuses only when its own proof is on its way.

- The same for two that dial routes to each other. A link is worth more than a route: it takes the place of one, a
  route never that of a link whose peer is heard, and a route that is being dialled holds no link up. Silence on a
  route means nothing, as nothing is sent over one to be heard: so a life that is held by a route is answered for only
  as long as it has just been heard.

A session goes on if both hellos name it; or if one does and the other never heard of it, which is what a connection
leaves that broke between the last proof and its arrival. Otherwise the two start one with a number above all that
either knows, and a side that holds an older one ends it first.
What a hello said may be overtaken while the handshake lasts, by another connection: then it is refused as
SIMULTANEOUS, and the peer dials again with a hello that is true.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

from partisan_actors.processes.identity import Life
from partisan_actors.wire.handshake import Hello, Refusal, RefusalCode, agree_session

__all__ = ["Acquaintance", "Acquaintances", "Agreement", "Grounds", "agree", "full", "judge", "judge_stream"]


class Acquaintance(NamedTuple):
    """What is remembered of a name."""

    life: Life  # the one with the highest epoch
    last_session: int  # the highest number of a session with any life of it


class Acquaintances:
    """The names that proved themselves here, the least recently seen forgotten first."""

    __slots__ = ("_limit", "_names")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._names: OrderedDict[str, Acquaintance] = OrderedDict()

    def __len__(self) -> int:
        return len(self._names)

    def get(self, node: str) -> Acquaintance | None:
        """What is known of `node`."""
        return self._names.get(node)

    def remember(self, life: Life, session: int) -> None:
        """Note that `life` has proved itself, for session number `session`."""
        self._names[life.node] = Acquaintance(life, session)
        self._names.move_to_end(life.node)
        if len(self._names) > self._limit:
            # Forgetting is harmless unless the name's next life has a clock that went back.
            self._names.popitem(last=False)


class Agreement(NamedTuple):
    """What two hellos come to, the same on both sides."""

    number: int  # of the session that goes on, or begins
    ours: bool  # it is the one that we hold


def agree(mine: Hello, peer: Hello) -> Agreement:
    """Find the session that the two go on with."""
    number, resumed = agree_session(mine, peer)
    if resumed:
        return Agreement(number, ours=True)
    # The acceptor is done when it sends its proof, and has a session then; the initiator only when it gets that. If it
    # never does, the session is the acceptor's alone. Ending it would lose what was sent into it meanwhile.
    if _never_heard_of_it(mine, peer):
        return Agreement(mine.session, ours=True)
    if _never_heard_of_it(peer, mine):
        return Agreement(peer.session, ours=False)
    return Agreement(number, ours=False)


def _never_heard_of_it(holder: Hello, other: Hello) -> bool:
    return (
        holder.session > other.last_session
        and holder.peer_bits == other.bits
        and holder.received == 0
        and other.session == 0
    )


@dataclass(frozen=True, slots=True)
class Grounds:
    """What a judgement rests on: what this node knows of the peer's name at that moment."""

    own: Life
    topology: str
    topology_version: int = 0
    known: Acquaintance | None = None
    held: Life | None = None  # the life that a session is held with
    held_number: int = 0  # the number of that session
    acknowledged: bool = False  # the peer has acknowledged something in it
    answers: bool = False  # that session is connected, and its peer was heard in time
    # Of what would take the place of this one: for a link only links count.
    dial_answered: bool = False  # our own dial to that name has got the other end's hello
    crossed: bool = False  # that session got a connection that we dialled while this handshake was under way
    accepting: bool = True  # the peer dialled
    routed: bool = False  # the connection is by a route
    linked: bool = False  # that session has a link, and its peer was heard over it in time
    room: bool = True  # for one more session


def judge(grounds: Grounds, mine: Hello | None, peer: Hello) -> Refusal | None:
    """Why `peer` may not have the connection; None when it may.

    Args:
        mine: what we said on this connection; None when nothing was said yet.
    """
    objection = _name(grounds, peer) or _topology(grounds, peer)
    if objection is None and mine is not None:
        objection = _overtaken(grounds, mine, peer)
    if objection is None and grounds.routed and grounds.linked and grounds.held == peer.life:
        # Who dials a route has lost the link, or had not got it yet. So have we soon, or the dial is one too many.
        objection = Refusal(RefusalCode.SIMULTANEOUS, text=f"{grounds.own.node} has a link to it")
    if objection is None and grounds.accepting and mine is not None and grounds.own.node < peer.node:
        objection = _crossing(grounds)
    if objection is None and grounds.held is None and not grounds.room:
        # A later life takes the place of the one before it, and a session that waits for a connection has its own.
        objection = full(grounds.own.node)
    return objection


def full(node: str) -> Refusal:
    """What who comes too many is told: `node` has all the sessions that it may have."""
    return Refusal(RefusalCode.FULL, text=f"{node} has as many sessions as it may")


def judge_stream(grounds: Grounds, mine: Hello | None, peer: Hello, has_it: bool) -> Refusal | None:
    """Why `peer` may not have a connection for one stream: it is for the session that both hold, and no other.

    Args:
        has_it: whether the two nodes have a stream of that number.
    """
    if mine is not None and (peer.channel, peer.stream) != (mine.channel, mine.stream):
        return Refusal(RefusalCode.MALFORMED, text="the two sides name different streams")
    held = grounds.held_number if grounds.held == peer.life else 0
    if not held or peer.session != held or (mine is not None and mine.session != held):
        return Refusal(RefusalCode.SIMULTANEOUS, text="the two hold no session, or not the same")
    if not has_it:
        return Refusal(RefusalCode.MALFORMED, text=f"there is no stream {peer.stream} on channel {peer.channel}")
    return None


def _name(grounds: Grounds, peer: Hello) -> Refusal | None:
    life = peer.life
    if life == grounds.own:
        return Refusal(RefusalCode.SELF, text=f"{life.node} was connected to itself")
    if life.node == grounds.own.node:
        return Refusal(
            RefusalCode.NAME, grounds.own.epoch, f"{life.node} is the name of the node that was connected to"
        )
    if grounds.held == life:
        return None
    known = grounds.known.life if grounds.known is not None else None
    if grounds.held is not None and grounds.answers:
        return Refusal(RefusalCode.NAME, grounds.held.epoch, f"a node named {life.node} is connected and answers")
    if known is not None and known != life and life.epoch <= known.epoch:
        text = f"a later life of {life.node} is known, of epoch {known.epoch}; this one has {life.epoch}"
        return Refusal(RefusalCode.NAME, known.epoch, text)
    return None


def _topology(grounds: Grounds, peer: Hello) -> Refusal | None:
    # A cluster switches its topology node by node, and who comes to one that did takes over what it runs with.
    switched = max(grounds.topology_version, peer.topology_version) > 0
    if switched or peer.topology == grounds.topology:
        return None
    text = f"{grounds.own.node} runs the topology {grounds.topology}, and {peer.node} {peer.topology}"
    return Refusal(RefusalCode.TOPOLOGY, text=text)


def _overtaken(grounds: Grounds, mine: Hello, peer: Hello) -> Refusal | None:
    number, ours = agree(mine, peer)
    held_now = grounds.held_number if grounds.held == peer.life else 0
    last_session = grounds.known.last_session if grounds.known is not None else 0
    if ours:
        # One that forgot what it acknowledged is not one that never heard of it.
        if number == held_now and (peer.session == number or not grounds.acknowledged):
            return None
    elif number > last_session and (not held_now or held_now == mine.session):
        return None
    return Refusal(RefusalCode.SIMULTANEOUS, text="the session changed during the handshake")


def _crossing(grounds: Grounds) -> Refusal | None:
    if grounds.dial_answered or grounds.crossed:
        return Refusal(RefusalCode.SIMULTANEOUS, text=f"{grounds.own.node} keeps the connection that it dialled")
    return None
