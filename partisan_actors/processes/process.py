"""A process: identity, mailbox, links, monitors, and how it ends.

What is promised (Erlang's rules, from the reference manual's chapter on processes):

* An exit signal `"normal"` is ignored unless trapped, or sent by the process to itself.
* `send_exit(pid, "kill")` cannot be trapped, and others see `"killed"`. A process that itself
  ends with `"kill"` sends an ordinary reason over its links.
* A link is removed on both sides before its signal has any effect.
* `Down` and the signals over links go out when the process has unwound; for a kill at once.

A process is never interrupted from a sender's stack. Idle or queued, it just ends. Waiting,
its wait is woken and raises there. Waiting in something that is not ours (a gevent socket), an
exception is thrown in from the hub. Running, the next primitive raises, or the next wait. Once a process is
exiting every primitive that could wait raises `ProcessExit` again, so that a bare `except:`
cannot keep it. One that goes on all the same, `MAX_REFUSALS` times, is abandoned where it is: it
has ended for everybody else, and its stack never runs again.

Ends set off ends (a chain of linked idle processes): they go through a queue, not the stack.
"""

from __future__ import annotations

from collections import deque
from contextvars import Context
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import structlog

from partisan_actors.errors import NotAProcess, ProcessExit
from partisan_actors.processes.crash_report import shortened
from partisan_actors.processes.identity import Pid, Ref
from partisan_actors.processes.messages import Down, Exit
from partisan_actors.processes.scheduler import EXITED, IDLE, QUEUED, RUNNING, Scheduler, Waiter
from partisan_actors.processes.timers import EXACT_BELOW, TICK

if TYPE_CHECKING:
    from partisan_actors.processes.runtime import Runtime

__all__ = ["MAX_REFUSALS", "NOT_EXITING", "Monitor", "Process", "Watch", "is_reason"]

MAX_REFUSALS = 100
"""How often an exiting process may catch its `ProcessExit` and ask for something again."""


class _NotExiting:
    __slots__ = ()

    def __repr__(self) -> str:
        return "NOT_EXITING"


NOT_EXITING: Any = _NotExiting()
"""Stands in `Process.exiting` until a signal has decided that the process ends."""


def is_reason(reason: Any, word: str) -> bool:
    """Whether an exit reason is this word; a user's reason may compare with `==` as it likes."""
    return type(reason) is str and reason == word


class Watch(Protocol):
    """Something that is told, once, when a process ends: a monitor, an unanswered request."""

    def down(self, reason: Any) -> None:
        """The process has ended with `reason`."""


class Monitor:
    """One local process watching something; becomes a `Down` message."""

    __slots__ = ("item", "ref", "target", "tied", "watcher")

    def __init__(self, watcher: Process, target: Process | None, ref: Ref, item: Any) -> None:
        self.watcher = watcher
        self.target = target  # None when what is watched lives on another node
        self.ref = ref
        self.item = item
        self.tied: Any = None  # where a monitor on another node hangs; the router's

    @property
    def watcher_pid(self) -> Pid:
        """Who watches, for `process_info`."""
        return self.watcher.pid

    def down(self, reason: Any) -> None:
        """Deliver the `Down`, unless the monitor was taken off or has fired."""
        if self.watcher.monitors is not None and self.watcher.monitors.pop(self.ref.serial, None) is self:
            self.watcher.deliver(Down(self.ref, self.item, reason))


