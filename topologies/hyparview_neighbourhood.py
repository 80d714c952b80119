"""HyParView's two views of one node, and how a free slot of the active one is filled: candidates are asked, by chance.

Promised: what is wanted is the active view and those who are asked, no more of them side by side than
there are free slots; who refuses is not asked again before the next tick, who cannot be reached is forgotten; slots
that are reserved for a tag hold nobody else, and are free again when their holder goes.

The messages, and when what is lost or learned, are the business of `hyparview_machine`. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random

from partisan_actors.topologies.hyparview_messages import HIGH, LOW, NONCE_BITS, OFFER
from partisan_actors.topologies.hyparview_parameters import HyParViewParameters
from partisan_actors.topologies.hyparview_views import Attempt, Bond, PassiveView
from partisan_actors.topologies.overlay import Connect, Disconnect, Effect, FindMembers, Refuse, Send

__all__ = ["RETRIES", "Neighbourhood"]

_LATE = ("stale", "stranger", "no way back")  # reasons that are nobody's fault: links come and go
RETRIES = 3  # how many candidates that may refuse are asked in an interval in which nothing was lost


class Neighbourhood:
    """The views of one life of one node; see the module.

    `refused` counts what others sent and was not taken in, by reason.
    """

    __slots__ = (
        "_active",
        "_budget",
        "_changed",
        "_effects",
        "_left",
        "_linked",
        "_losses",
        "_members",
        "_node",
        "_now",
        "_passive",
        "_pending",
        "_random",
        "_reserved",
        "_searched",
        "_tags",
        "_tried",
        "_unoffered",
        "parameters",
        "refused",
    )

    def __init__(self, node: str, parameters: HyParViewParameters) -> None:
        self.parameters = parameters
        self.refused: dict[str, int] = {}
        self._node = node
        self._active: dict[str, Bond] = {}
        self._pending: dict[str, Attempt] = {}
        self._passive = PassiveView(parameters.passive_size)
        self._linked: set[str] = set()
        self._members: set[str] = set()
        self._reserved = parameters.slots
        self._tags: dict[str, str] = {}  # of members whose tag has slots
        self._tried: dict[str, str] = {}  # who refused since the last tick, and at which priority
        self._budget = RETRIES  # how many more may refuse until the next tick
        self._changed = True  # whether anything was new since the last tick, but for names in a full passive view
        self._searched = False  # whether the cluster view was asked since the last tick
        self._losses = 0  # of neighbours that failed since the last tick
        self._unoffered: list[str] = []  # whom to offer a link, after many losses
        self._left = False
        self._now = 0.0
        self._random: Random
        self._effects: list[Effect]

    # What others ask

    @property
    def active(self) -> Sequence[str]:
        """The active view: the neighbours that have agreed, sorted."""
        return sorted(self._active)

    @property
    def passive(self) -> Sequence[str]:
        """The passive view, sorted."""
        return sorted(self._passive.names)

    def wanted(self) -> list[str]:
        """All whose link is wanted, sorted: the active view, and those that are asked to be in it."""
        return sorted([*self._active, *self._pending])

    def neighbours(self) -> list[str]:
        """The members among those."""
        return [node for node in self.wanted() if node in self._active or node in self._members]

    # Candidates

    def _lost(self) -> None:
        """Refill after a loss: whoever is in the passive view may be asked."""
        self._budget = self.parameters.passive_size
        self._losses += 1
        if 2 * self._losses > self.parameters.active_size:
            self._unoffered = list(self._passive.names)
        self._refill()

    def _refill(self, first: Iterable[str] = ()) -> None:
        """Ask so many candidates side by side as there are free slots, those of `first` before others."""
        if self._left:
            return
        preferred = [name for name in first if self._askable(name)]
        free = self._free()
        while free > 0 and (self._budget > 0 or not self._active):
            name = preferred.pop(0) if preferred else self._candidate()
            if not name:
                break
            self._try(name, "", forced=False)
            free -= 1
        if self._unoffered:
            self._offer()
        if not self._searched and not self._active and not any(node in self._members for node in self._pending):
            self._searched = True
            self._effects.append(FindMembers(self.parameters.passive_size))

    def _free(self) -> int:
        """How many more neighbours may be asked for.

        While there is none, who is no member so far does not count: there may be no link that its record could come by.
        """
        counts = self._pending if self._active else self._members
        asked = sum(attempt.priority != OFFER and node in counts for node, attempt in self._pending.items())
        return self.parameters.active_size - len(self._active) - asked

    def _offer(self) -> None:
        """Ask who else is alive of those that were in the passive view, once the own view is full again.

        After a mass failure most who know a survivor that has nobody left have found enough others. This costs a dial
        for each name, once, and forgets the dead.
        """
        while self._unoffered and len(self._active) == self.parameters.active_size > len(self._pending):
            name = self._unoffered.pop()
            if name in self._passive and name not in self._pending:
                self._try(name, OFFER, forced=True)

    def _candidate(self) -> str:
        names = [name for name in self._passive.names if self._askable(name)]
        return names[int(self._random.random() * len(names))] if names else ""

    def _askable(self, name: str) -> bool:
        if name == self._node or name in self._pending or name in self._active:
            return False
        refused = self._tried.get(name)
        if refused is not None and (self._active or refused != LOW):
            return False
        return not self._reserved or self._has_room(name)

    def _try(self, node: str, priority: str, *, forced: bool) -> None:
        attempt = self._pending[node] = Attempt(priority, forced, self._now)
        self._changed = True
        self._effects.append(Connect(node))
        if node in self._linked:
            self._ask(node, attempt)

    def _ask(self, node: str, attempt: Attempt) -> None:
        priority = attempt.priority
        if not priority:
            # One at a time may push another node's neighbour out: those that follow find the view no longer empty.
            others = self._pending.values()
            alone = not self._active and not any(other.asked and other.priority == HIGH for other in others)
            priority = attempt.priority = HIGH if alone else LOW
        attempt.asked, attempt.nonce, attempt.since = True, self._random.getrandbits(NONCE_BITS), self._now
        self._effects.append(Send(node, ("neighbor", attempt.nonce, priority)))

    def _give_up(self, node: str) -> None:
        """Ask no longer."""
        del self._pending[node]
        self._close(node)

    def _close(self, node: str) -> None:
        """Want its link no more."""
        self._linked.discard(node)
        self._effects.append(Disconnect(node))

    def _remember(self, names: Iterable[str], sent: list[str]) -> None:
        for name in names:
            if name != self._node and name not in self._active:
                self._passive.add(name, self._random, sent)

    # Slots

    def _has_room(self, node: str) -> bool:
        """Whether there is a slot for this member; free ones that are reserved are for their tags only."""
        free = self.parameters.active_size - len(self._active)
        if free <= 0 or not self._reserved:
            return free > 0
        tag = self._tags.get(node, "")
        for reserved, slots in self._reserved:
            missing = slots - self._held(reserved)
            if missing > 0:
                if reserved == tag:
                    return True
                free -= missing
        return free > 0

    def _held(self, tag: str) -> int:
        return sum(self._tags.get(node) == tag for node in self._active)

    def _make_room(self, node: str) -> bool:
        """See that there is a slot for this member: if need be some neighbour goes, but none in a reserved slot."""
        if self._has_room(node):
            return True
        victims = list(self._active)
        for tag, slots in self._reserved:
            if self._held(tag) <= slots:
                victims = [victim for victim in victims if self._tags.get(victim) != tag]
        if not victims:
            return False
        self._dismiss(victims[int(self._random.random() * len(victims))], (node,))
        return self._has_room(node)

    def _dismiss(self, node: str, instead: tuple[str, ...]) -> None:
        """End it with a neighbour, and tell it who looks for one."""
        self._effects.append(Send(node, ("disconnect", self._active[node].theirs, instead, True)))
        self._drop(node)
        self._passive.add(node, self._random, [])

    def _drop(self, node: str) -> None:
        del self._active[node]
        self._changed = True
        self._close(node)

    def _adopt(self, node: str, mine: int, theirs: int) -> None:
        self._active[node] = Bond(mine, theirs)
        self._changed = True
        self._passive.remove(node)

    def _refuse(self, node: str, reason: str) -> None:
        self.refused[reason] = self.refused.get(reason, 0) + 1
        self._effects.append(Refuse(node, reason, reason in _LATE))
