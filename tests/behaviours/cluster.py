"""A cluster of runtimes in one thread, joined by a router that calls straight across: no wire, no delay.

It has what a supervisor needs of other nodes: spawning, links, monitors, exits, requests, and nodes that go
down and come up. Nothing is copied on the way.
"""

from __future__ import annotations

from typing import Any

import gevent.event

from partisan_actors.errors import NoConnection
from partisan_actors.processes.clock import GeventClock
from partisan_actors.processes.identity import Life, Pid, Remote
from partisan_actors.processes.messages import NodeDown, NodeUp
from partisan_actors.processes.ports import Alone, SendOptions
from partisan_actors.processes.process import Monitor, Process
from partisan_actors.processes.requests import Request
from partisan_actors.processes.runtime import Runtime, current_process
from tests.conditions import wait_until

__all__ = ["Cluster"]


class Cluster:
    """Nodes by name; `home` is the one that the test runs on."""

    def __init__(self, home: Runtime, *others: str) -> None:
        self.home = home
        self.runtimes = {home.home.node: home}
        self.known = [home.home.node]  # the view: may be behind what is really there
        self.refused: dict[str, Exception] = {}  # what a spawn on a node fails with
        self.spawned: list[str] = []  # on which nodes there was one
        home.router = Straight(self, home)
        for node in others:
            self.up(node)

    def up(self, node: str, *, tell: bool = True) -> Runtime:
        """Start a new life of a node."""
        life = Life(node, len(self.runtimes), len(self.runtimes) + 1000 * len(self.spawned) + 7)
        runtime = self.runtimes[node] = Runtime(life, GeventClock())
        runtime.router = Straight(self, runtime)
        if tell:
            self.tell_up(node)
        return runtime

    def down(self, node: str, *, tell: bool = True) -> None:
        """Kill a node; with `tell` the view notices at once."""
        runtime = self.runtimes.pop(node)
        self.break_links(node)
        for process in list(runtime.processes.values()):
            process.kill()
        if tell:
            self.tell_down(node)

    def stop(self, node: str) -> None:
        """Stop a node in order: its processes end with "shutdown", then it leaves."""
        runtime = self.runtimes[node]
        for process in list(runtime.processes.values()):
            process.signal_exit(runtime.root, "shutdown")
        wait_until(lambda: not runtime.processes)
        self.down(node)

    def break_links(self, node: str) -> None:
        """End the session with a node: every link and monitor of the home node over it."""
        for process in list(self.home.processes.values()):
            for link in list(process.links or ()):
                if isinstance(link, Pid) and link.node == node:
                    process.remove_link(link)
                    process.signal_link(link, "noconnection")
            for monitor in list((process.monitors or {}).values()):
                if isinstance(monitor.item, Pid) and monitor.item.node == node:
                    monitor.down("noconnection")
        other = self.runtimes.get(node)
        for process in list(other.processes.values()) if other is not None else ():
            for link in list(process.links or ()):
                if isinstance(link, Pid):
                    process.remove_link(link)
                    process.signal_link(link, "noconnection")

    def tell_up(self, node: str) -> None:
        """Let the view notice that a node is there."""
        self.known.append(node)
        self.home.tell_node_watchers(NodeUp(node))

    def tell_down(self, node: str) -> None:
        """Let the view notice that a node is not there."""
        self.known.remove(node)
        self.home.tell_node_watchers(NodeDown(node, "noconnection"))

    def process(self, pid: Pid) -> Process | None:
        """The process that a pid names, on whichever node, if it is alive."""
        runtime = self.runtimes.get(pid.node)
        return None if runtime is None else runtime.process(pid)

    def close(self) -> None:
        """End all that is left on the other nodes."""
        for node in list(self.runtimes):
            if node != self.home.home.node:
                self.down(node, tell=False)


class Straight(Alone):
    """The router of one of its runtimes."""

    def __init__(self, cluster: Cluster, runtime: Runtime) -> None:
        super().__init__(runtime.home.node, runtime.is_alive)
        self._cluster = cluster
        self._runtime = runtime

    def members(self) -> list[str]:
        return list(self._cluster.known)

    def _target(self, dest: Pid | Remote) -> Process | str:
        runtime = self._cluster.runtimes.get(dest.node)
        if runtime is None:
            return "noconnection"
        process = runtime.process(dest) if isinstance(dest, Pid) else runtime.names.get(dest.name)
        return "noproc" if process is None else process

    def send(self, sender: Process, dest: Pid | Remote, message: Any, options: SendOptions) -> None:
        target = self._target(dest)
        if isinstance(target, Process):
            target.deliver(message)

    def request(self, request: Request, dest: Pid | Remote, options: SendOptions) -> None:
        target = self._target(dest)
        if not isinstance(target, Process):
            request.down(target)
            return
        request.target = target
        target.add_watch(request)
        target.deliver(request)

    def exit(self, sender: Pid, dest: Pid, reason: Any) -> None:
        target = self._target(dest)
        if isinstance(target, Process):
            target.signal_exit(sender, reason)

    def link(self, process: Process, pid: Pid) -> None:
        target = self._target(pid)
        if isinstance(target, Process):
            target.add_link(process.pid)
        elif process.remove_link(pid):
            process.signal_link(pid, target)

    def unlink(self, process: Process, pid: Pid) -> None:
        target = self._target(pid)
        if isinstance(target, Process):
            target.remove_link(process.pid)

    def link_exit(self, process: Process, pid: Pid, reason: Any) -> None:
        target = self._target(pid)
        if isinstance(target, Process) and target.remove_link(process.pid):
            target.signal_link(process.pid, reason)

    def monitor(self, monitor: Monitor, dest: Pid | Remote) -> None:
        target = self._target(dest)
        if isinstance(target, Process):
            target.add_watch(monitor)
        else:
            monitor.down(target)

    def demonitor(self, monitor: Monitor) -> None:
        if isinstance(monitor.item, Pid):
            target = self._target(monitor.item)
            if isinstance(target, Process):
                target.remove_watch(monitor)

    def spawn(self, process: Process, node: str, target: Any, start: dict[str, Any]) -> Any:
        self._cluster.spawned.append(node)
        if node in self._cluster.refused:
            raise self._cluster.refused[node]
        runtime = self._cluster.runtimes.get(node)
        if runtime is None:
            raise NoConnection("noconnection", f"{node} is not there")
        if not isinstance(target, type):
            child = runtime.spawn(target, start["args"], start["kwargs"], parent=process)
            if start["link"]:
                runtime.link(child, process.pid)
                process.add_link(child.pid)
            return child.pid
        return self._start(runtime, process, target, start)

    def _start(self, runtime: Runtime, process: Process, target: Any, start: dict[str, Any]) -> Any:
        outcome = gevent.event.AsyncResult()
        options = {name: start[name] for name in ("name", "timeout", "link")}

        def run() -> None:
            try:
                outcome.set(target.start_for(current_process(), process.pid, start["args"], start["kwargs"], **options))
            except Exception as error:
                outcome.set_exception(error)

        runtime.spawn(run, (), {})
        pid = outcome.get()
        if start["link"] and pid is not None:
            process.add_link(pid)
            if runtime.process(pid) is None and process.remove_link(pid):
                process.signal_link(pid, "noproc")
        return pid
