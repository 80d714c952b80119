"""What the names of this node tell other members, and how it gets there: over the session, or one opened for it.

Promised: what is told to a member arrives, once and in order, for as long as it stays a member and its session lasts.
A session that cannot be had is no end of that, unlike for what processes send: nobody would tell it again, and the two
tables would differ for good. So it is kept, and a session is tried for again and again; if none ever comes, the member
is down in the end, and what was kept is dropped.

Not known here: what is told.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from partisan_actors.cluster.opening import Opening
from partisan_actors.distribution.keyed_timers import KeyedTimers
from partisan_actors.distribution.live_session import Session
from partisan_actors.distribution.machine import TimerFired
from partisan_actors.distribution.peers import Peers
from partisan_actors.processes.clock import Clock
from partisan_actors.processes.identity import Remote

__all__ = ["NamesPost"]


class NamesPost:
    """One node's."""

    def __init__(self, clock: Clock, peers: Peers, opening: Opening) -> None:
        self._peers = peers
        self._opening = opening
        self._kept: dict[str, list[Any]] = {}  # by member, what no session could be had for so far
        self._timers = KeyedTimers(clock, self._try_again)

    def send(self, nodes: Iterable[str], signal: Any) -> None:
        """Tell these members."""
        for node in nodes:
            if self._session(node) is not None or not self._opening.hold(
                None, Remote("names", node), len(signal), partial(self._deliver, node, signal)
            ):
                self._deliver(node, signal)

    def meet(self, node: str) -> None:
        """See that there is a session with that member, and try until there is."""
        if self._session(node) is None:
            self._kept.setdefault(node, [])
            self._try_again(TimerFired(node))

    def flush(self, node: str) -> None:
        """There is a session with that node."""
        session = self._session(node)
        if session is not None:
            for signal in self._kept.pop(node, ()):
                session.system.send(signal)
            self._timers.cancel(node)

    def forget(self, node: str) -> None:
        """It is a member no more, or what hung on its session is to be told anew."""
        self._kept.pop(node, None)
        self._timers.cancel(node)

    def close(self) -> None:
        """Tell nobody any more."""
        self._kept.clear()
        self._timers.close()

    def _session(self, node: str) -> Session | None:
        """One that takes what is said: not one that rests, and may be about to end."""
        session = self._peers.session(node)
        return session if session is not None and not session.rests else None

    def _deliver(self, node: str, signal: Any) -> None:
        session = self._session(node)
        if session is not None:
            self.flush(node)
            session.system.send(signal)
        elif self._opening.is_member(node, None):
            self._kept.setdefault(node, []).append(signal)
            self._timers.set(node, self._opening.parameters.retry)

    def _try_again(self, timer: TimerFired) -> None:
        node = timer.key
        assert isinstance(node, str)
        if self._opening.is_member(node, None):
            self._timers.set(node, self._opening.parameters.retry)
            self._opening.want(node)
        else:
            self.forget(node)
