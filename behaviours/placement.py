"""Where a supervisor's children run.

`Placement` keeps what a supervisor knows of nodes beyond the cluster's view: the nodes in
doubt. A child's link can break before the view has noticed that its node is down, or while
the node is well and only a session to it has ended; and the processes of a node that is stopped
in order end before it leaves. In each case the node is in doubt: it is not chosen, until the
view says that it has come up, or a second has passed. Then what the view holds is true enough;
a start there that fails all the same puts it in doubt again.

A placement function is user code. It runs in a process of its own, with a time limit, so that
whatever it does - raise, wait, trap exits, read the mailbox - is not done to the supervisor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from partisan_actors.behaviours.child_spec import ChildSpec
from partisan_actors.errors import ActorError, ProcessExit
from partisan_actors.processes.crash_report import shortened
from partisan_actors.processes.messages import Crash, Down
from partisan_actors.processes.primitives import demonitor, receive, send_exit, spawn_monitor

__all__ = ["DOUBT", "PLACEMENT_TIMEOUT", "STOPPING", "Placement", "PlacementFailed", "choose_node"]

DOUBT = 1.0
"""Seconds for which a node is not chosen after it was lost, unless it comes up before."""

STOPPING = 10.0
"""Seconds that a node may take to stop: the first of its processes end that long before it goes down."""

PLACEMENT_TIMEOUT = 5.0
"""Seconds that a placement function may take."""


class PlacementFailed(ActorError):
    """A placement function gave no node that is one; `reason` says what it did."""

    def __init__(self, reason: Any, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Placement:
    """The nodes that a supervisor may choose from."""

    __slots__ = ("_doubted", "_here", "_members")

    def __init__(self, here: str, members: Callable[[], Sequence[str]]) -> None:
        self._here = here
        self._members = members
        self._doubted: dict[str, None] = {}

    def doubt(self, node: str) -> None:
        """It was lost: do not choose it for a while. This node itself is beyond doubt."""
        if node != self._here:
            self._doubted[node] = None

    def trust(self, node: str) -> None:
        """It has come up."""
        self._doubted.pop(node, None)

    def trust_all(self) -> None:
        """Time has passed."""
        self._doubted.clear()

    def live(self) -> list[str]:
        """The members that are not in doubt, this node included."""
        return [node for node in self._members() if node not in self._doubted]


def choose_node(spec: ChildSpec, members: list[str]) -> str | None:
    """The node for a child whose spec has `node`; None while there is none for it.

    Args:
        spec: the child's.
        members: the nodes that may be chosen.

    Raises:
        PlacementFailed: its placement function failed, took too long, or gave something else.
    """
    if callable(spec.node):
        return _ask(spec.node, spec, members)
    preferred = (spec.node,) if isinstance(spec.node, str) else spec.node
    return next((node for node in preferred if node in members), None)


def _ask(function: Callable[[ChildSpec, list[str]], Any], spec: ChildSpec, members: list[str]) -> str | None:
    pid, ref = spawn_monitor(_run, function, spec, list(members))
    down = receive(lambda m: type(m) is Down and m.ref == ref, timeout=PLACEMENT_TIMEOUT, default=None)
    if down is None:
        demonitor(ref, flush=True)
        send_exit(pid, "kill")
        raise PlacementFailed("timeout", f"{_name(spec)} gave no node within {PLACEMENT_TIMEOUT} s")
    match down.reason:
        case ("shutdown", _Chosen(node)) if node is None or (isinstance(node, str) and node in members):
            return node
        case ("shutdown", _Chosen(node)):
            text = f"{_name(spec)} returned {shortened(node)}, which is none of the members {members}"
            raise PlacementFailed(("not_a_member", shortened(node)), text)
        case Crash() as crash:
            raise PlacementFailed(crash, f"{_name(spec)} raised {crash.type}: {crash.message}")
    raise PlacementFailed(down.reason, f"{_name(spec)} ended with {shortened(down.reason)}")


class _Chosen:
    """Carries the choice in an exit reason, where nothing that a program means can be taken for it."""

    __match_args__ = ("node",)
    __slots__ = ("node",)

    def __init__(self, node: Any) -> None:
        self.node = node


def _run(function: Callable[[ChildSpec, list[str]], Any], spec: ChildSpec, members: list[str]) -> None:
    raise ProcessExit(("shutdown", _Chosen(function(spec, members))))


def _name(spec: ChildSpec) -> str:
    return f"the placement function of the child {spec.id!r}"
