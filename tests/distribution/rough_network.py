"""Frames between conduits that are late, lost, doubled and reordered, in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from partisan_actors.distribution.conduits import Conduits
from tests.distribution.virtual_time import VirtualClock

__all__ = ["RoughNetwork"]


class RoughNetwork:
    """Relays between everybody who takes part.

    Args:
        clock: each frame takes its own time, `delay` seconds and up to `spread` more.
        loss, doubles: how likely each frame is to get lost, or to come twice.
        room: bytes of frames that may be on the way at once, those beyond are dropped, as a full relay does; None: any.
    """

    def __init__(
        self,
        clock: VirtualClock,
        *,
        delay: float = 0.01,
        spread: float = 0.0,
        loss: float = 0.0,
        doubles: float = 0.0,
        room: int | None = None,
    ) -> None:
        self.clock = clock
        self.delay, self.spread, self.loss, self.doubles, self.room = delay, spread, loss, doubles, room
        self.frames: list[tuple[float, str, str, bytes]] = []  # when, from, to, body: all that were sent
        self.dropped = 0
        self.drops: Callable[[str, str, bytes], bool] | None = None  # what a test loses on purpose
        self.cut = False
        self._nodes: dict[str, Conduits] = {}
        self._under_way = 0

    def conduits(self, node: str, **options: object) -> Conduits:
        """Those of one more node."""

        def send(destination: str, buffers: Sequence[bytes | memoryview]) -> None:
            self._send(node, destination, b"".join(buffers))

        made = self._nodes[node] = Conduits(node, self.clock, send, **options)  # type: ignore[arg-type]
        return made

    def forget(self, node: str) -> None:
        """That node is no more."""
        del self._nodes[node]

    def _send(self, source: str, destination: str, body: bytes) -> None:
        random = self.clock.random
        self.frames.append((self.clock.now(), source, destination, body))
        full = self.room is not None and self._under_way + len(body) > self.room
        dropped = self.drops is not None and self.drops(source, destination, body)
        if self.cut or full or dropped or random.random() < self.loss:
            self.dropped += 1
            return
        for _ in range(1 + (random.random() < self.doubles)):
            self._under_way += len(body)
            seconds = self.delay + random.uniform(0.0, self.spread)
            self.clock.call_later(seconds, self._arrive, source, destination, body)

    def _arrive(self, source: str, destination: str, body: bytes) -> None:
        self._under_way -= len(body)
        there = self._nodes.get(destination)
        if there is not None and not self.cut:
            there.arrived(source, memoryview(body))
