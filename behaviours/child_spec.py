"""What a supervisor is told about a child, and what it tells of one. Values only.

A `ChildSpec` is checked when it is made, so that a wrong field is an error where it was
written, and not a failed restart at night.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

from partisan_actors.errors import ActorError
from partisan_actors.processes.identity import Pid

__all__ = ["BRUTAL_KILL", "INFINITY", "ChildError", "ChildInfo", "ChildSpec"]

BRUTAL_KILL = "brutal_kill"
INFINITY = "infinity"

WORKER_SHUTDOWN = 5.0
"""Seconds that a worker gets to end, where its spec says nothing (OTP's default too)."""

RESTARTS = ("permanent", "transient", "temporary")
TYPES = ("worker", "supervisor")


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """How a supervisor starts, restarts and stops one child (OTP: a child specification).

    Args:
        id: what tells it apart from the supervisor's other children; anything hashable.
        start: a behaviour's class; or a function that runs in the supervisor and returns a linked
            Pid, or None; or a tuple of either and its positional arguments. With `node=` a function
            is instead what the child process itself runs, on whichever node, this one included.
        kwargs: keyword arguments for it.
        restart: "permanent" (whatever it ended with), "transient" (unless it ended with "normal",
            "shutdown" or ("shutdown", detail)) or "temporary" (never; its spec goes with it).
        shutdown: seconds that it gets to end when told "shutdown", before it is killed;
            "brutal_kill" gives it none, "infinity" all it wants. None: 5 for a worker, "infinity"
            for a supervisor, which has children of its own to end.
        type: "worker" or "supervisor".
        significant: an end of its own accord may end the supervisor; see `Supervisor.auto_shutdown`.
        node: where it runs: a node's name, a list to prefer in order, or a placement function
            `(spec, members) -> node`; it may return None, to wait until the members change.

    Raises:
        TypeError, ValueError: a field is wrong; the text names it and says what it takes.
    """

    id: Hashable
    start: Any
    kwargs: dict[str, Any] = field(default_factory=dict, kw_only=True, hash=False)
    restart: str = field(default="permanent", kw_only=True)
    shutdown: float | str | None = field(default=None, kw_only=True)
    type: str = field(default="worker", kw_only=True)
    significant: bool = field(default=False, kw_only=True)
    node: Any = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        _check_id(self.id)
        _check_start(self.start)
        _check_choice("restart", self.restart, RESTARTS)
        _check_choice("type", self.type, TYPES)
        _check_shutdown(self.shutdown)
        if not isinstance(self.significant, bool):
            raise TypeError(f"ChildSpec.significant is True or False, not {self.significant!r}")
        if self.significant and self.restart == "permanent":
            raise ValueError(
                "ChildSpec.significant: a permanent child is always started again, so its end cannot end the "
                "supervisor; make it transient or temporary"
            )
        _check_kwargs(self.kwargs, self.node)
        _check_node(self.node)
        # Copies: what the caller does to its own dict or list later changes no restart.
        object.__setattr__(self, "kwargs", dict(self.kwargs))
        if isinstance(self.node, list):
            object.__setattr__(self, "node", tuple(self.node))

    @property
    def target(self) -> Any:
        """The class or function of `start`."""
        return self.start[0] if isinstance(self.start, tuple) else self.start

    @property
    def args(self) -> tuple[Any, ...]:
        """The positional arguments of `start`."""
        return self.start[1:] if isinstance(self.start, tuple) else ()

    @property
    def time_to_end(self) -> float | str:
        """`shutdown` with its default put in: seconds, "brutal_kill" or "infinity"."""
        if self.shutdown is not None:
            return self.shutdown
        return INFINITY if self.type == "supervisor" else WORKER_SHUTDOWN


def _check_id(id: Any) -> None:
    if id is None:
        raise ValueError("ChildSpec.id is what tells the child apart from others; None is none")
    try:
        hash(id)
    except TypeError:
        raise TypeError(f"ChildSpec.id must be hashable, and {id!r} is not; take a str or a tuple") from None


def _check_start(start: Any) -> None:
    if isinstance(start, tuple) and not start:
        raise ValueError("ChildSpec.start is an empty tuple; put the class or function first, then its arguments")
    target = start[0] if isinstance(start, tuple) else start
    if isinstance(target, type):
        if not callable(getattr(target, "start_link", None)):
            raise TypeError(f"ChildSpec.start: {target!r} has no start_link; take a behaviour's class or a function")
    elif not callable(target):
        raise TypeError(
            "ChildSpec.start takes a behaviour's class, a function, or a tuple of either and its arguments, "
            f"not {start!r}"
        )


def _check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    if not isinstance(value, str):
        raise TypeError(f"ChildSpec.{name} is one of {', '.join(choices)}, not {value!r}")
    if value not in choices:
        raise ValueError(f"ChildSpec.{name} is one of {', '.join(choices)}, not {value!r}")


def _check_shutdown(value: Any) -> None:
    if value is None or (isinstance(value, str) and value in (BRUTAL_KILL, INFINITY)):
        return
    expected = f'ChildSpec.shutdown takes seconds, "{BRUTAL_KILL}" or "{INFINITY}", not {value!r}'
    if isinstance(value, str):
        raise ValueError(expected)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(expected)
    if not 0 <= value < float("inf"):
        raise ValueError(expected)


def _check_kwargs(kwargs: Any, node: Any) -> None:
    if not isinstance(kwargs, dict) or not all(isinstance(key, str) for key in kwargs):
        raise TypeError(f"ChildSpec.kwargs takes a dict whose keys are str, not {kwargs!r}")
    if node is not None and "node" in kwargs:
        raise ValueError("ChildSpec.kwargs: the node is given in ChildSpec.node as well; leave it out of kwargs")


def _check_node(node: Any) -> None:
    if node is None or callable(node):
        return
    nodes = node if isinstance(node, list | tuple) else [node]
    if not all(isinstance(name, str) for name in nodes):
        raise TypeError(f"ChildSpec.node takes a node's name, a list of names or a placement function, not {node!r}")
    if not nodes or not all(nodes):
        raise ValueError(f"ChildSpec.node: {node!r} names no node")


@dataclass(frozen=True, slots=True)
class ChildInfo:
    """What a supervisor tells of a child; `pid` is None when it is not running."""

    id: Hashable
    pid: Pid | None
    type: str
    restart: str


class ChildError(ActorError):
    """A supervisor cannot do this to that child.

    `reason` is "not_found", "running", "restarting", "not_a_spec", ("bad_combination", text) or
    ("not_sendable", text).
    """

    def __init__(self, reason: Any, text: str | None = None) -> None:
        super().__init__(text if text is not None else f"{reason!r}")
        self.reason = reason
