"""What a GenServer's callback can return beside a plain value: what happens next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = [
    "NO_REPLY",
    "Continue",
    "Directive",
    "Hibernate",
    "Ignore",
    "NoReply",
    "Reply",
    "Stop",
    "TimedOut",
    "Timeout",
    "check_then",
]


class _NoReplyGiven:
    def __repr__(self) -> str:
        return "NO_REPLY"


NO_REPLY: Any = _NoReplyGiven()
"""The default of `Stop.reply`: the caller gets none from here."""


class Directive:
    """The base of all directives."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Continue(Directive):
    """Call `handle_continue(term)` next, before any message."""

    term: Any = None


@dataclass(frozen=True, slots=True)
class Timeout(Directive):
    """If no message comes within `seconds`, get `TimedOut()` in `handle_info`."""

    seconds: float

    def __post_init__(self) -> None:
        if not isinstance(self.seconds, int | float) or not self.seconds >= 0:
            raise ValueError(f"Timeout takes seconds, 0 or more, not {self.seconds!r}")


@dataclass(frozen=True, slots=True)
class Hibernate(Directive):
    """No message is expected soon. An idle process holds no stack here, so nothing is left to do."""


@dataclass(frozen=True, slots=True)
class Ignore(Directive):
    """From `init`: there is nothing to run; `start` gives None."""


@dataclass(frozen=True, slots=True)
class Stop(Directive):
    """End the server with `reason`; from `handle_call` with a reply, which goes out after `terminate` has run."""

    reason: Any = "normal"
    reply: Any = NO_REPLY


@dataclass(frozen=True, slots=True)
class Reply(Directive):
    """From `handle_call`: reply, and then `Continue`, `Timeout` or `Hibernate`."""

    value: Any
    then: Continue | Timeout | Hibernate | None = None

    def __post_init__(self) -> None:
        check_then(self.then, "Reply")


@dataclass(frozen=True, slots=True)
class NoReply(Directive):
    """From `handle_call`: the reply comes later, by `reply(caller, value)`."""

    then: Continue | Timeout | Hibernate | None = None

    def __post_init__(self) -> None:
        check_then(self.then, "NoReply")


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The message that a `Timeout` becomes."""


def check_then(then: Any, directive: str) -> None:
    """Raise TypeError unless `then` can follow."""
    if then is not None and not isinstance(then, Continue | Timeout | Hibernate):
        raise TypeError(f"{directive}(then=...) takes Continue, Timeout or Hibernate, not {then!r}")
