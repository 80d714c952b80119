"""Ctrl-C while nodes run: raised in the program's code, never in the middle of the runtime's.

Python's own handler raises KeyboardInterrupt at whatever bytecode comes next. In the hub that is a callback of ours:
a frame half taken, a record half merged, and gevent prints where. So a node that is started in the main thread puts
its own handler there, as `asyncio.Runner` does, unless the program has put one of its own:

- between two steps of user code it raises at once, as Python's does;
- in the hub, or in a function of this package, it waits for the hub's next round, and is raised in the main greenlet;
- a second one that finds the first still waiting is raised where it is: that round may never come.

The other piece of global state beside `switch_interval`, and for the same reason.
"""

from __future__ import annotations

import signal
from types import FrameType

from gevent import get_hub
from greenlet import getcurrent

__all__ = ["Interrupts", "interrupts"]

_PACKAGE = __name__.partition(".")[0] + "."


class Interrupts:
    """The handler of SIGINT, put in by the first node of the main thread and taken out by the last."""

    def __init__(self) -> None:
        self._nodes: set[int] = set()  # ids of those that run
        self._waiting = False

    def handle(self, node: object) -> None:
        """`node` has started, in this thread."""
        if signal.getsignal(signal.SIGINT) not in (signal.default_int_handler, self._interrupted):
            return  # the program's own, or ignored
        try:
            signal.signal(signal.SIGINT, self._interrupted)
        except ValueError:
            return  # not the main thread, and signals come there only
        self._nodes.add(id(node))

    def restore(self, node: object) -> None:
        """`node` has stopped."""
        if id(node) not in self._nodes:
            return
        self._nodes.remove(id(node))
        if not self._nodes and signal.getsignal(signal.SIGINT) == self._interrupted:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _interrupted(self, number: int, frame: FrameType | None) -> None:
        hub = get_hub()
        if self._waiting or not (getcurrent() is hub or _is_ours(frame)):
            self._waiting = False
            signal.default_int_handler(number, frame)
        self._waiting = True
        hub.loop.run_callback(self._raise_in_main, hub)

    def _raise_in_main(self, hub: object) -> None:
        if self._waiting:
            self._waiting = False
            hub.handle_system_error(KeyboardInterrupt, KeyboardInterrupt())  # type: ignore[attr-defined]


def _is_ours(frame: FrameType | None) -> bool:
    return frame is not None and str(frame.f_globals.get("__name__", "")).startswith(_PACKAGE)


interrupts = Interrupts()
