"""What is new in a cluster view and has not been told yet: collected for a moment, then sent once to each neighbour.

Nobody waits for word of a newcomer as others wait for that of a suspicion, or of what refutes it. So while newcomers
keep coming, the moment in which they are collected grows, up to `longest`: when a thousand nodes join together, each of
them is told of ten at a time rather than of two, and what a thousand joins cost is mostly the number of messages.

`longest` is for a few hundred members, and grows with them: who joins a large cluster in a crowd is told of later, so
that its news do not go round in ever more messages, each of a single newcomer. And a node whose own timers are late has
more to do than it can: it collects for ten times `longest`, and what is urgent for `longest`. Measured with 1,000 nodes
in one machine of two cores: without this the news alone, 16,000 messages in a second, are more than it can take.

Not known here: what is news, and who hears of everything. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from partisan_actors.cluster.records import Member, Records
from partisan_actors.cluster.suspicion import LocalHealth
from partisan_actors.cluster.view_events import SendView
from partisan_actors.cluster.view_messages import SuspicionOf
from partisan_actors.distribution.machine import SetTimer

__all__ = ["NEWS", "News"]

NEWS = ("news", "")
"""The key of the timer for what waits."""

_MOST_TIMES = 10  # `longest`: in a node that is late itself, or where so many times `_FEW` are known
_FEW = 250


class News:
    """Records and suspicions that are to be passed on, but not to where they came from."""

    __slots__ = ("_delay", "_due", "_flushed", "_health", "_longest", "_pace", "_records", "_suspicions", "_urgent")

    def __init__(self, health: LocalHealth, delay: float, longest: float) -> None:
        """Begin with none.

        Args:
            health: the node's, which says whether its timers are late.
            delay: seconds from one time that some go to the next, at least.
            longest: the same while only newcomers come, and keep coming.
        """
        self._health = health
        self._delay = delay
        self._longest = longest
        self._pace = delay  # from `delay` to `longest`, and beyond while this node is late
        self._flushed = float("-inf")
        self._due: float | None = None  # when its timer fires, while that is set
        self._urgent = False  # something waits that is not about a newcomer
        self._records: dict[str, tuple[str, ...]] = {}  # whose, and who knows it already
        self._suspicions: list[tuple[SuspicionOf, str]] = []

    def record(self, node: str, informed: tuple[str, ...] = ()) -> None:
        """The record of `node` has changed; `informed`: whose word that is, and who knows it too."""
        self._records[node] = informed
        self._urgent = True

    def newcomer(self, node: str, informed: tuple[str, ...]) -> None:
        """The record of `node` is its first; `informed`: whose word that is, and who knows it too."""
        self._records[node] = informed

    def suspicion(self, word: SuspicionOf, source: str) -> None:
        """Somebody suspects a member, by the word of `source`."""
        self._suspicions.append((word, source))
        self._urgent = True

    def ahead(self, peer: str, records: Records, entry: Callable[[Member], tuple[object, ...]]) -> Iterator[SendView]:
        """The records that wait, for this peer alone, which need not be told them again."""
        entries = []
        for node, informed in self._records.items():
            if peer not in informed and (record := records.get(node)) is not None:
                self._records[node] = (*informed, peer)
                entries.append(entry(record))
        if entries:
            yield SendView((peer,), ("news", tuple(entries), ()))

    def clear(self) -> None:
        """Tell none of it."""
        self._records.clear()
        self._suspicions.clear()
        self._urgent = False

    def timer_fired(self) -> None:
        """They have waited long enough."""
        self._due = None

    def due(
        self,
        now: float,
        peers: Callable[[], Sequence[str]],
        records: Records,
        entry: Callable[[Member], tuple[object, ...]],
    ) -> Iterable[SendView | SetTimer]:
        """All of it for each of `peers()`, if it is time; then there is none."""
        if not (self._records or self._suspicions):
            return ()
        late = self._health.is_late
        delay = self._longest if late else self._delay
        when = self._flushed + (delay if self._urgent else self._pace)
        if when - now > 1e-9:
            if self._due is not None and self._due <= when:
                return ()
            self._due = when
            return (SetTimer(NEWS, when - now),)
        longest = self._longest * (_MOST_TIMES if late else min(max(len(records) / _FEW, 1.0), _MOST_TIMES))
        keep_coming = now - self._flushed <= 1.5 * max(longest, self._pace)  # the timer may be late, and a little is
        self._pace = min(2 * self._pace, longest) if keep_coming else self._delay
        self._flushed = now
        return self._flush(peers(), records, entry)

    def _flush(
        self, peers: Sequence[str], records: Records, entry: Callable[[Member], tuple[object, ...]]
    ) -> Iterator[SendView]:
        told = [
            (entry(record), informed)
            for node, informed in self._records.items()
            if (record := records.get(node)) is not None
        ]
        words = tuple(tuple(word) for word, _ in self._suspicions)
        knowing = [*(set(informed) for _, informed in told), *({source} for _, source in self._suspicions)]
        self.clear()
        # The same to each, who knows some of it: to encode an entry costs several times what it costs to know it again.
        know_all = set.intersection(*knowing) if knowing else set(peers)
        nodes = tuple(peer for peer in peers if peer not in know_all)
        if nodes:
            yield SendView(nodes, ("news", tuple(item for item, _ in told), words))
