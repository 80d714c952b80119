"""Hooks: functions of a program that see, change, delay or drop what travels between nodes.

A send hook runs in the process that sends; what it raises is raised there. Receive hooks run in a process of their
own: see `interposition`. While there is no hook, nothing of this is on a message's way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import structlog

from partisan_actors.processes.clock import checked_seconds
from partisan_actors.processes.identity import Pid, Remote

__all__ = ["DROP", "About", "Delay", "Hook", "Hooks", "Outcome"]


class _Drop:
    def __repr__(self) -> str:
        return "DROP"


DROP: Any = _Drop()
"""What a hook returns for a message that is to go no further."""


@dataclass(frozen=True)
class Delay:
    """What a hook returns for a message that is to go on later; others may pass it meanwhile.

    Args:
        seconds: how much later.
    """

    seconds: float

    def __post_init__(self) -> None:
        if not 0 <= checked_seconds(self.seconds, "a delay") < math.inf:
            raise ValueError(f"a message cannot be delayed by {self.seconds!r} seconds")


@dataclass(frozen=True)
class About:
    """What a hook is told of a message.

    Args:
        kind: "send", "cast", "call" or "reply".
        node: the other node's name.
        sender: the process that sent it; None where its node does not say.
        dest: the process that it is for, or its name on its node.
    """

    kind: str
    node: str
    sender: Pid | None
    dest: Pid | Remote | str


Hook = Callable[[Any, About], Any]


class _Hook(NamedTuple):
    send: Hook | None
    receive: Hook | None
    after: Hook | None


class Outcome(NamedTuple):
    """What the hooks made of a message."""

    message: Any
    delay: float
    dropped: bool


class Hooks:
    """The hooks of one node, in the order in which they were added."""

    def __init__(self) -> None:
        self._hooks: dict[str, _Hook] = {}
        self.sending: tuple[Hook, ...] = ()
        self.receiving: tuple[Hook, ...] = ()
        self.after: tuple[Hook, ...] = ()
        self.on_the_way_out = False  # what is sent has to be shown to somebody
        self.on_the_way_in = False  # and what arrives

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._hooks))

    def add(
        self, name: str, *, send: Hook | None = None, receive: Hook | None = None, after: Hook | None = None
    ) -> None:
        """Interpose functions, each called with a message and an `About`.

        A function returns the message, changed or not (None: not), `DROP`, or `Delay(seconds)`.

        Args:
            name: to remove them by.
            send: for what this node sends to others.
            receive: for what arrives from others.
            after: sees what was sent or delivered in the end; what it returns does not matter.

        Raises:
            ValueError: the name is taken.
            TypeError: something is no function, or there is none.
        """
        if not isinstance(name, str):
            raise TypeError(f"a hook's name is a str, not {name!r}")
        if name in self._hooks:
            raise ValueError(f"there is a hook {name!r} already: remove it first, or take another name")
        made = _Hook(send, receive, after)
        if all(function is None for function in made):
            raise TypeError(f"hook {name!r} has nothing to do: give send=, receive= or after=")
        for function in made:
            if function is not None and not callable(function):
                raise TypeError(f"hook {name!r}: {function!r} is no function")
        self._hooks[name] = made
        self._gather()

    def remove(self, name: str) -> None:
        """Take a hook off. Raises KeyError when there is none of that name."""
        if name not in self._hooks:
            raise KeyError(f"there is no hook {name!r}, only {list(self._hooks)}")
        del self._hooks[name]
        self._gather()

    def _gather(self) -> None:
        hooks = self._hooks.values()
        self.sending = tuple(hook.send for hook in hooks if hook.send is not None)
        self.receiving = tuple(hook.receive for hook in hooks if hook.receive is not None)
        self.after = tuple(hook.after for hook in hooks if hook.after is not None)
        self.on_the_way_out = bool(self.sending or self.after)
        self.on_the_way_in = bool(self.receiving or self.after)

    def run(self, functions: tuple[Hook, ...], message: Any, about: About) -> Outcome:
        """Let functions see a message, one after the other; an error of theirs comes out."""
        delay = 0.0
        for function in functions:
            result = function(message, about)
            if result is DROP:
                return Outcome(message, delay, dropped=True)
            if isinstance(result, Delay):
                delay += result.seconds
            elif result is not None:
                message = result
        return Outcome(message, delay, dropped=False)

    def show(self, message: Any, about: About) -> None:
        """Let the after hooks see what was sent, or delivered; what they raise is logged."""
        for function in self.after:
            try:
                function(message, about)
            except Exception as error:
                structlog.get_logger("partisan_actors").error(
                    "after_hook_failed", peer=about.node, kind=about.kind, reason=repr(error), exc_info=error
                )
