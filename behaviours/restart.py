"""What a supervisor does when a child ends: the decision, and nothing else.

Pure: no process, no clock. `RestartPolicy` is told what has happened and when, and returns
the actions, a closed set, that the supervisor then performs in their order:

    ForgetChild     its spec goes
    StopChildren    end these that still run, in the order given; temporary ones are forgotten
    StartChildren   start these in the order given; at the first that fails, `try_again` later
    EndSupervisor   too many restarts, or an automatic shutdown: end with "shutdown"

The rules are OTP's (supervisor.erl, and "Supervisor Behaviour" in the design principles):

* `one_for_all` and `rest_for_one` start again all children in their reach, those too that
  had been stopped before. Temporary ones in their reach are ended, and not started again.
* A restart counts against the limit once, however many children it takes along; each further
  try of a restart that failed counts again.
* The children that were running on a node which is lost, or is stopped, are no failing children:
  starting them elsewhere counts nothing. (Ours; OTP knows no children on other nodes.) Else a node
  with four of them would take the supervisor with it.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from partisan_actors.behaviours.child_spec import ChildSpec
from partisan_actors.processes.identity import Pid
from partisan_actors.processes.plain import is_normal

__all__ = [
    "Action",
    "Child",
    "EndSupervisor",
    "ForgetChild",
    "Phase",
    "RestartPolicy",
    "Rules",
    "StartChildren",
    "StopChildren",
]

STRATEGIES = ("one_for_one", "one_for_all", "rest_for_one")
AUTO_SHUTDOWNS = ("never", "any_significant", "all_significant")


class ForgetChild(NamedTuple):
    """Drop the child and its spec."""

    id: Hashable


class StopChildren(NamedTuple):
    """End these children, in this order."""

    ids: tuple[Hashable, ...]


class StartChildren(NamedTuple):
    """Start these children, in this order."""

    ids: tuple[Hashable, ...]


class EndSupervisor(NamedTuple):
    """End the supervisor; `why` is "restart_limit_reached" or "auto_shutdown"."""

    why: str


Action = ForgetChild | StopChildren | StartChildren | EndSupervisor


class Phase(enum.Enum):
    """Where a child is in its life."""

    RUNNING = "running"
    STOPPED = "stopped"  # told to, ended for good, or its start gave no process
    RESTARTING = "restarting"  # its last start failed, and another try is due
    WAITING = "waiting"  # none of the nodes that it may run on is live


class Child:
    """A child as its supervisor keeps it: `pid` is None unless it is running."""

    __slots__ = ("phase", "pid", "shut_down_at", "spec")

    def __init__(self, spec: ChildSpec) -> None:
        self.spec = spec
        self.pid: Pid | None = None
        self.phase = Phase.STOPPED
        self.shut_down_at: tuple[str, float] | None = (
            None  # the other node, and when, if it ended there with "shutdown"
        )


@dataclass(frozen=True, slots=True)
class Rules:
    """A supervisor's flags.

    Args:
        strategy: whom the end of one child concerns.
        max_restarts: how many restarts within `max_seconds` are still put up with.
        max_seconds: see `max_restarts`.
        auto_shutdown: "never", or end the supervisor when "any_significant" or the last of
            "all_significant" children has ended of its own accord and is not started again.
    """

    strategy: str = "one_for_one"
    max_restarts: int = 3
    max_seconds: float = 5.0
    auto_shutdown: str = "never"

    def __post_init__(self) -> None:
        if self.strategy not in STRATEGIES:
            raise ValueError(f"strategy is one of {', '.join(STRATEGIES)}, not {self.strategy!r}")
        if isinstance(self.max_restarts, bool) or not isinstance(self.max_restarts, int):
            raise TypeError(f"max_restarts is a number of restarts, not {self.max_restarts!r}")
        if self.max_restarts < 0:
            raise ValueError(f"max_restarts is 0 or more, not {self.max_restarts}")
        if isinstance(self.max_seconds, bool) or not isinstance(self.max_seconds, int | float):
            raise TypeError(f"max_seconds is a number of seconds, not {self.max_seconds!r}")
        if not self.max_seconds > 0:
            raise ValueError(f"max_seconds is more than 0, not {self.max_seconds}")
        if self.auto_shutdown not in AUTO_SHUTDOWNS:
            raise ValueError(f"auto_shutdown is one of {', '.join(AUTO_SHUTDOWNS)}, not {self.auto_shutdown!r}")


class RestartPolicy:
    """Decides for one supervisor.

    Children are given as a mapping from id, in the order of their start. The one that ended is
    in it still, with `pid` None.
    """

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self._restarts: deque[float] = deque()  # when, in clock seconds, oldest first; none older than max_seconds

    def ended(
        self, children: Mapping[Hashable, Child], id: Hashable, reason: Any, now: float, *, node_lost: bool = False
    ) -> list[Action]:
        """A child has ended with `reason` of its own accord; with `node_lost` its node is gone with it."""
        spec = children[id].spec
        if spec.restart == "permanent" or (spec.restart == "transient" and not is_normal(reason)):
            return self._restart(children, id, now, counts=not node_lost)
        actions: list[Action] = [ForgetChild(id)] if spec.restart == "temporary" else []
        if spec.significant and self._ends_with(children, id):
            actions.append(EndSupervisor("auto_shutdown"))
        return actions

    def try_again(self, children: Mapping[Hashable, Child], id: Hashable, now: float) -> list[Action]:
        """A child's restart has failed before, and its next try is due."""
        return self._restart(children, id, now, counts=True)

    def _restart(self, children: Mapping[Hashable, Child], id: Hashable, now: float, *, counts: bool) -> list[Action]:
        if counts and not self._within_limit(now):
            return [EndSupervisor("restart_limit_reached")]
        reach = self._reach(children, id)
        stop = tuple(other for other in reversed(reach) if children[other].phase is Phase.RUNNING and other != id)
        start = tuple(other for other in reach if other == id or children[other].spec.restart != "temporary")
        return [StopChildren(stop), StartChildren(start)] if stop else [StartChildren(start)]

    def _reach(self, children: Mapping[Hashable, Child], id: Hashable) -> list[Hashable]:
        if self.rules.strategy == "one_for_one":
            return [id]
        order = list(children)
        return order if self.rules.strategy == "one_for_all" else order[order.index(id) :]

    def _within_limit(self, now: float) -> bool:
        """Count a restart; whether it is one that is still put up with."""
        restarts = self._restarts
        restarts.append(now)
        while now - restarts[0] > self.rules.max_seconds:
            restarts.popleft()
        return len(restarts) <= self.rules.max_restarts

    def _ends_with(self, children: Mapping[Hashable, Child], id: Hashable) -> bool:
        if self.rules.auto_shutdown == "all_significant":
            return not any(
                child.spec.significant and child.phase is not Phase.STOPPED
                for other, child in children.items()
                if other != id
            )
        return self.rules.auto_shutdown == "any_significant"
