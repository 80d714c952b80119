"""Lines about what other nodes sent and was not taken in: the first of each kind at once, and few after it.

Promised: of one node, about one event and reason, one line in `seconds`, whatever comes, and the next one says in
`times` for how many it stands; of one node and event, `reasons` of those at most, and of one event `lines` in all, as
a node's name may be made up. A reason with other numbers in it is the same one. So no peer can fill a disk. What is
left out is in the counters of whoever tells of it here: this counts nothing.

A warning is what somebody has to look at. What comes too late, as it does where links come and go, is nobody's fault,
and is written for debugging only.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from typing import Literal

import structlog

from partisan_actors.processes.clock import Clock

__all__ = ["SECONDS", "BadInputLog", "Level"]

_log = structlog.get_logger("partisan_actors")

SECONDS = 60.0
"""From one line to the next about the same."""

REASONS = 20
"""That are told apart, of one node and event; all others are one."""

LINES = 100
"""About one event, whoever it is of, in that time."""

LONGEST = 200
"""Characters of a reason, which others may have written."""

REMEMBERED = 1024
"""Nodes and events of which it is known what was written."""

Level = Literal["debug", "info", "warning"]

_NUMBER = re.compile(r"\d+")


class BadInputLog:
    """What one part of a node writes of them; no two parts write of one event.

    Args:
        node: this node's name.
        seconds: from one line to the next about the same.
        reasons: told apart, of one node and event.
        lines: about one event, whoever it is of, in that time.
        remembered: pairs of a node and an event, the one least recently told of forgotten first.
    """

    __slots__ = ("_clock", "_lines", "_most", "_node", "_reasons", "_remembered", "_seconds", "_told")

    def __init__(
        self,
        node: str,
        clock: Clock,
        *,
        seconds: float = SECONDS,
        reasons: int = REASONS,
        lines: int = LINES,
        remembered: int = REMEMBERED,
    ) -> None:
        self._node = node
        self._clock = clock
        self._seconds = seconds
        self._reasons = reasons
        self._most = lines
        self._remembered = remembered
        self._lines: dict[str, tuple[float, int]] = {}  # by event: since when, and how many
        # By event and peer, and then by reason: when the last line was written, and how many had none since.
        self._told: OrderedDict[tuple[str, str], dict[str, tuple[float, int]]] = OrderedDict()

    def tell(
        self,
        event: str,
        peer: str,
        reason: str,
        *,
        advice: str,
        level: Level = "warning",
        apart: str = "",
        about: Mapping[str, object] = {},
    ) -> None:
        """Write a line, unless there was one just now.

        Args:
            event: what happened, the line's own name.
            peer: the node that sent it.
            reason: what was wrong with it.
            advice: what to do about that.
            level: "debug" for what is nobody's fault, "info" for what need not be anybody's.
            apart: what else makes it another one than those of the same reason.
            about: more for the line.
        """
        times = self._times(event, peer, _NUMBER.sub("#", reason)[:LONGEST] + apart)
        if times:
            write = getattr(_log, level)
            write(event, node=self._node, peer=peer, reason=reason[:LONGEST], advice=advice, times=times, **about)

    def _times(self, event: str, peer: str, reason: str) -> int:
        """For how many a line that is due stands; 0: none is due."""
        now = self._clock.now()
        reasons = self._told.setdefault((event, peer), {})
        self._told.move_to_end((event, peer))
        if len(self._told) > self._remembered:
            self._told.popitem(last=False)
        if reason not in reasons and len(reasons) >= self._reasons:
            for old in [old for old, (when, _) in reasons.items() if now - when >= self._seconds]:
                del reasons[old]
            reason = reason if len(reasons) < self._reasons else "others"
        when, left_out = reasons.get(reason, (now - self._seconds, 0))
        due = now - when >= self._seconds and self._has_room(event, now)
        reasons[reason] = (now, 0) if due else (when, left_out + 1)
        return left_out + 1 if due else 0

    def _has_room(self, event: str, now: float) -> bool:
        """Whether there may be one more line about it, which then is counted."""
        since, lines = self._lines.get(event, (now, 0))
        if now - since >= self._seconds:
            since, lines = now, 0
        self._lines[event] = (since, min(lines + 1, self._most))
        return lines < self._most
