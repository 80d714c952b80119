"""Causal delivery between nodes: drives the machines of the labels over acknowledged delivery.

A message of a label is a SEND with a stamp in front, in an outbox of its own; what the machines tell each other goes
the same way, and is tried for as long as the member's life is up. What arrives is given to the label's machine, which
says what is due; only what it takes is acknowledged.

Not known here: the rules of the order. The view of the cluster says who is up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import structlog
from msgpack import packb, unpackb

from partisan_actors.cluster.acknowledging import Acknowledging, Letter
from partisan_actors.cluster.ties import Ties
from partisan_actors.cluster.ways import Way
from partisan_actors.distribution.causal import CausalOrder
from partisan_actors.distribution.causal_events import Abandon, Deliver, Tell
from partisan_actors.distribution.causal_label import CausalLabel
from partisan_actors.distribution.causal_stamps import MESSAGE, BadStamp, incarnation_of
from partisan_actors.distribution.outbox_events import OutboxParameters
from partisan_actors.errors import ActorError
from partisan_actors.processes.clock import Timer
from partisan_actors.processes.identity import Life, Pid, Ref, Remote
from partisan_actors.processes.messages import Undelivered
from partisan_actors.processes.ports import SendOptions
from partisan_actors.processes.process import Process
from partisan_actors.processes.runtime import Runtime
from partisan_actors.wire.codec import Codec
from partisan_actors.wire.signals import CAUSAL, SEND, Outcome, Signal

__all__ = ["EVERYONE", "Causality", "check_somebody"]

EVERYONE = "*"
"""In place of a node, in `Remote(name, "*")`: every member of the label, this node included."""

QUIET = 1.0
LONGEST_WITHOUT_REPORT = 10.0
"""Seconds: a label that has been quiet for so long tells what was delivered, and one that is not, so often."""

MOST_AGAIN = 10_000
"""What machines tell that is to be told again; beyond that the session with the member that it is for ends."""

# Why what was queued for a member is given up when its machine says so.
_ABANDONED = "abandoned"
# What will not get better for that life of a member.
_FOR_GOOD = frozenset({_ABANDONED, "unsupported", "noproc", "stopping"})
_LENGTH = 4


def check_somebody(dest: Pid | Remote) -> None:
    """Raise ActorError for everybody, which only a label tells who that is."""
    if type(dest) is Remote and dest.node == EVERYONE:
        raise ActorError(f"{dest!r} is everybody of a causal label: say which, send(..., causal=label)")


class _Post(NamedTuple):
    """What stands in an outbox: a message of a process, or what a machine has to tell."""

    label: str
    member: str
    stamp: tuple[Any, ...]
    process: Process | None = None
    ref: Ref | None = None
    dest: Any = None


def _between_machines(ties: Ties, to: int, name: str | None) -> Way:
    return ties.ways.usual(0)


class _Label:
    """A label, its machine, and when something last went through it."""

    __slots__ = ("active", "machine", "reported", "suspects")

    def __init__(self, machine: CausalOrder, now: float) -> None:
        self.machine = machine
        self.active = False  # since the last look
        self.reported = now
        self.suspects: set[tuple[str, int]] = set()  # members that the view had not told of at the last look


class Causality:
    """The causal labels of one node."""

    def __init__(
        self,
        runtime: Runtime,
        codec: Codec,
        labels: dict[str, CausalLabel],
        ties_to: Callable[[str], Ties | str],
        parameters: OutboxParameters,
        take: Callable[[Ties, Signal, str], bool],
        is_full: Callable[[], bool],
        want: Callable[[str], object] = lambda node: None,
    ) -> None:
        """Make the machines.

        Args:
            ties_to: the ties to a node, or why there are none.
            parameters: the limits of the outboxes.
            take: what becomes of a message of a label that is due; False when nobody gets it.
            is_full: whether so many wait there that no more should become due.
            want: called with a node that there is something for, and no session with.
        """
        self._runtime = runtime
        self._codec = codec
        self._ties_to = ties_to
        self._take = take
        self._is_full = is_full
        home = runtime.home
        now = runtime.clock.now()
        self._labels = {
            name: _Label(CausalOrder(label, home.node, incarnation_of(home.epoch, home.bits)), now)
            for name, label in labels.items()
        }
        self.post = Acknowledging(runtime, ties_to, parameters, self._failed, want)
        self._nobody: Signal | None = None  # the message that was due last, if nobody was there to get it
        self._lives: dict[str, Life] = {}  # of the members that are up
        self._timer: Timer | None = None
        self._again: dict[_Post, Timer] = {}  # what is to be told again
        if labels:
            self._look_soon()

    # Out.

    def send(
        self,
        sender: Process,
        letters: Sequence[tuple[Pid | Remote, Any]],
        dest: Any,
        ref: Ref,
        options: SendOptions,
        way: Callable[[Ties, int, str | None], Way],
    ) -> None:
        """Send a message of a label, to one destination or to several.

        Args:
            letters: where it goes, and what it is there: a hook may have changed it.
            dest: what the sender gave.
            way: the stream of a session that is taken to a process or name there.

        Raises:
            ActorError: a destination is on no member of the label.
            NotSendable: the message cannot cross.
        """
        label = self._labels[options.causal or ""]
        payloads = {target.node: self._codec.encode(message) for target, message in letters}
        nodes = list(payloads)
        others = [node for node in nodes if node != self._runtime.home.node]
        # Again for all after one wait: one that had room may have none any more.
        while any(self.post.wait_for_room(sender, node, options.nosuspend) for node in others):
            pass
        try:
            sent = label.machine.send(nodes)
        except ValueError as error:
            raise ActorError(str(error)) from None
        label.active = True
        by_node = {target.node: target for target, _ in letters}
        told = {node: target if len(letters) > 1 else dest for node, target in by_node.items()}  # by `Undelivered`
        # Nobody may run between the two: what the machine has put into the order has to be on its way.
        for member, stamp in sent.stamps:
            post = _Post(label.machine.label.name, member, stamp, sender, ref, told[member])
            self._put(post, by_node[member], sender.pid.serial, payloads[member], way)
        if sent.here:
            self._deliver_here(*next(letter for letter in letters if letter[0].node == self._runtime.home.node))
        for node in sent.unreachable:
            sender.deliver(Undelivered(ref, told[node], "noconnection"))

    def labels(self) -> dict[str, dict[str, int]]:
        """How each label is doing."""
        return {
            name: {
                "buffered": label.machine.buffered,
                "buffered_bytes": label.machine.buffered_bytes,
                "refused": label.machine.refused,
                "dependencies": label.machine.dependencies,
                "unsettled": len(label.machine.unsettled),
            }
            for name, label in self._labels.items()
        }

    def members(self, label: str) -> tuple[str, ...]:
        """The members of a label."""
        return self._labels[label].machine.label.members

    def _put(
        self,
        post: _Post,
        target: Pid | Remote | None,
        sender: int,
        payload: bytes,
        way: Callable[[Ties, int, str | None], Way] | None = None,
    ) -> None:
        to, name = 0, None
        if type(target) is Pid:
            to = target.serial
        elif target is not None:
            name = target.name  # type: ignore[union-attr]
        stamp: bytes = packb((post.label, post.stamp))
        framed = b"".join((len(stamp).to_bytes(_LENGTH, "big"), stamp, payload))
        taken = way if way is not None else _between_machines
        letter = Letter(CAUSAL, to, name, sender, framed, lambda ties: taken(ties, to, name))
        self.post.put(post.member, self._lives.get(post.member), letter, post)

    def _deliver_here(self, target: Pid | Remote, message: Any) -> None:
        process = self._runtime.resolve(target)
        if isinstance(process, Process):
            process.deliver(message)

    def _failed(self, node: str, post: _Post, number: int, reason: str) -> None:
        label = self._labels[post.label]
        if post.process is None:
            if reason not in _FOR_GOOD and post.member in self._lives:
                self._tell_later(post)
            return
        self._perform(label, label.machine.gave_up(post.member, post.stamp))
        assert post.ref is not None
        post.process.deliver(Undelivered(post.ref, post.dest, "noconnection" if reason == _ABANDONED else reason))

    def _tell_later(self, post: _Post) -> None:
        """Without a time limit, while that life is up. Later: it may have been refused from within `_put`."""
        clock = self._runtime.clock
        if len(self._again) < MOST_AGAIN:
            self._again[post] = clock.call_later(QUIET, self._tell_again, post)
            return
        # Its outbox has been full for long. What it is not told it would wait for: it had better be another life.
        ties = self._ties_to(post.member)
        if isinstance(ties, Ties):
            clock.call_soon(ties.session.end, "overflow")

    def _tell_again(self, post: _Post) -> None:
        del self._again[post]
        if post.member in self._lives:
            self._put(post, None, 0, b"")

    def renew(self) -> None:
        """This node goes by a higher epoch from now on: it is another life, which nobody has met yet."""
        home = self._runtime.home
        # Whom the life before met, and what it was to tell them again, is no matter of this one.
        self._lives.clear()
        for timer in self._again.values():
            timer.cancel()
        self._again.clear()
        for label in self._labels.values():
            label.machine = CausalOrder(label.machine.label, home.node, incarnation_of(home.epoch, home.bits))
            label.suspects = set()

    # What the view tells.

    def member_up(self, life: Life) -> None:
        """A life of a node is up."""
        before = self._lives.get(life.node)
        if before is not None and before != life:
            self.member_down(before.node)
        self._lives[life.node] = life
        for label in self._labels.values():
            self._perform(label, label.machine.up(life.node, incarnation_of(life.epoch, life.bits)))

    def member_down(self, node: str) -> None:
        """It is not any more."""
        life = self._lives.pop(node, None)
        if life is None:
            return
        for label in self._labels.values():
            self._perform(label, label.machine.down(node, incarnation_of(life.epoch, life.bits)))

    # In.

    def arrived(self, ties: Ties, signal: Signal) -> None:
        """A message of a label, or what another machine has to tell."""
        payload = bytes(signal.payload)
        length = int.from_bytes(payload[:_LENGTH], "big")
        try:
            name, stamp = unpackb(payload[_LENGTH : _LENGTH + length], use_list=False)
            label = self._labels[name]
            if stamp[0] == MESSAGE and self._is_full():
                return  # its sender has it still, and sends it again
            message = signal._replace(payload=payload[_LENGTH + length :])
            self._nobody = None
            life = incarnation_of(ties.peer.epoch, ties.peer.bits)
            taken, effects = label.machine.receive(ties.session.node, stamp, (ties, message), len(payload), life)
        except (BadStamp, LookupError, ValueError, TypeError) as error:
            self._refused(ties, signal, error)
            return
        label.active = True
        self._perform(label, effects)
        # Whether it was here before is the machine's to know; this only says that it need not come again.
        if taken and self.post.accept(ties, signal) and self._nobody is message:
            self.post.refuse(ties, signal, Outcome.NO_PROCESS)

    def _refused(self, ties: Ties, signal: Signal, error: Exception) -> None:
        """It will not get better, so it is acknowledged; nobody else is hurt."""
        structlog.get_logger("partisan_actors").warning(
            "causal_message_refused", node=self._runtime.home.node, peer=ties.peer.node, reason=repr(error)[:200]
        )
        self.post.accept(ties, signal)

    # Effects and timers.

    def _perform(self, label: _Label, effects: Sequence[Any]) -> None:
        for effect in effects:
            match effect:
                case Deliver(_, (ties, signal)):
                    # Its sender hears of it if it need not wait here; later it has been acknowledged.
                    if not self._take(ties, signal._replace(kind=SEND, acknowledged=None), label.machine.label.name):
                        self._nobody = signal
                case Tell(member, item):
                    self._put(_Post(label.machine.label.name, member, item), None, 0, b"")
                case Abandon(member):
                    self._abandon(label.machine.label.name, member)

    def _abandon(self, label: str, member: str) -> None:
        self.post.abandon(member, lambda post: post.label == label, _ABANDONED)

    def _look_soon(self) -> None:
        self._timer = self._runtime.clock.call_later(QUIET, self._look)

    def _look(self) -> None:
        self._look_soon()
        now = self._runtime.clock.now()
        for label in self._labels.values():
            if not label.active or now - label.reported >= LONGEST_WITHOUT_REPORT:
                label.reported = now
                self._perform(label, label.machine.report())
                self._bury_hearsay(label)
            label.active = False

    def _bury_hearsay(self, label: _Label) -> None:
        """Members that only stamps tell of, and the view still does not: a settlement would wait for them for ever."""
        suspects = set(label.machine.hearsay())
        for member, incarnation in sorted(suspects & label.suspects):
            self._perform(label, label.machine.down(member, incarnation))
        label.suspects = suspects

    def close(self) -> None:
        """The node stops."""
        self._cancel_timers()
        self.post.close()
        self._cancel_timers()

    def _cancel_timers(self) -> None:
        for timer in (self._timer, *self._again.values()):
            if timer is not None:
                timer.cancel()
        self._again.clear()

    def let_go(self) -> None:
        """In the child of a fork: it is all the parent's."""
        self._cancel_timers()
        self.post.let_go()
