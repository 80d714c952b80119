"""Suspicion: how long a member that somebody cannot reach has to refute that, before it is down.

Lifeguard (Dadgar, Phillips, Currey 2018): the time shrinks as others suspect the same independently, and is longer at
a node that has reason to doubt its own health, as one that was stopped or is overloaded takes all others for dead. A
member whose machine refuses connections needs less proof than one that is silent: a cut line refuses nothing.

Not known here: who suspects, what follows. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, log2

__all__ = ["LocalHealth", "Suspicion", "SuspicionParameters"]


_CROWD = 8  # so many suspects at once are no reason for more time

_PATIENCE = 10  # times `longest`

_TENTH = 0.1

_MOST_STOPS = 3  # while one member is suspected


@dataclass(frozen=True, slots=True)
class SuspicionParameters:
    """Times are seconds. Raises ValueError, naming the relation that does not hold."""

    shortest: float = 1.0
    """With all the confirmations asked for: as long as word to the suspect and back may take."""

    longest: float = 3.0
    """With none."""

    refused: float = 0.3
    """As `shortest`, of one whose machine refuses; `longest` then counts no more."""

    confirmations: int = 3
    """Independent suspicions of others, after the first one, that bring the time down to `shortest`."""

    worst_health: int = 8
    """The times are never more than 1 + this times as long."""

    def __post_init__(self) -> None:
        relations = {
            "0 < refused <= shortest <= longest": 0 < self.refused <= self.shortest <= self.longest,
            "1 <= confirmations": self.confirmations >= 1,
            "0 <= worst_health": self.worst_health >= 0,
        }
        for relation, holds in relations.items():
            if not holds:
                raise ValueError(f"suspicion parameters: {relation} does not hold")


class LocalHealth:
    """What a node thinks of itself: 0 is well. Up when it was suspected or stopped, down with each quiet round.

    And up by one for each tenth of a second that its timers are late: who has more to do than it can has not read yet
    what others said, and word to a suspect and back takes as many turns of busy nodes as it has links to cross.
    """

    __slots__ = ("_found", "_worst", "late")

    def __init__(self, parameters: SuspicionParameters) -> None:
        self.late = 0.0  # seconds that its timers are late, by the clock of whoever has that
        self._found = 0
        self._worst = parameters.worst_health

    @property
    def score(self) -> int:
        """From 0 to the worst."""
        return min(self._found + int(self.late / _TENTH), self._worst)

    @property
    def is_late(self) -> bool:
        """Whether it has more to do than it can: what can wait is to wait, and who does not answer may have done so."""
        return self.late >= _TENTH

    def worse(self) -> None:
        """It was found slow."""
        self._found = min(self._found + 1, self._worst)

    def better(self) -> None:
        """Nothing was found for a while."""
        self._found = max(self._found - 1, 0)


class Suspicion:
    """Of one version of one life of a member."""

    __slots__ = ("_began", "_parameters", "_waited", "due", "not_before", "reason", "refused", "suspectors", "version")

    def __init__(self, version: int, began: float, parameters: SuspicionParameters) -> None:
        self.version = version
        self.suspectors: set[str] = set()
        self.refused = False  # by its machine
        self.reason = ""  # of the first of them
        self.not_before = began  # is it down
        self.due = began  # when it is down, as it was last reckoned
        self._began = began
        self._parameters = parameters
        self._waited = 0  # times, as this node seemed to have been stopped

    def add(self, suspector: str, refused: bool) -> bool:
        """Note who suspects it; whether that is worth telling others.

        Of one that is refused no confirmation is: it has no longer time without. As a machine with 250 nodes of a
        thousand died, a fifth of what the others did was about who else suspected them.
        """
        confirms = suspector not in self.suspectors and len(self.suspectors) <= self._parameters.confirmations
        if confirms:
            self.suspectors.add(suspector)
        news = (confirms or refused) and not self.refused
        self.refused |= refused
        return news

    def when_down(self, others: int, health: int, suspects: int = 1) -> float:
        """When it is down.

        Args:
            others: how many members there are that could confirm it.
            health: this node's `LocalHealth.score`.
            suspects: how many are suspected now, this one included. Where many are, as a machine with many nodes died,
                there is much to be told of each, and word to a suspect and back takes longer.
        """
        parameters = self._parameters
        if others <= 0:
            return self._began  # nobody is there through whom it could refute
        wanted = min(parameters.confirmations, others)
        confirmed = min(len(self.suspectors) - 1, wanted)
        shortest = parameters.refused if self.refused else parameters.shortest
        longest = shortest if self.refused else parameters.longest
        seconds = longest - (longest - shortest) * log(confirmed + 1) / log(wanted + 1)
        crowd = log2(suspects / _CROWD) if suspects > _CROWD else 0.0
        return max(self._began + seconds * (1 + health + crowd), self.not_before)

    def wait_once_more(self, now: float) -> bool:
        """It is not down before `shortest` from now, as this node was stopped; False: that has been so too often.

        Who finds itself stopped each time has too much to do, and is so for good if it never finds anybody down: as 600
        of 2,000 nodes on two cores died at once, the others did little more than to look at what they suspect.
        """
        self._waited += 1
        if self._waited > _MOST_STOPS:
            return False
        self.not_before = now + self._parameters.shortest
        return True

    def postpone(self, now: float, seconds: float) -> None:
        """It is not down before that many seconds from now, unless it has been suspected for long."""
        if now - self._began < _PATIENCE * self._parameters.longest:
            self.not_before = max(self.not_before, now + seconds)
