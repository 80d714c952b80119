"""What arrives while there are receive hooks: they run one after the other, in a process of their own.

Promised: everything keeps its order, so a Down still comes after the messages sent before it, unless a hook delays or
drops these. What a hook raises is logged, and the message passes as it was. The queue is bounded as a mailbox is: at
its limit the senders on other nodes wait.

Messages of a causal label come here when they are due. Their order outlives hooks: one that is dropped is delivered,
as far as those are concerned that depend on it; behind one that is delayed all of its label wait, and nothing else
does. At the limit no more of them are taken, and their senders keep them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import structlog

from partisan_actors.cluster.credit import receiver_of
from partisan_actors.cluster.hooks import About, Hooks, Outcome
from partisan_actors.cluster.ties import Ties
from partisan_actors.distribution.outgoing import Outgoing
from partisan_actors.processes.identity import Pid
from partisan_actors.processes.process import Process, is_reason
from partisan_actors.processes.runtime import Runtime
from partisan_actors.wire import signals
from partisan_actors.wire.codec import Codec, DecodeError
from partisan_actors.wire.signals import Signal

__all__ = ["Interposition"]

LIMIT = 10_000
"""Signals that wait for receive hooks; from there on the senders of other nodes are held."""

_ANSWERS = frozenset({signals.REPLY, signals.CALL_FAILED})
_KINDS = {signals.SEND: "send", signals.CAST: "cast", signals.CALL: "call", signals.REPLY: "reply"}


class _Waiting(NamedTuple):
    ties: Ties
    arrival: Outgoing
    signal: Signal
    label: str | None  # of a causal message


class _Late(NamedTuple):
    due: float
    waiting: _Waiting
    signal: Signal  # as the hooks let it pass


class Interposition:
    """What arrives while there are receive hooks."""

    def __init__(
        self,
        runtime: Runtime,
        codec: Codec,
        hooks: Hooks,
        handle: Callable[[Ties, Signal], None],
        drop: Callable[[Ties, Signal], None],
    ) -> None:
        """Make it.

        Args:
            handle: what becomes of a signal that passes.
            drop: and of one that does not.
        """
        self._runtime = runtime
        self._drop = drop
        self._codec = codec
        self._hooks = hooks
        self._handle = handle
        self._queue: deque[_Waiting] = deque()
        self._holding: dict[Ties, None] = {}  # whose senders were told to wait
        self._process: Process | None = None  # runs the hooks, while there is anything to do
        self._begun = False  # it has made its first step
        self._delayed = 0
        self._late: dict[str, deque[_Late]] = {}  # by label: one that is delayed, and those behind it

    @property
    def busy(self) -> bool:
        """Whether anything waits, or is with a hook: what comes now has to wait behind it."""
        return self._process is not None

    @property
    def waiting(self) -> int:
        """Signals that wait, for the hooks or for the time that these gave them."""
        return len(self._queue) + self._delayed

    @property
    def full(self) -> bool:
        """Whether it is as much as may be."""
        return self.waiting >= LIMIT

    def holds(self, label: str) -> bool:
        """Whether a message of that label waits for its time: what comes now has to wait behind it."""
        return label in self._late

    def take(self, ties: Ties, signal: Signal, label: str | None = None) -> None:
        """Queue a signal, but for an answer that a hook itself waits for: it would wait for ever.

        Args:
            label: of a causal message, which is due.
        """
        if signal.kind in _ANSWERS and self._process is not None:
            request = self._runtime.requests.get(signal.ref)
            if request is not None and request.caller is self._process:
                self._handle(ties, signal)
                return
        self._queue.append(_Waiting(ties, ties.arrival, signal, label))
        if self.full and signal.kind in _KINDS:
            self._holding[ties] = None
            ties.credit.hold(receiver_of(signal.to, signal.name))
        if self._process is None:
            self._start()

    def _start(self) -> None:
        self._begun = False
        self._process = self._runtime.spawn(self._run, (), {})
        self._process.add_watch(self)

    def _run(self) -> None:
        self._begun = True
        while self._queue:
            self._pass(self._queue.popleft())
            self._give_held()

    def down(self, reason: Any) -> None:
        """The process has ended, perhaps before its first step.

        If somebody killed it, what waits is not theirs to lose. A node that stops tells everybody "shutdown", until
        nobody is left: one that ends by that before it has begun has no other in its place until something comes.
        """
        self._process = None
        self._give_held()
        if self._queue and self._runtime.closed is None and (self._begun or not is_reason(reason, "shutdown")):
            self._start()

    def _give_held(self) -> None:
        if self._holding and self.waiting <= LIMIT // 2:
            holding, self._holding = self._holding, {}
            for ties in holding:
                ties.credit.give_held()

    def _pass(self, waiting: _Waiting) -> None:
        signal = waiting.signal
        if signal.kind not in _KINDS:
            self._go_on(waiting, signal)
            return
        try:
            message = self._codec.decode(signal.payload)
        except DecodeError:
            self._let_pass(waiting, signal)  # told by who handles it
            return
        about = self._about(waiting)
        try:
            outcome, signal = self._interpose(signal, message, about)
        except BaseException:
            # This process is told to end. What it has at hand is not its to lose.
            self._let_pass(waiting, signal)
            raise
        if outcome.dropped:
            self._drop(waiting.ties, signal)
        else:
            self._let_pass(waiting, signal, outcome.delay)
            self._hooks.show(outcome.message, about)

    def _let_pass(self, waiting: _Waiting, signal: Signal, delay: float = 0.0) -> None:
        clock, label = self._runtime.clock, waiting.label
        late = self._late.get(label) if label is not None else None
        if late is None and not delay:
            self._go_on(waiting, signal)
            return
        self._delayed += 1
        one = _Late(clock.now() + delay, waiting, signal)
        if late is not None:
            late.append(one)
        elif label is not None:
            self._late[label] = deque((one,))
            clock.call_later(delay, self._release, label)
        else:
            clock.call_later(delay, self._go_on_late, one)

    def _release(self, label: str) -> None:
        """The first of a label that waits for its time has had it."""
        clock, late = self._runtime.clock, self._late[label]
        now = clock.now()
        try:
            while late and late[0].due <= now:
                self._go_on_late(late.popleft())
        finally:
            if late:
                clock.call_later(late[0].due - now, self._release, label)
            else:
                del self._late[label]

    def _go_on_late(self, one: _Late) -> None:
        self._delayed -= 1
        self._go_on(one.waiting, one.signal)
        self._give_held()

    def _about(self, waiting: _Waiting) -> About:
        signal, ties = waiting.signal, waiting.ties
        sender = Pid(ties.peer, signal.sender) if signal.sender else None
        dest: Pid | str = signal.name if signal.name is not None else Pid(self._runtime.home, signal.to)
        return About(_KINDS[signal.kind], ties.peer.node, sender, dest)

    def _interpose(self, signal: Signal, message: Any, about: About) -> tuple[Outcome, Signal]:
        try:
            outcome = self._hooks.run(self._hooks.receiving, message, about)
            if outcome.message is not message:
                signal = signal._replace(payload=self._codec.encode(outcome.message))
        except Exception as error:
            structlog.get_logger("partisan_actors").error(
                "receive_hook_failed", node=self._runtime.home.node, peer=about.node, reason=repr(error), exc_info=error
            )
            return Outcome(message, 0.0, dropped=False), signal
        return outcome, signal

    def _go_on(self, waiting: _Waiting, signal: Signal) -> None:
        ties = waiting.ties
        if ties.watches is None and signal.kind != signals.SEND:
            return  # its session has ended meanwhile; a message may still be delivered, and perhaps was promised
        ties.arrival = waiting.arrival
        self._handle(ties, signal)
