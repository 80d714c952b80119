"""What processes need from the parts above them: the way to other nodes.

`node.py` hands in the real one. `Alone` is the answer of a node that has no network, and of
the tests of this folder: everything elsewhere is `"noconnection"`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from partisan_actors.errors import ActorError, NameTaken, NoConnection
from partisan_actors.processes.identity import Global, Pid, Ref, Remote
from partisan_actors.processes.messages import Undelivered
from partisan_actors.processes.requests import Request

if TYPE_CHECKING:
    from partisan_actors.processes.process import Monitor, Process

__all__ = ["DEFAULT_OPTIONS", "Alone", "Router", "SendOptions"]


@dataclass(frozen=True, slots=True)
class SendOptions:
    """How a message is to travel; see `send`."""

    channel: str | None = None
    partition_key: Any = None
    ack: bool = False
    causal: str | None = None
    nosuspend: bool = False


DEFAULT_OPTIONS = SendOptions()


class Router(Protocol):
    """A message's way to another node, as a process sees it. Destinations are never local."""

    def send(self, sender: Process, dest: Pid | Remote, message: Any, options: SendOptions) -> None:
        """Send; may suspend `sender` while the stream is full. Raises NotSendable, WouldBlock."""

    def check(self, message: Any) -> None:
        """Raise NotSendable where `send` would."""

    def send_acknowledged(
        self, sender: Process, target: Pid | Remote, dest: Any, message: Any, ref: Ref, options: SendOptions
    ) -> None:
        """Send to `target`, which `dest` stands for; `sender` gets `Undelivered(ref, dest, reason)` if it fails."""

    def send_causal(self, sender: Process, dest: Any, message: Any, ref: Ref, options: SendOptions) -> None:
        """Send within a causal label, also to processes of this node."""

    def request(self, request: Request, dest: Pid | Remote, options: SendOptions) -> None:
        """Send a request; every outcome arrives through `request.reply` or `request.down`."""

    def exit(self, sender: Pid, dest: Pid, reason: Any) -> None:
        """Send an exit signal."""

    def link(self, process: Process, pid: Pid) -> None:
        """Set up the far end of a link."""

    def unlink(self, process: Process, pid: Pid) -> None:
        """Take down the far end of a link."""

    def link_exit(self, process: Process, pid: Pid, reason: Any) -> None:
        """Tell the far end of a link that `process` has ended."""

    def monitor(self, monitor: Monitor, dest: Pid | Remote) -> None:
        """Set up a monitor; it fires at once when there is nobody."""

    def demonitor(self, monitor: Monitor) -> None:
        """Take a monitor off."""

    def spawn(self, process: Process, node: str, target: Any, start: dict[str, Any]) -> Any:
        """Start `target` on another node and wait for the outcome; `start` holds the arguments and options."""

    def register_global(self, process: Process, name: str, pid: Pid) -> None:
        """Register for the whole cluster; waits. Raises NameTaken."""

    def unregister_global(self, name: str) -> None:
        """Give a global name up."""

    def whereis_global(self, name: str, consistent: bool) -> Pid | None:
        """Who holds a global name."""

    def global_names(self) -> list[str]:
        """All global names that are taken."""

    def members(self) -> list[str]:
        """The nodes of the cluster, this one included."""


class Alone:
    """The router of a node that knows no other."""

    def __init__(self, node: str, alive: Callable[[Pid], bool]) -> None:
        self._node = node
        self._alive = alive
        self._globals: dict[str, Pid] = {}

    def send(self, sender: Process, dest: Pid | Remote, message: Any, options: SendOptions) -> None:
        """Nobody is there to get it."""

    def check(self, message: Any) -> None:
        """It goes nowhere, so it can be anything."""

    def send_acknowledged(
        self, sender: Process, target: Pid | Remote, dest: Any, message: Any, ref: Ref, options: SendOptions
    ) -> None:
        """Say that it failed."""
        sender.deliver(Undelivered(ref, dest, "noconnection"))

    def send_causal(self, sender: Process, dest: Any, message: Any, ref: Ref, options: SendOptions) -> None:
        """Say that it failed."""
        sender.deliver(Undelivered(ref, dest, "noconnection"))

    def request(self, request: Request, dest: Pid | Remote, options: SendOptions) -> None:
        """Fail it."""
        request.down("noconnection")

    def exit(self, sender: Pid, dest: Pid, reason: Any) -> None:
        """Nobody is there to get it."""

    def link(self, process: Process, pid: Pid) -> None:
        """Break the link at once."""
        if process.remove_link(pid):
            process.signal_link(pid, "noconnection")

    def unlink(self, process: Process, pid: Pid) -> None:
        """There is no far end."""

    def link_exit(self, process: Process, pid: Pid, reason: Any) -> None:
        """There is no far end."""

    def monitor(self, monitor: Monitor, dest: Pid | Remote) -> None:
        """Fire it."""
        monitor.down("noconnection")

    def demonitor(self, monitor: Monitor) -> None:
        """There is no far end."""

    def spawn(self, process: Process, node: str, target: Any, start: dict[str, Any]) -> Any:
        """Refuse."""
        raise NoConnection("noconnection", f"cannot spawn on {node!r}: {self._node} is not connected to it")

    def register_global(self, process: Process, name: str, pid: Pid) -> None:
        """Alone, a name is global when it is unique here."""
        holder = self.whereis_global(name, False)
        if holder is not None and holder != pid:
            raise NameTaken(f"{Global(name)} is registered to {holder}", holder)
        if not self._alive(pid):
            raise ActorError(f"cannot register {pid} as {Global(name)}: it is not alive")
        self._globals[name] = pid

    def unregister_global(self, name: str) -> None:
        """Give it up."""
        self._globals.pop(name, None)

    def whereis_global(self, name: str, consistent: bool) -> Pid | None:
        """A dead holder is none."""
        holder = self._globals.get(name)
        if holder is not None and not self._alive(holder):
            del self._globals[name]
            return None
        return holder

    def global_names(self) -> list[str]:
        """Those whose holders live."""
        return sorted(name for name in list(self._globals) if self.whereis_global(name, False) is not None)

    def members(self) -> list[str]:
        """Oneself."""
        return [self._node]
