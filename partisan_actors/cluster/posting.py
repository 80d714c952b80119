"""Messages that outlive sessions, as processes send them: with `ack=True`, or within a causal label.

What is wrong with one is told to its sender at once, whoever is there; what becomes of it later, by `Undelivered`.

Not known here: outboxes and the order of labels; see `acknowledging` and `causality`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import structlog

from partisan_actors.cluster.acknowledging import Letter
from partisan_actors.cluster.causality import EVERYONE, check_somebody
from partisan_actors.cluster.credit import receiver_of
from partisan_actors.cluster.delaying import wait_until
from partisan_actors.cluster.ties import Ties
from partisan_actors.cluster.ways import Way, address_of, way_of
from partisan_actors.errors import ActorError
from partisan_actors.processes.identity import Pid, Ref, Remote
from partisan_actors.processes.messages import Undelivered
from partisan_actors.processes.ports import SendOptions
from partisan_actors.processes.process import Process
from partisan_actors.wire import signals

if TYPE_CHECKING:
    from partisan_actors.cluster.remote import RemoteProcesses

__all__ = ["Posting"]


class _Owner(NamedTuple):
    """Whom to tell of a message that was given up."""

    process: Process
    ref: Ref
    dest: Any


class Posting:
    """Puts messages into the outboxes."""

    def __init__(self, remote: RemoteProcesses) -> None:
        self._remote = remote

    def send_acknowledged(
        self, sender: Process, target: Pid | Remote, dest: Any, message: Any, ref: Ref, options: SendOptions
    ) -> None:
        """Send a message that is acknowledged, or of which `Undelivered(ref, dest, reason)` tells."""
        check_somebody(target)
        if self._remote.hooks.on_the_way_out:
            shown = self._interpose_acknowledged(sender, target, message)
            if not shown:
                sender.deliver(Undelivered(ref, dest, "dropped"))
                return
            (message,) = shown
        payload = self._remote.codec.encode(message)
        to, name = address_of(target)
        flow = self._remote.flow(sender, to, name, options)  # a key that will not do is told now, whoever is there

        def way(ties: Ties) -> Way:
            return way_of(ties.ways, flow, to, name, options)

        if isinstance(self._remote.ties_to(target), str) and not options.nosuspend:
            # What this process sent before waits for a session, too, and is to be first.
            life = target.home if type(target) is Pid else None
            self._remote.opening.wait(sender, target.node, life.bits if life is not None else None)
        ties = self._remote.ties_to(target)
        if isinstance(ties, Ties):
            way(ties)  # and so is a channel
            # A mailbox at its limit holds these senders, too.
            receiver = receiver_of(to, name)
            if receiver in ties.credit.full:
                self._remote.wait_for_room(sender, way(ties), ties, options.nosuspend, None, receiver)
        letter = Letter(signals.SEND, to, name, sender.pid.serial, payload, way)
        post = self._remote.acknowledging
        post.wait_for_room(sender, target.node, options.nosuspend)
        life = target.home if type(target) is Pid else None
        waits = post.put(target.node, life, letter, _Owner(sender, ref, dest))
        if waits is not None:
            post.wait_for_log(sender, waits)
        if self._remote.hooks.after:
            self._remote.show("send", sender, target, message)

    def undelivered(self, node: str, owner: _Owner | None, number: int, reason: str) -> None:
        """A message was given up: tell who sent it."""
        if owner is not None:
            owner.process.deliver(Undelivered(owner.ref, owner.dest, reason))
            return
        # Of an earlier life of this node: whoever sent it is no more.
        structlog.get_logger("partisan_actors").warning(
            "undelivered", node=self._remote.runtime.home.node, peer=node, number=number, reason=reason
        )

    def send_causal(self, sender: Process, dest: Any, message: Any, ref: Ref, options: SendOptions) -> None:
        """Send a message of a causal label, as `send_acknowledged` does, or to all its members.

        Raises: ActorError for a destination that is no member's; NotSendable.
        """
        if isinstance(dest, Remote) and dest.node == EVERYONE:
            members = self._remote.causality.members(options.causal or "")
            targets: list[Pid | Remote] = [Remote(dest.name, node) for node in members]
        else:
            targets = [self._target(dest)]
        letters: list[tuple[Pid | Remote, Any]] = []
        for target in targets:
            shown = (
                self._interpose_acknowledged(sender, target, message)
                if self._remote.hooks.on_the_way_out
                else [message]
            )
            letters += [(target, seen) for seen in shown]
            if not shown:
                sender.deliver(Undelivered(ref, target if len(targets) > 1 else dest, "dropped"))
        if letters:

            def way(ties: Ties, to: int, name: str | None) -> Way:
                return way_of(ties.ways, flow, to, name, options)

            flow = self._remote.flow(sender, *address_of(letters[0][0]), options)
            self._remote.causality.send(sender, letters, dest, ref, options, way)
            for target, shown_message in letters if self._remote.hooks.after else ():
                self._remote.show("send", sender, target, shown_message)

    def _interpose_acknowledged(self, sender: Process, target: Pid | Remote, message: Any) -> list[Any]:
        """What the hooks make of a message: one, after a delay, or none. Its sender waits: it keeps its place."""
        message, delay, dropped = self._remote.interpose("send", sender, target, message)
        if delay and not dropped:
            clock = self._remote.runtime.clock
            wait_until(sender, clock, clock.now() + delay)
        return [] if dropped else [message]

    def _target(self, dest: Any) -> Pid | Remote:
        """A pid, or a name on a node. Raises ActorError for nobody."""
        if isinstance(dest, str):
            return Remote(dest, self._remote.runtime.home.node)
        found = self._remote.runtime.resolve(dest)
        if isinstance(found, Process):
            return found.pid
        if found is not None:
            return found
        if isinstance(dest, Pid | Remote):
            return dest
        raise ActorError(f"nobody is registered as {dest!r}")