class Process:
    """The part that all kinds of processes have in common. Kinds differ in `run_turn`."""

    __slots__ = (
        "armed_tick",
        "context",
        "deadline",
        "exiting",
        "greenlet",
        "last_message",
        "links",
        "mailbox",
        "max_mailbox",
        "monitors",
        "name",
        "parent",
        "pid",
        "reductions",
        "refusals",
        "requests",
        "room",
        "runtime",
        "scheduler",
        "starting",
        "status",
        "trapping",
        "waiter",
        "watches",
    )

    is_attached = False

    def __init__(self, runtime: Runtime, parent: Pid | None, context: Context | None) -> None:
        self.runtime = runtime
        self.scheduler: Scheduler = runtime.scheduler
        self.pid = runtime.enter(self)
        self.parent = parent
        self.context = context
        self.status = IDLE
        self.mailbox: deque[Any] | None = None  # made on the first message
        self.waiter: Waiter | None = None  # the wait of ours that it is in
        self.greenlet: Any = None  # what it runs on, during a turn
        self.exiting: Any = NOT_EXITING
        self.trapping = False
        self.links: dict[Process | Pid, None] | None = None  # local ones by object, others by pid; in order
        self.monitors: dict[int, Monitor] | None = None  # what it watches, by serial of the ref
        self.watches: dict[Watch, None] | None = None  # who watches it, unanswered requests included
        self.deadline: float | None = None  # when its present wait ends
        self.armed_tick: int | None = None  # where it stands in the deadline wheel
        self.name: str | None = None
        self.last_message: Any = None
        self.reductions = 0  # turns begun and messages taken
        self.refusals = 0  # how often it was told to end, and went on
        self.max_mailbox: int | None = None
        # Senders that wait for room in the mailbox, and since when, as a number: see `announce_room`.
        self.room: dict[Any, int] | None = None
        self.requests: dict[Any, None] | None = None  # of its `send_request`s, those that are open
        self.starting: Any = None  # who waits for its start, and is the first to be told of its end

    # What a kind of process decides.

    def run_turn(self) -> None:
        """Run until there is nothing to do, or the slice is over. Never raises."""
        raise NotImplementedError

    def hides(self, message: Any) -> bool:
        """Whether `receive` must not see `message` (a behaviour's own protocol)."""
        return False

    def end_at_once(self, reason: Any) -> bool:
        """End it in order with `reason` if there is nothing to run for that; whether it was so."""
        return False

    def describe(self) -> str:
        """What it was started as, for logs and `process_info`."""
        raise NotImplementedError

    # Messages in.

    def deliver(self, message: Any) -> None:
        """Append to the mailbox, and see to it that the process looks."""
        mailbox = self.mailbox
        if mailbox is None:
            if self.status == EXITED:
                return
            self.mailbox = deque((message,))
        else:
            mailbox.append(message)
        if self.status == IDLE:
            # hot path: `Scheduler.enqueue` written out.
            self.status = QUEUED
            scheduler = self.scheduler
            scheduler.ready.append(self)
            if not scheduler.pending:
                scheduler.ask_for_dispatch()
            return
        waiter = self.waiter
        if waiter is not None and waiter.for_message:
            self.scheduler.wake(waiter)

    def announce_room(self) -> None:
        """There may be room in the mailbox, or never again: let those look who wait, the longest wait first.

        In that order, as one that sends again and again would keep all others out.
        """
        room, self.room = self.room, None
        if room is not None:
            for sender in sorted(room, key=room.__getitem__) if len(room) > 1 else room:
                sender.wake()

    # Waits.

    def wake(self) -> None:
        """End the present wait, if it is in one of ours."""
        if self.waiter is not None:
            self.scheduler.wake(self.waiter)

    def check_exiting(self) -> None:
        """Raise again what this process was told, if it is exiting."""
        if self.exiting is not NOT_EXITING:
            self.refusals += 1
            if self.refusals > MAX_REFUSALS and not self.is_attached:
                self._abandon()
            raise ProcessExit(self.exiting)

    def _abandon(self) -> None:
        structlog.get_logger("partisan_actors").error(
            "process_abandoned",
            node=self.pid.node,
            pid=str(self.pid),
            reason=shortened(self.exiting),
            initial_call=self.describe(),
        )
        self.runtime.end(self, self.exiting)
        self.greenlet = None
        self.scheduler.abandon()

    def give_way(self) -> None:
        """Let others run, and the hub look at sockets and timers; then go on."""
        self.check_exiting()
        self.scheduler.slice_end = 0.0
        # A timer, since the hub looks at sockets only after many callbacks (see `Scheduler._dispatch`).
        self.runtime.clock.call_later(0.0, self.wake)
        self.wait()

    def wait(self, deadline: float | None = None, for_message: bool = False, coarse: bool = False) -> None:
        """One wait: until woken, or about `deadline` (clock seconds). The caller looks why and may wait again.

        A `coarse` wait may end up to `TICK` late even when little time is left, and does not look at the clock.
        """
        # hot path: every call. Two checks and the look into the wheel without calls for them are 6 % of it.
        if self.exiting is not NOT_EXITING:
            self.check_exiting()
        if self.status == EXITED:
            self._outlived()
        waiter = self.waiter = Waiter(for_message)
        timer = None
        try:
            if deadline is not None:
                self.deadline = deadline
                armed = self.armed_tick
                if not coarse and (seconds := deadline - self.runtime.clock.now()) < EXACT_BELOW:
                    timer = self.runtime.clock.call_later(seconds, self.scheduler.wake, waiter)
                elif armed is None or armed * TICK > deadline:
                    self.runtime.deadlines.arm(self, deadline)
            self.scheduler.park()
        finally:
            waiter.greenlet = None
            self.waiter = None
            self.deadline = None
            if timer is not None:
                timer.cancel()
        if self.exiting is not NOT_EXITING:
            self.check_exiting()
        if self.status == EXITED:
            self._outlived()

    def _outlived(self) -> NoReturn:
        # An attached greenlet whose node was stopped meanwhile goes on, but not as a process. Any other
        # is to end: it caught the end of a server's loop that it had entered.
        if self.is_attached:
            raise NotAProcess(self.runtime.closed or f"{self.pid} has been detached")
        raise ProcessExit("normal")

    # Exit signals in.

    def signal_exit(self, sender: Pid, reason: Any) -> None:
        """An exit signal sent by `send_exit` (Erlang: `exit/2`)."""
        if is_reason(reason, "kill"):
            self.kill()
            return
        if is_reason(reason, "normal") and not self.trapping and sender != self.pid:
            return
        self._signalled(sender, reason)

    def signal_link(self, sender: Pid, reason: Any) -> None:
        """The other end of a link, already removed here, has ended."""
        if is_reason(reason, "normal") and not self.trapping:
            return
        self._signalled(sender, reason)

    def kill(self) -> None:
        """End it at once, whatever it does: others are told now, its stack unwinds later, or never."""
        if self.status == EXITED:
            return
        running = self.status == RUNNING
        self.exiting = "killed"
        self.runtime.end(self, "killed")
        if running:
            self._interrupt()

    def _signalled(self, sender: Pid, reason: Any) -> None:
        if self.status == EXITED or self.exiting is not NOT_EXITING:
            return
        if self.trapping:
            self.deliver(Exit(sender, reason))
            return
        self.exit_with(reason)

    def exit_with(self, reason: Any) -> None:
        """End it with `reason`, in the way that fits what it is doing."""
        self.exiting = reason
        if self.status in (IDLE, QUEUED):
            self.runtime.end(self, reason)
        else:
            self._interrupt()

    def _interrupt(self) -> None:
        if self.waiter is not None:
            self.scheduler.wake(self.waiter)
        elif not self.is_attached and self.greenlet is not None:
            # It waits in something that is not ours, or runs, and may do so next. Never throw from
            # here: this is a sender's stack. When the hub runs, it has given up control somewhere.
            self.runtime.clock.call_soon(self._throw, self.greenlet, self.refusals)

    def _throw(self, greenlet: Any, refusals: int) -> None:
        """In the hub: raise in a foreign wait, unless it is over and the process has moved on."""
        if self.greenlet is not greenlet or greenlet.dead:
            return
        if self.refusals > refusals:
            return  # told at a primitive meanwhile: this would cut its clean-up short
        if self.waiter is not None:
            self.scheduler.wake(self.waiter)
            return
        greenlet.throw(ProcessExit(self.exiting))

    # Links and watches, kept lean: most processes have none.

    def add_link(self, other: Process | Pid) -> None:
        """Remember the link on this side."""
        if self.links is None:
            self.links = {}
        self.links[other] = None

    def remove_link(self, other: Process | Pid) -> bool:
        """Forget the link on this side; whether there was one."""
        if self.links is None or other not in self.links:
            return False
        del self.links[other]
        return True

    def add_watch(self, watch: Watch) -> None:
        """Tell `watch` when this process ends."""
        if self.watches is None:
            self.watches = {watch: None}
        else:
            self.watches[watch] = None

    def remove_watch(self, watch: Watch) -> None:
        """Do not tell `watch` any more."""
        if self.watches is not None:
            self.watches.pop(watch, None)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.pid} {self.describe()}>"
