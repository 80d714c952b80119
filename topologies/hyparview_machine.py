"""HyParView (Leitão, Pereira, Rodrigues, DSN 2007): a small symmetric active view, a larger passive one for repair.

Promised:

- at most `active_size` neighbours, and both ends of a link agree: an entry is of one link, goes with it, and was
  agreed on over it. A side that finds that the other does not share its view of that says so (`_disclaim`), and each
  step of a shuffle asks, so that no one-way entry lasts;
- a neighbour that fails is out at once, and the passive view's names are tried for its place, several side by side;
  the unreachable are forgotten, so that after a mass failure one pass over the passive view finds who is left;
- a node without a neighbour and without a name to try asks the cluster view for members;
- with nothing to do: one shuffle in each interval, of at most `arwl` frames there and as many back. While the members
  and the active view stay as they are, and the passive view as long, the pause doubles, up to `CALM` intervals: there
  is nothing to learn then. At any change, and with a slot that could be filled, it is one interval again.

Where the paper is silent, or its messages would need connections to strangers:

- Messages go over links only, so the answer to a shuffle goes back to the originator along the path of the walk.
- Who is dropped for a newcomer is told its name, and asks it first: the newcomer goes into a link rather than at the
  end of one, and nobody is left with a free slot. Who leaves names its neighbours to each other. This, not luck, keeps
  a storm of joins through one contact in one piece.
- Who is rejected is told of the last one that was, so that two with a free slot each find one another among thousands
  without (measured: all of 10,000 nodes have a full view then, and 98.5 % otherwise, ten rounds after they joined). A
  node that lacks two for a whole interval may be put into a link as a newcomer is ("split").
- A node that lost most of its neighbours at once asks all it knows, when it has enough again, whether they have
  ("offer"). Measured after 90 % of 10,000 had died, in ten runs: one pass left out 13 survivors, and 23 without.
- A walk's end makes room for a newcomer only when that has agreed: with a full view, nobody is dropped in vain.
- A join by a node that has neighbours is that of another part of the cluster: its neighbours' names walk too, and they
  make room, so that several links join the two parts.

Not promised: that the overlay is connected. It is so with high probability; islands are the cluster view's to find.
A name in a message need not be a member's: that costs one Connect, which waits in vain for an interval. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any, ClassVar

from partisan_actors.topologies.hyparview_messages import LOW, MERGE, NONCE_BITS, OFFER, SPLIT, Limits
from partisan_actors.topologies.hyparview_neighbourhood import RETRIES, Neighbourhood
from partisan_actors.topologies.hyparview_parameters import HyParViewParameters
from partisan_actors.topologies.hyparview_views import Attempt, shuffled
from partisan_actors.topologies.overlay import (
    CancelTimer,
    Connect,
    Effect,
    Event,
    FindMembers,
    Joined,
    Leave,
    LinkDown,
    LinkUp,
    MemberDown,
    MembersFound,
    MemberUp,
    Message,
    Send,
    SetTimer,
    TimerFired,
    Unreachable,
)

__all__ = ["CALM", "SHUFFLE", "HyParViewOverlay"]

CALM = 4  # intervals from one shuffle to the next, at most
SHUFFLE = "shuffle"  # the only timer's key


class HyParViewOverlay(Neighbourhood):
    """The machine of one life of one node; see the module."""

    __slots__ = ("_known", "_limits", "_name", "_number", "_pause", "_seeker", "_sent", "_short", "_ticking")

    def __init__(self, node: str, parameters: HyParViewParameters, name: str = "hyparview") -> None:
        super().__init__(node, parameters)
        self._name = name
        # What others may name: a view of theirs, or a path.
        self._limits = Limits(1 + parameters.active_size + parameters.passive_size, parameters.arwl)
        self._ticking = False
        self._pause = 1  # intervals until the next tick
        self._known = 0  # names in the passive view at the last tick
        self._short = False  # whether two slots were free at the last tick
        self._seeker = ""  # who was rejected last
        self._number = 0  # of the last shuffle
        self._sent: list[str] = []  # the passive names that it took along

    # What others ask

    @property
    def name(self) -> str:
        """What the handshake says."""
        return self._name

    def gossip(self, linked: Sequence[str]) -> Sequence[str]:
        """The active view: symmetrical, and connected as long as the overlay is."""
        return [node for node in linked if node in self._active]

    def step(self, event: Event, now: float, random: Random) -> Sequence[Effect]:
        """Take one event in; see `overlay`."""
        self._now, self._random = now, random
        effects = self._effects = []
        if not self._ticking and not self._left:
            self._ticking = True
            self._set_tick(random.random())
        if type(event) is Message:
            if not self._left:
                self._message(event.node, event.payload)
        else:
            self._happened(event)
        if self._changed and self._pause > 1 and not self._left:
            self._pause = 1
            self._set_tick(random.uniform(0.75, 1.25))
        return effects

    def _happened(self, event: Event) -> None:
        """Any event but a message."""
        match event:
            case LinkUp(node):
                self._link_up(node)
            case LinkDown(node):
                self._link_down(node)
            case Unreachable(node):
                self._unreachable(node)
            case TimerFired(key):
                self._timer_fired(key)
            case MemberUp(node, tag):
                self._member_up(node, tag)
            case MemberDown(node):
                self._member_down(node)
            case Joined(node):
                self._joined(node)
            case MembersFound(nodes):
                self._members_found(nodes)
            case Leave():
                self._leave()

    # Links, members, and the own will

    def _link_up(self, node: str) -> None:
        self._linked.add(node)
        attempt = self._pending.get(node)
        if attempt is not None and not attempt.asked:
            self._ask(node, attempt)

    def _link_down(self, node: str) -> None:
        self._linked.discard(node)
        attempt = self._pending.get(node)
        if node in self._active:
            # At once: an entry that is dead would refuse a survivor who asks for its place (papers: 52 % instead of
            # 100 % reliability after 80 % failed).
            self._drop(node)
            self._lost()
        elif attempt is not None and attempt.asked:
            if attempt.retried:
                self._give_up(node)
                self._refill()
            else:  # its last link, perhaps, which it closed before it had heard of our question
                attempt.asked, attempt.retried = False, True
                self._effects.append(Connect(node))

    def _unreachable(self, node: str) -> None:
        attempt = self._pending.get(node)
        if attempt is not None and not attempt.asked:
            self._give_up(node)
            self._passive.remove(node)
            self._refill()

    def _member_up(self, node: str, tag: str) -> None:
        if self._left:
            self._return()  # somebody joins through this node
        if node not in self._members:
            self._members.add(node)
            self._changed = True
        if any(tag == reserved for reserved, _ in self._reserved):
            self._tags[node] = tag
        else:
            self._tags.pop(node, None)

    def _member_down(self, node: str) -> None:
        self._members.discard(node)
        self._changed = True
        self._tags.pop(node, None)
        self._tried.pop(node, None)
        self._passive.remove(node)
        if node in self._active:
            self._drop(node)
            self._lost()
        elif node in self._pending:
            self._give_up(node)
            self._refill()

    def _return(self) -> None:
        """Be a member, from now on or again."""
        self._left = False
        if not self._ticking:
            self._ticking = True
            self._set_tick(self._random.random())

    def _joined(self, node: str) -> None:
        self._return()
        self._budget = self.parameters.passive_size
        self._changed = True
        if node == self._node or node in self._active:
            return
        attempt = self._pending[node] = Attempt(MERGE, True, self._now)
        attempt.asked, attempt.nonce = True, self._random.getrandbits(NONCE_BITS)
        self._linked.add(node)
        self._effects += (Connect(node), Send(node, ("join", attempt.nonce, tuple(self._active))))

    def _members_found(self, nodes: tuple[str, ...]) -> None:
        if not self._left:
            self._remember(nodes, [])
            self._refill()

    def _leave(self) -> None:
        """Name the neighbours to each other round a ring, so that they keep as many as they have."""
        peers = shuffled(list(self._active), len(self._active), self._random)
        for place, peer in enumerate(peers):
            following = peers[(place + 1) % len(peers)]
            instead = (following,) if following != peer else ()
            self._effects.append(Send(peer, ("disconnect", self._active[peer].theirs, instead, False)))
        for peer in peers:
            self._drop(peer)
        for peer in list(self._pending):
            self._give_up(peer)
        self._passive.clear()
        self._unoffered.clear()
        self._left, self._ticking = True, False
        self._effects.append(CancelTimer(SHUFFLE))

    # What others send

    def _message(self, node: str, payload: Any) -> None:
        if type(payload) is not tuple or not payload or type(payload[0]) is not str:
            self._refuse(node, "shape")
            return
        kind = payload[0]
        if kind == "shuffle":
            self._shuffle(node, payload)
        elif kind == "shuffle_reply":
            self._shuffle_reply(node, payload)
        else:
            fault = self._limits.fault(payload)
            if fault:
                self._refuse(node, fault)
            else:
                self._HANDLERS[kind](self, node, *payload[1:])

    def _disclaim(self, node: str, theirs: int) -> None:
        """Tell a node that it is no neighbour in the way that it thinks; it drops us if it still thinks so."""
        self._refuse(node, "stale")
        self._effects.append(Send(node, ("disconnect", theirs, (), True)))

    def _on_join(self, node: str, nonce: int, neighbours: tuple[str, ...]) -> None:
        if not self._admit(node, nonce, forced=True):
            return
        walkers = [node, *(name for name in neighbours if name != self._node)]
        others = [peer for peer in self._active if peer != node]
        for place, peer in enumerate(others):
            walker = walkers[place % len(walkers)]
            self._effects.append(Send(peer, ("forward_join", walker, self.parameters.arwl, bool(neighbours))))

    def _on_neighbor(self, node: str, nonce: int, priority: str) -> None:
        # High, merge and split push a neighbour out; that is told of the node, which has a slot for it but for merge.
        if priority == OFFER and self.parameters.active_size - len(self._active) < 2 and node not in self._active:
            self._effects.append(Send(node, ("rejected", nonce, ())))
        else:
            self._admit(node, nonce, forced=priority not in (LOW, OFFER))

    def _admit(self, node: str, nonce: int, *, forced: bool) -> bool:
        """Answer a join or neighbor; whether it was accepted."""
        bond = self._active.get(node)
        if bond is not None:
            bond.theirs = nonce  # it asked as we did, or has lost its half
            self._effects.append(Send(node, ("accepted", nonce, bond.mine)))
            return True
        attempt = self._pending.pop(node, None)
        forced = forced or (attempt is not None and attempt.forced)
        if not (self._make_room(node) if forced else self._has_room(node)):
            # Those who ask in vain are told of each other: so two nodes with a free slot each find one another.
            instead = (self._seeker,) if self._seeker and self._seeker != node else ()
            self._seeker = node
            self._effects.append(Send(node, ("rejected", nonce, instead)))
            if attempt is not None:
                self._close(node)  # it may have accepted: then it drops us with the link
            return False
        asked = attempt is not None and attempt.asked
        mine = attempt.nonce if attempt is not None and asked else self._random.getrandbits(NONCE_BITS)
        self._adopt(node, mine, nonce)
        self._effects += (Connect(node), Send(node, ("accepted", nonce, mine)))
        return True

    def _on_accepted(self, node: str, mine: int, theirs: int) -> None:
        attempt = self._pending.get(node)
        bond = self._active.get(node)
        if attempt is not None and attempt.asked and attempt.nonce == mine:
            del self._pending[node]
            if self._make_room(node) if attempt.forced else self._has_room(node):
                self._adopt(node, mine, theirs)
            else:
                self._effects.append(Send(node, ("disconnect", theirs, (), True)))
                self._close(node)
            self._refill()
        elif bond is None or bond.mine != mine:
            self._disclaim(node, theirs)

    def _on_rejected(self, node: str, mine: int, instead: tuple[str, ...]) -> None:
        attempt = self._pending.get(node)
        bond = self._active.get(node)
        if attempt is not None and attempt.asked and attempt.nonce == mine:
            if attempt.priority != OFFER:
                self._tried[node] = attempt.priority
                self._budget -= 1
            self._give_up(node)
            self._remember(instead, [])
            self._refill(instead)
        elif bond is not None and bond.mine == mine:
            # Both asked at once, and between our answer and its own it ran out of room.
            self._on_disconnect(node, mine, instead, True)
        else:
            self._refuse(node, "stale")

    def _on_disconnect(self, node: str, mine: int, instead: tuple[str, ...], staying: bool) -> None:
        bond = self._active.get(node)
        if bond is None or bond.mine != mine:
            self._refuse(node, "stale")
            return
        self._drop(node)
        if staying:
            self._remember((node,), [])
            self._tried[node] = LOW  # it has just had to choose
        else:
            self._passive.remove(node)
        self._remember(instead, [])
        self._budget = self.parameters.passive_size
        self._refill(instead)

    def _on_forward_join(self, sender: str, node: str, ttl: int, merging: bool) -> None:
        if sender not in self._active:
            self._refuse(sender, "stranger")
            return
        others = [peer for peer in self._active if peer not in (sender, node)]
        if ttl > 0 and others:
            if ttl == self.parameters.prwl:
                self._remember((node,), [])
                self._refill((node,))
            peer = others[int(self._random.random() * len(others))]
            self._effects.append(Send(peer, ("forward_join", node, ttl - 1, merging)))
        elif len(self._pending) < self.parameters.passive_size and node not in (self._node, *self.wanted()):
            self._try(node, MERGE if merging else LOW, forced=True)

    _HANDLERS: ClassVar[dict[str, Any]] = {
        "join": _on_join,
        "neighbor": _on_neighbor,
        "accepted": _on_accepted,
        "rejected": _on_rejected,
        "disconnect": _on_disconnect,
        "forward_join": _on_forward_join,
    }

    # Shuffles

    def _timer_fired(self, key: object) -> None:
        if key == SHUFFLE and not self._left:
            self._tick()

    def _set_tick(self, share: float) -> None:
        self._effects.append(SetTimer(SHUFFLE, self.parameters.shuffle_interval * share))

    def _tick(self) -> None:
        self._give_up_silent()
        self._tried.clear()
        self._searched = False
        self._losses = 0
        self._budget = max(self._budget, RETRIES)
        self._ask_to_split()
        self._refill()
        if self._free() > 0 and not self._searched and not self._candidate():
            # All names were tried. In a small cluster, and on an island, those that are missing are known elsewhere.
            self._searched = True
            self._effects.append(FindMembers(self.parameters.active_size))
        self._start_shuffle()
        self._pause = min(2 * self._pause, CALM) if self._is_calm() else 1
        self._changed, self._known = False, len(self._passive)
        self._set_tick(self._pause * self._random.uniform(0.75, 1.25))

    def _is_calm(self) -> bool:
        """Whether nothing has changed since the last tick, and nothing is to be wished for."""
        full = len(self._active) >= min(self.parameters.active_size, len(self._members))
        return full and not self._changed and not self._pending and len(self._passive) == self._known

    def _ask_to_split(self) -> None:
        """With two slots free since the last tick: ask a node that may be full to let us into one of its links."""
        short = self._free() >= 2 and bool(self._active)
        if short and self._short:
            name = self._candidate()
            if name:
                self._try(name, SPLIT, forced=False)
        self._short = short

    def _give_up_silent(self) -> None:
        """Those who have a link and do not answer, those that get no link, and names that become no member's."""
        parameters = self.parameters
        for node, attempt in list(self._pending.items()):
            if attempt.asked:
                patience = parameters.answer_timeout
            else:
                patience = parameters.shuffle_interval * (3 if node in self._members else 1)
            if self._now - attempt.since > patience:
                self._give_up(node)
                self._passive.remove(node)

    def _start_shuffle(self) -> None:
        if not self._active:
            return
        parameters, random = self.parameters, self._random
        peers = shuffled(list(self._active), parameters.shuffle_active, random)
        target = list(self._active)[int(random.random() * len(self._active))]
        self._sent = self._passive.sample(parameters.shuffle_passive, random)
        self._number += 1
        names = (self._node, *peers, *self._sent)
        self._pass_shuffle(target, parameters.arwl - 1, self._number, (self._node,), names)

    def _pass_shuffle(self, target: str, ttl: int, number: int, path: tuple[str, ...], names: tuple[str, ...]) -> None:
        self._effects.append(Send(target, ("shuffle", self._active[target].mine, number, ttl, path, names)))

    def _shuffle(self, sender: str, payload: tuple[Any, ...]) -> None:
        fault = self._limits.shuffle_fault(payload, sender)
        if fault:
            self._refuse(sender, fault)
            return
        _, nonce, number, ttl, path, names = payload
        bond = self._active.get(sender)
        if bond is None or bond.theirs != nonce:
            self._disclaim(sender, nonce)
            return
        if ttl > 0:
            # Who has had it is left out, so that the walk gets away, and the way back is no detour.
            others = [peer for peer in self._active if peer not in path]
            if others:
                target = others[int(self._random.random() * len(others))]
                self._pass_shuffle(target, ttl - 1, number, (*path, self._node), names)
                return
        answer = self._passive.sample(len(names), self._random)
        self._effects.append(Send(sender, ("shuffle_reply", number, path[:-1], tuple(answer))))
        self._remember(names, answer)
        self._refill()

    def _shuffle_reply(self, sender: str, payload: tuple[Any, ...]) -> None:
        fault = self._limits.reply_fault(payload)
        if fault:
            self._refuse(sender, fault)
            return
        _, number, path, names = payload
        if sender not in self._active:
            self._refuse(sender, "stranger")
        elif path:
            if path[-1] in self._active:
                self._effects.append(Send(path[-1], ("shuffle_reply", number, path[:-1], names)))
            else:
                self._refuse(sender, "no way back")
        else:
            if len(names) > 1 + self.parameters.shuffle_active + self.parameters.shuffle_passive:
                self._refuse(sender, "oversized")
                return
            sent = self._sent if number == self._number else []
            self._remember(names, sent)
            self._refill()
