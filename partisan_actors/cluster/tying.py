"""Links, monitors and exit signals between processes of this node and those of others, as processes ask for them.

Where there is no session with a member yet, what sets a tie up waits for one, and what takes it down follows it.

Not known here: what ties there are; see `ties`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from partisan_actors.cluster.ties import Ties
from partisan_actors.cluster.ways import Way, address_of
from partisan_actors.processes.identity import Pid, Remote
from partisan_actors.processes.ports import DEFAULT_OPTIONS
from partisan_actors.processes.process import Monitor, Process
from partisan_actors.wire import signals
from partisan_actors.wire.signals import encode_signal

if TYPE_CHECKING:
    from partisan_actors.cluster.remote import RemoteProcesses

__all__ = ["Tying"]


class Tying:
    """A part of the `Router` of processes."""

    def __init__(self, remote: RemoteProcesses) -> None:
        self._remote = remote

    def exit(self, sender: Pid, dest: Pid, reason: Any) -> None:
        """Send an exit signal."""
        payload = self._remote.encode_reason(reason)

        def send() -> None:
            ties = self._remote.ties_to(dest)
            if isinstance(ties, Ties):
                way = ties.ways.usual(sender.serial + dest.serial)
                ties.send(way, signals.EXIT, dest.serial, sender.serial, 0, payload)

        if not self._remote.opening.hold(None, dest, len(payload), send):
            send()

    def link(self, process: Process, pid: Pid) -> None:
        """Set up the far end of a link that stands on this side; a dead or unreachable one breaks it."""
        ties = self._remote.ties_to(pid)
        if isinstance(ties, str):
            if self._remote.opening.hold(None, pid, 0, partial(self.link, process, pid)):
                return
            if process.remove_link(pid):
                process.signal_link(pid, ties)
            return
        number = self._remote.runtime.new_serial()
        ties.links.setdefault((process, pid.serial), set()).add(number)
        ties.send(_link_way(ties, process, pid), signals.LINK, pid.serial, process.pid.serial, number)

    def unlink(self, process: Process, pid: Pid) -> None:
        """Take down the far end."""
        if self._remote.opening.follow(pid.node, 0, partial(self.unlink, process, pid)):
            return
        ties = self._remote.ties_to(pid)
        numbers = ties.links.pop((process, pid.serial), None) if isinstance(ties, Ties) else None
        if numbers is not None and isinstance(ties, Ties):
            payload = self._remote.codec.encode(tuple(numbers))
            ties.send(_link_way(ties, process, pid), signals.UNLINK, pid.serial, process.pid.serial, 0, payload)

    def link_exit(self, process: Process, pid: Pid, reason: Any) -> None:
        """Tell the far end that `process` has ended."""
        payload = self._remote.encode_reason(reason)

        def send() -> None:
            ties = self._remote.ties_to(pid)
            if isinstance(ties, Ties) and ties.links.pop((process, pid.serial), None) is not None:
                way = _link_way(ties, process, pid)
                ties.send(way, signals.LINK_EXIT, pid.serial, process.pid.serial, 0, payload)

        if not self._remote.opening.follow(pid.node, len(payload), send):
            send()

    def monitor(self, monitor: Monitor, dest: Pid | Remote) -> None:
        """Set up a monitor."""
        ties = self._remote.ties_to(dest)
        if isinstance(ties, str) and self._remote.opening.hold(None, dest, 0, partial(self.monitor, monitor, dest)):
            monitor.tied = dest.node  # until then
            return
        if isinstance(ties, str) or ties.watches is None:
            monitor.down(ties if isinstance(ties, str) else "noconnection")
            return
        monitor.tied = ties
        to, name = address_of(dest)
        way = self._remote.way(ties, monitor.watcher, to, name, DEFAULT_OPTIONS)
        ties.watches[monitor] = way
        ties.monitors[monitor.ref.serial] = monitor
        way.send(encode_signal(signals.MONITOR, to, monitor.watcher.pid.serial, monitor.ref.serial, b"", name))

    def demonitor(self, monitor: Monitor) -> None:
        """Take a monitor off."""
        ties = monitor.tied
        if isinstance(ties, str):
            self._remote.opening.follow(ties, 0, partial(self.demonitor, monitor))
        elif isinstance(ties, Ties) and ties.monitors.pop(monitor.ref.serial, None) is not None:
            way = ties.watches.pop(monitor, None) if ties.watches is not None else None
            if way is not None:
                ties.send(way, signals.DEMONITOR, 0, monitor.watcher.pid.serial, monitor.ref.serial)


def _link_way(ties: Ties, process: Process, pid: Pid) -> Way:
    return ties.ways.usual(process.pid.serial + pid.serial)
