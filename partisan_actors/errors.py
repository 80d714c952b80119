"""Every error of partisan_actors, in one tree, so that a caller can tell what to do next.

`ActorError` is above all errors that a program may want to handle. `ProcessExit` is not
among them: it is how a process ends, and a handler for ordinary errors must not stop it.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "ActorError",
    "CallError",
    "CallTimeout",
    "JoinError",
    "NameTaken",
    "NoConnection",
    "NoProcess",
    "NotAProcess",
    "NotSendable",
    "NotSimulated",
    "ProcessExit",
    "ReceiveTimeout",
    "ServerExit",
    "StartError",
    "UnknownRequest",
    "WouldBlock",
]


class ProcessExit(BaseException):
    """Ends the process that raises it, with `reason` as its exit reason.

    A BaseException, so that `except Exception` around user code does not keep a process
    alive that was told to end (Erlang: `exit/1`).
    """

    def __init__(self, reason: Any = "normal") -> None:
        super().__init__(reason)
        self.reason = reason


class ActorError(Exception):
    """The base of every error of this library that a program may handle."""


class CallError(ActorError):
    """A call that got no reply; `reason` says why."""

    def __init__(self, reason: Any, text: str | None = None) -> None:
        super().__init__(text if text is not None else str(reason))
        self.reason = reason


class CallTimeout(CallError, TimeoutError):
    """No reply came in time. The server may still be working on the request."""


class NoProcess(CallError):
    """The process called is dead, or nobody is registered under the name called."""


class NoConnection(CallError, ConnectionError):
    """The node of the process called is unknown, down, or went down before the reply."""


class ServerExit(CallError):
    """The server ended before it replied; `reason` is its exit reason."""


class StartError(ActorError):
    """A process could not be started; `reason` is what its `init` failed with."""

    def __init__(self, reason: Any, text: str | None = None) -> None:
        super().__init__(text if text is not None else f"could not start: {reason!r}")
        self.reason = reason


class JoinError(ActorError):
    """The cluster could not be joined.

    `reason` is "cookie", "unreachable", "version", "topology", "name", "tls" or "full": one of the two has as many
    sessions as it may.
    """

    def __init__(self, reason: str, text: str | None = None) -> None:
        super().__init__(text if text is not None else reason)
        self.reason = reason


class NameTaken(ActorError):
    """The name is registered to another live process, `holder`, where that is known."""

    def __init__(self, text: str, holder: Any = None) -> None:
        super().__init__(text)
        self.holder = holder


class NotSendable(ActorError, TypeError):
    """A value that cannot cross to another node; the text names the path to it."""


class NotAProcess(ActorError):
    """A function that acts on the calling process was called outside of one."""


class NotSimulated(ActorError):
    """Something in a simulation waits for the real world: a socket, a native thread, a timer of gevent's own."""


class WouldBlock(ActorError):
    """The send would have had to wait, and was asked not to."""


class ReceiveTimeout(ActorError, TimeoutError):
    """No matching message came in time."""


class UnknownRequest(ActorError):
    """A server got a request that it does not know; raised by servers for their callers."""
