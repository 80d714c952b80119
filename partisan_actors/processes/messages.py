"""The messages that the runtime itself puts into mailboxes. Frozen, and made for `match`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from partisan_actors.processes.identity import Global, Pid, Ref, Remote, Via

__all__ = ["FROM_THE_RUNTIME", "Crash", "Down", "Exit", "NodeDown", "NodeUp", "Undelivered"]


@dataclass(frozen=True, slots=True)
class Crash:
    """The exit reason of a process that ended with an uncaught exception; text only, so it crosses nodes."""

    type: str
    message: str
    traceback: str

    def __repr__(self) -> str:
        return f"Crash({self.type}: {self.message})"


@dataclass(frozen=True, slots=True)
class Exit:
    """An exit signal of a linked process, or of `send_exit`, as a process that traps exits sees it."""

    sender: Pid
    reason: Any


@dataclass(frozen=True, slots=True)
class Down:
    """A monitored process has ended. `sender` is what was given to `monitor`: the pid, or the name."""

    ref: Ref
    sender: Pid | str | Remote | Global | Via
    reason: Any


@dataclass(frozen=True, slots=True)
class NodeUp:
    """A node has become a reachable member of the cluster."""

    node: str


@dataclass(frozen=True, slots=True)
class NodeDown:
    """A node has left the cluster or cannot be reached any more."""

    node: str
    reason: Any


@dataclass(frozen=True, slots=True)
class Undelivered:
    """A message sent with `ack=True` was given up."""

    ref: Ref
    dest: Any
    reason: Any


FROM_THE_RUNTIME = (Crash, Exit, Down, NodeUp, NodeDown, Undelivered)
"""All of them: other nodes have to know them."""
