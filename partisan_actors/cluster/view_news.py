"""What is new in a cluster view and has not been told yet: collected for a moment, then sent once to each neighbour.

Not known here: what is news, and who hears of everything. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from partisan_actors.cluster.records import Member, Records
from partisan_actors.cluster.view_events import SendView
from partisan_actors.cluster.view_messages import SuspicionOf
from partisan_actors.distribution.machine import SetTimer

__all__ = ["NEWS", "News"]

NEWS = ("news", "")
"""The key of the timer for what waits."""


class News:
    """Records and suspicions that are to be passed on, but not to where they came from."""

    __slots__ = ("_delay", "_flushed", "_records", "_suspicions", "_waits")

    def __init__(self, delay: float) -> None:
        """Begin with none; `delay`: seconds from one time that some go to the next, at least."""
        self._delay = delay
        self._flushed = float("-inf")
        self._waits = False  # for its timer
        self._records: dict[str, tuple[str, ...]] = {}  # whose, and who knows it already
        self._suspicions: list[tuple[SuspicionOf, str]] = []

    def record(self, node: str, informed: tuple[str, ...] = ()) -> None:
        """The record of `node` has changed; `informed`: whose word that is, and who knows it too."""
        self._records[node] = informed

    def suspicion(self, word: SuspicionOf, source: str) -> None:
        """Somebody suspects a member, by the word of `source`."""
        self._suspicions.append((word, source))

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

    def timer_fired(self) -> None:
        """They have waited long enough."""
        self._waits = False

    def due(
        self,
        now: float,
        peers: Callable[[], Sequence[str]],
        records: Records,
        entry: Callable[[Member], tuple[object, ...]],
    ) -> Iterable[SendView | SetTimer]:
        """All of it for each of `peers()`, if it is time; then there is none."""
        if self._waits or not (self._records or self._suspicions):
            return ()
        wait = self._flushed + self._delay - now
        if wait > 1e-9:
            self._waits = True
            return (SetTimer(NEWS, wait),)
        self._flushed = now
        return self._flush(peers(), records, entry)

    def _flush(
        self, peers: Sequence[str], records: Records, entry: Callable[[Member], tuple[object, ...]]
    ) -> Iterator[SendView]:
        entries = [
            (informed, entry(record))
            for node, informed in self._records.items()
            if (record := records.get(node)) is not None
        ]
        words = [(source, tuple(word)) for word, source in self._suspicions]
        self.clear()
        some_know = {
            peer for informed in {id(informed): informed for informed, _ in entries}.values() for peer in informed
        }
        some_know.update(source for source, _ in words)
        all_entries, all_words = tuple(item for _, item in entries), tuple(item for _, item in words)
        for peer in peers:
            told, suspected = all_entries, all_words
            if peer in some_know:
                told = tuple(item for informed, item in entries if peer not in informed)
                suspected = tuple(item for source, item in words if source != peer)
            if told or suspected:
                yield SendView((peer,), ("news", told, suspected))
