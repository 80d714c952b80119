"""OTP's behaviours: a generic part here, a program's own part in callbacks.

The public names of each live in the module of its name; those of a GenServer and of a
Supervisor are here as well.
"""

if __name__ != "partisan_actors.behaviours":
    raise ImportError(
        f"import this package as partisan_actors.behaviours, not as {__name__}: "
        "under two names its classes would exist twice"
    )

from partisan_actors.behaviours.gen_server import (
    GenServer,
    abcast,
    call,
    cast,
    check_response,
    enter_loop,
    multi_call,
    receive_response,
    reply,
    send_request,
    stop,
    wait_response,
)
from partisan_actors.behaviours.supervisor import ChildInfo, ChildSpec, Supervisor

__all__ = [
    "ChildInfo",
    "ChildSpec",
    "GenServer",
    "Supervisor",
    "abcast",
    "call",
    "cast",
    "check_response",
    "enter_loop",
    "multi_call",
    "receive_response",
    "reply",
    "send_request",
    "stop",
    "wait_response",
]
