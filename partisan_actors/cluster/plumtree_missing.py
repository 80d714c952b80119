"""What neighbours have announced and this node lacks, when to ask for it, and what it is to announce itself.

The paper's `missing` with its two timers, and `lazyQueue`. One timer of the driver serves all messages. The paper
leaves open how long the timers are; here they are measured: timer 1 by how long after its first IHAVE a message comes
by itself, timer 2 by how long a GRAFT takes to be answered. Both tables are bounded. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heappop, heappush

from partisan_actors.cluster.broadcast_events import PlumtreeParameters, Root

__all__ = ["Announcements", "Delay", "Missing", "MissingMessage"]

_DECAY = 0.02  # of a peak, for each sample below it
_MARGIN = 2


class Delay:
    """How long to wait for something: twice as long as it took at the most lately.

    The peak and not the mean: to wait too long costs time after a failure, too short a redundant link for each message.
    """

    __slots__ = ("_high", "_low", "_peak", "seconds")

    def __init__(self, initial: float, low: float, high: float) -> None:
        self.seconds = initial  # what to wait
        self._low = low
        self._high = high
        self._peak = initial / _MARGIN

    def sample(self, seconds: float) -> None:
        """It took so long."""
        self._peak = max(seconds, self._peak + _DECAY * (seconds - self._peak))
        self.seconds = min(max(_MARGIN * self._peak, self._low), self._high)


class MissingMessage:
    """One message that was announced."""

    __slots__ = ("announced", "asked", "asked_at", "own", "since")

    def __init__(self, own: bool, since: float) -> None:
        self.own = own
        self.since = since  # when it was first announced
        self.announced: dict[str, int] = {}  # by whom that was not asked yet, and after how many hops
        self.asked: dict[str, int] = {}  # and who was
        self.asked_at = 0.0

    def announcers(self) -> Iterator[tuple[str, int]]:
        """All, and after how many hops each would have sent it."""
        yield from self.announced.items()
        yield from self.asked.items()


class Missing:
    """All of them."""

    __slots__ = ("_due", "_entries", "_max", "_order", "timeout_1", "timeout_2")

    def __init__(self, parameters: PlumtreeParameters) -> None:
        self._max = parameters.max_missing
        self._entries: dict[tuple[Root, int], MissingMessage] = {}
        self._due: list[tuple[float, int, tuple[Root, int]]] = []  # a heap; one entry for each that is missing, or was
        self._order = 0
        low, high = parameters.timeout_min, parameters.timeout_max
        self.timeout_1 = Delay(parameters.timeout_1, low, high)
        self.timeout_2 = Delay(parameters.timeout_2, low, high)

    def __len__(self) -> int:
        return len(self._entries)

    def announced(self, root: Root, number: int, own: bool, node: str, hop: int, now: float) -> bool:
        """Neighbour `node` has it, and would have sent it after so many hops; False when there is no room."""
        key = (root, number)
        entry = self._entries.get(key)
        if entry is None:
            if len(self._entries) >= self._max:
                return False
            entry = self._entries[key] = MissingMessage(own, now)
            self._push(now + self.timeout_1.seconds, key)
        if node not in entry.asked:
            entry.announced.setdefault(node, hop)
        return True

    def arrived(self, root: Root, number: int, node: str, now: float) -> MissingMessage | None:
        """It has come, from `node`; what there was about it."""
        entry = self._entries.pop((root, number), None)
        if entry is None:
            return None
        if node in entry.asked:
            self.timeout_2.sample(now - entry.asked_at)
        else:
            self.timeout_1.sample(now - entry.since)
        return entry

    def next_due(self) -> float | None:
        """When to look, if at all."""
        while self._due:
            if self._due[0][2] in self._entries:
                return self._due[0][0]
            heappop(self._due)
        return None

    def ask(self, now: float, is_neighbour: Callable[[str], bool]) -> list[tuple[Root, int, bool, str]]:
        """What is due, and whom to ask for it. What nobody is left to ask for is given up."""
        wanted: list[tuple[Root, int, bool, str]] = []
        while self._due and self._due[0][0] <= now:
            _, _, key = heappop(self._due)
            entry = self._entries.get(key)
            if entry is None:
                continue
            node = next((node for node in entry.announced if is_neighbour(node)), None)
            if node is None:
                # Whoever was asked last may yet answer. If not, the next exchange finds the hole.
                del self._entries[key]
                continue
            entry.asked[node] = entry.announced.pop(node)
            entry.asked_at = now
            wanted.append((*key, entry.own, node))
            self._push(now + self.timeout_2.seconds, key)
        return wanted

    def forget(self, root: Root, number: int) -> None:
        """It is not looked for any more."""
        self._entries.pop((root, number), None)

    def _push(self, due: float, key: tuple[Root, int]) -> None:
        self._order += 1
        heappush(self._due, (due, self._order, key))
        if len(self._due) > 2 * self._max + 64:
            # Those of what came before it was due; at most half of the room is for what is missing.
            self._due = sorted(entry for entry in self._due if entry[2] in self._entries)


class Announcements:
    """IHAVEs that wait for company: the more there are, the longer."""

    __slots__ = ("_parameters", "_queues", "delay")

    def __init__(self, parameters: PlumtreeParameters) -> None:
        self._parameters = parameters
        self._queues: dict[str, dict[tuple[Root, int], tuple[bool, int]]] = {}
        self.delay = parameters.ihave_delay_min

    def add(self, node: str, root: Root, number: int, own: bool, hop: int) -> bool:
        """Queue one for a neighbour; whether there is a frame full for it."""
        queue = self._queues.setdefault(node, {})
        queue[root, number] = (own, hop)
        return len(queue) >= self._parameters.ihave_batch

    def known(self, node: str, root: Root, number: int) -> None:
        """That neighbour has it: it need not be told."""
        queue = self._queues.get(node)
        if queue is not None:
            queue.pop((root, number), None)

    def drop(self, node: str) -> None:
        """The neighbour has gone."""
        self._queues.pop(node, None)

    def take(self, node: str) -> tuple[tuple[str, int, int, bool, int], ...]:
        """What waits for a neighbour."""
        queue = self._queues.pop(node, {})
        return tuple((*root, number, own, hop) for (root, number), (own, hop) in queue.items())

    def due(self) -> list[str]:
        """It is time: the neighbours for whom something waits. How long the next ones wait follows from how many."""
        parameters = self._parameters
        nodes = [node for node, queue in self._queues.items() if queue]
        crowded = sum(map(len, self._queues.values())) >= 8 * len(self._queues)
        longer = self.delay * 2 if crowded and nodes else self.delay / 2
        self.delay = min(max(longer, parameters.ihave_delay_min), parameters.ihave_delay_max)
        self._queues = {node: self._queues[node] for node in nodes}
        return nodes
