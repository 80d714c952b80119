"""Node: puts the parts together, starts and stops them in order.

The one module that knows everybody. A node belongs to the thread that started it; of its
methods only `run`, `spawn`, `subscribe` and `send_from_thread` may be used from others.
"""

from __future__ import annotations

import logging
import os
import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

import structlog
from gevent import get_hub
from gevent.monkey import get_original
from greenlet import getcurrent

from partisan_actors.cluster.cluster import Cluster
from partisan_actors.cluster.hooks import Hooks
from partisan_actors.cluster.protocol_parameters import checked_parameters
from partisan_actors.cluster.settings import ClusterSettings
from partisan_actors.cluster.telemetry import snapshot
from partisan_actors.distribution.causal_label import CausalLabel, check_causal_labels
from partisan_actors.distribution.channels import Channel, declare_channels
from partisan_actors.distribution.cookie import find_cookies
from partisan_actors.errors import ActorError, NotAProcess
from partisan_actors.options import (
    check_name,
    check_options,
    checked_outbox,
    checked_tls,
    checked_topology,
    refuse_later_options,
    several,
)
from partisan_actors.parameters import MembershipParameters, PlumtreeParameters, RoutingParameters
from partisan_actors.processes import messages
from partisan_actors.processes.clock import Clock, GeventClock, checked_seconds
from partisan_actors.processes.identity import Life, Pid
from partisan_actors.processes.interrupts import interrupts
from partisan_actors.processes.outside import Outcome, call_from_thread, send_for_threads, start_run, start_subscriber
from partisan_actors.processes.plain import AttachedProcess, FunctionProcess
from partisan_actors.processes.process import Process
from partisan_actors.processes.runtime import Runtime, process_of_greenlet
from partisan_actors.processes.scheduler import EXITED
from partisan_actors.processes.stopping import stop_processes
from partisan_actors.processes.switch_interval import switch_interval as process_wide_switch_interval
from partisan_actors.topologies import FullMesh, Topology
from partisan_actors.transport import TLS, SocketTransport, choose_advertised, problem_with
from partisan_actors.wire.handshake import Keys
from partisan_actors.wire.message_types import register_message_class

__all__ = ["Node"]

T = TypeVar("T")
_KEEP_ALIVE = 3600.0
_LAST_WORDS = 2.0  # seconds; connections close within one

# The one of the system, in a monkey-patched program too: there `threading` tells greenlets apart, not threads.
_this_thread: Callable[[], int] = get_original("_thread", "get_ident")


class Node:
    """One member of a cluster, with its processes.

    Args:
        name: `"orders@10.0.0.7"`, unique in the cluster.
        listen: `"host:port"`, `"[v6]:port"`, `"unix:/path"`, a list of them, or None (never accepts).
        advertise: what others dial, where that differs from `listen`; never a wildcard.
        cookie: the shared secret, 16 bytes or more, or a tuple of several: the first proves, all are
            accepted. By default $PARTISAN_COOKIE, else the file ~/.partisan.cookie. Many nodes of one OS process
            may share `Keys`, which take 40 ms to derive.
        topology: the overlay.
        channels: the named channels.
        causal_labels: groups for causal delivery.
        tls: `TLS(certificate, key, ca)`: all of TCP is under mutual TLS; the certificate has to name this node.
        spawnable: dotted-name patterns that other nodes may spawn here, e.g. `"shop.workers.*"`.
        discovery: none in this version.
        names: none in this version.
        ack_timeout: seconds after which a message sent with `ack=True` and not acknowledged is given up.
        outbox: a file that keeps messages sent with `ack=True` until they are delivered, over the end of this OS
            process too; `send` then returns when the message is safe there. By default they are kept in memory.
        view: `MembershipParameters`, of what this node knows of the members; see `partisan_actors.parameters`.
        routing: `RoutingParameters`, of the ways to members without a link.
        broadcast: `PlumtreeParameters`, of broadcasts.
        strict_messages: hold local messages to the rules of remote ones; for tests.
        switch_interval: seconds; the interpreter's thread switch interval while a node runs, which
            also bounds how long gevent leaves sockets alone. Process-wide; None leaves it.
        clock: the door to time; replaced in simulation.
        transport: the door to the network; replaced in simulation.
    """

    def __init__(
        self,
        name: str,
        *,
        listen: str | Sequence[str] | None = "127.0.0.1:0",
        advertise: str | None = None,
        cookie: str | bytes | tuple[str | bytes, ...] | Keys | None = None,
        topology: Topology | None = None,
        channels: tuple[Channel, ...] = (Channel("default"),),
        causal_labels: tuple[CausalLabel, ...] = (),
        tls: TLS | None = None,
        spawnable: Sequence[str] = (),
        discovery: Any = None,
        names: Any = None,
        ack_timeout: float = 60.0,
        outbox: str | None = None,
        view: MembershipParameters | None = None,
        routing: RoutingParameters | None = None,
        broadcast: PlumtreeParameters | None = None,
        strict_messages: bool = False,
        switch_interval: float | None = 0.0005,
        clock: Clock | None = None,
        transport: Any = None,
    ) -> None:
        check_name(name)
        refuse_later_options(discovery=discovery, names=names)
        check_options(spawnable, switch_interval, ack_timeout)
        listening = several(listen)
        choose_advertised(advertise, listening)  # what can be refused before anything is bound
        self.name = name
        self.hooks = Hooks()
        self._settings = ClusterSettings(
            listen=listening,
            advertise=advertise,
            keys=cookie if isinstance(cookie, Keys) else Keys(find_cookies(cookie)),
            topology=checked_topology(topology) if topology is not None else FullMesh(),
            channels=declare_channels(channels),
            spawnable=tuple(spawnable),
            hooks=self.hooks,
            outbox=(checked_outbox(outbox), ack_timeout),
            labels=check_causal_labels(causal_labels, name),
            parameters=checked_parameters(view, routing, broadcast),
        )
        self._strict_messages, self._switch_interval = strict_messages, switch_interval
        self._tls = checked_tls(tls, transport)
        self._given_clock, self._given_transport = clock, transport
        self._await_start()

    def _await_start(self) -> None:
        self._runtime: Runtime | None = None
        self._cluster: Cluster | None = None
        self._epoch = self._thread = 0  # of the last life
        self._loop: Any = None
        self._keep_alive: Any = None
        self._attached: list[AttachedProcess] = []
        self._stopping = False
        self._thread_sender: Process | None = None  # sends what threads hand over, and might have to wait for it

    # Starting and stopping.

    def start(self) -> Node:
        """Start it, in this thread; gives the node. Does nothing when it runs."""
        if self._runtime is not None:
            self._running()  # in the child of a fork: raises
            return self
        if self._stopping:
            raise ActorError(f"{self.name} is stopping: start it again when stop() has returned")
        _log_to_stderr()
        clock = self._given_clock if self._given_clock is not None else GeventClock()
        # Above its own last one, also within a millisecond and if the wall clock went back.
        self._epoch = max(int(clock.wall() * 1000), self._epoch + 1)
        life = Life(self.name, self._epoch, int.from_bytes(clock.entropy(8), "big"))
        runtime = Runtime(life, clock)
        transport = self._given_transport if self._given_transport is not None else self._sockets(clock)
        cluster = Cluster(runtime, transport, self._settings)
        cluster.start()
        for kind in messages.FROM_THE_RUNTIME:
            register_message_class(kind)
        if self._strict_messages:
            runtime.check_message = cluster.remote.check
        self._runtime, self._cluster = runtime, cluster
        # For good: the interpreter takes no such function back. It keeps no node alive.
        os.register_at_fork(after_in_child=partial(_abandon_in_child, weakref.ref(cluster)))
        self._thread, self._loop = _this_thread(), get_hub().loop
        self._stay_alive()
        if self._switch_interval is not None:
            process_wide_switch_interval.lower(self, self._switch_interval)
        interrupts.handle(self)
        structlog.get_logger("partisan_actors").info("node_started", node=self.name, address=cluster.address)
        return self

    def _sockets(self, clock: Clock) -> SocketTransport:
        if self._tls is not None and (problem := problem_with(self._tls, self.name)) is not None:
            # No error: with new files all is well, and whom a node never meets does not mind.
            structlog.get_logger("partisan_actors").warning("certificate_unfit", node=self.name, reason=problem)
        return SocketTransport(clock, self._tls)

    def _stay_alive(self) -> None:
        # One timer, always: a program that only waits for messages is no deadlock (gevent: LoopExit).
        assert self._runtime is not None
        self._keep_alive = self._runtime.clock.call_later(_KEEP_ALIVE, self._stay_alive)

    def stop(self, timeout: float = 5.0) -> None:
        """Stop it. Does nothing when it does not run.

        Every process gets exit `"shutdown"`, the roots of trees first; what is left after `timeout`
        seconds is killed. Then the node leaves the cluster and closes its sockets. Attached greenlets,
        and the caller, are detached and not signalled.
        """
        runtime, cluster = self._runtime, self._cluster
        if runtime is None or cluster is None:
            return
        checked_seconds(timeout, "timeout")
        self._check_thread("stop")
        if runtime.closed is not None:
            raise NotAProcess(runtime.closed)
        self._runtime = None  # a second call, from a process that is stopping, does nothing
        self._stopping = True
        try:
            stop_processes(runtime, timeout, spare=process_of_greenlet())
        finally:
            try:
                self._close(runtime, cluster)
            finally:
                self._let_go(runtime)
        structlog.get_logger("partisan_actors").info("node_stopped", node=self.name)

    def abandon(self) -> None:
        """End this life as the end of its OS process would: nobody is told, and none of its processes runs on.

        For a simulation that crashes it, or is over. Its clock must not run anything of it any more.
        """
        runtime, cluster, self._runtime = self._runtime, self._cluster, None
        if runtime is not None and cluster is not None:
            runtime.closed = f"node {self.name} has crashed"
            runtime.scheduler.stop()
            cluster.abandon()
            for attached in self._attached:
                attached.detach(None)
            self._attached.clear()
            self._let_go(runtime)

    def _close(self, runtime: Runtime, cluster: Cluster) -> None:
        gone = Outcome(runtime)
        cluster.stop(gone.set)
        # The program may end next: what was sent, and the word that we leave, are on their way first.
        gone.wait(_LAST_WORDS)
        cluster.close_outboxes()

    def _let_go(self, runtime: Runtime) -> None:
        runtime.closed = runtime.closed or f"node {self.name} has stopped"
        for attached in self._attached:
            runtime.end(attached, "shutdown")
            attached.wake()
        runtime.deadlines.close()
        runtime.scheduler.close()
        self._keep_alive.cancel()
        process_wide_switch_interval.restore(self)
        interrupts.restore(self)
        self._cluster = None
        self._stopping = False

    def __enter__(self) -> Node:
        self.start()
        self._attach()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            # The child of a fork leaves the block too, and has nothing to stop: it is all its parent's.
            if self._runtime is not None and self._runtime.closed is None:
                self.stop()
        finally:
            self._detach(error)

    @contextmanager
    def attached(self) -> Iterator[Pid]:
        """Make the current greenlet a process of this node for the block; gives its pid."""
        process = self._attach()
        error: BaseException | None = None
        try:
            yield process.pid
        except BaseException as raised:
            error = raised
            raise
        finally:
            self._detach(error)

    def _attach(self) -> AttachedProcess:
        self._check_thread("attach a greenlet")
        process = AttachedProcess(self._running())
        process.attach()
        self._attached.append(process)
        return process

    def _detach(self, error: BaseException | None) -> None:
        greenlet = getcurrent()
        for index in range(len(self._attached) - 1, -1, -1):
            if self._attached[index].greenlet is greenlet:
                self._attached.pop(index).detach(error)
                return

    # Work.

    def spawn(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Pid:
        """Start a process that runs `function(*args, **kwargs)`; from anywhere, native threads included."""
        return self._started(lambda runtime, parent: runtime.spawn(function, args, kwargs, parent=parent))

    def run(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Run `function(*args, **kwargs)` in a new process and wait; from anywhere, native threads included.

        Gives its value or raises its error; `ProcessExit(reason)` if a signal ended it. If the wait is
        interrupted, the process is killed.
        """
        runtime = self._running()
        if _this_thread() != self._thread:
            return self._run_from_thread(runtime, function, args, kwargs)  # type: ignore[no-any-return]
        outcome = Outcome(runtime)
        process = start_run(runtime, function, args, kwargs, outcome.set)
        try:
            outcome.wait_in(self._own_process())
        finally:
            if not outcome.done:
                process.kill()
        return outcome.get()  # type: ignore[no-any-return]

    def _run_from_thread(
        self, runtime: Runtime, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        started: list[FunctionProcess] = []
        try:
            return self._in_thread(lambda finish: started.append(start_run(runtime, function, args, kwargs, finish)))
        except BaseException:
            # An interrupt of the thread's wait; an end of the process, which a kill does not change. Behind the start
            # in the loop's queue, so it finds the process even if that has not begun.
            self._loop.run_callback_threadsafe(_kill_all, started)
            raise

    def send_from_thread(self, dest: Any, message: Any) -> None:
        """Send a message, as `send` does; from a native thread, or any greenlet."""
        runtime = self._running()
        if _this_thread() == self._thread:
            self._send_for(runtime, dest, message)
        else:
            self._loop.run_callback_threadsafe(self._send_for, runtime, dest, message)

    def _send_for(self, runtime: Runtime, dest: Any, message: Any) -> None:
        # One process sends for all threads: what one of them sends keeps its order, also where it has to wait.
        if runtime.closed is not None:
            return
        sender = self._thread_sender
        if sender is None or sender.runtime is not runtime or sender.status == EXITED:
            sender = self._thread_sender = runtime.spawn(send_for_threads, (), {})
        sender.deliver((dest, message))

    def _started(self, start: Callable[[Runtime, Process | None], Process]) -> Pid:
        runtime = self._running()
        if _this_thread() == self._thread:
            return start(runtime, self._own_process()).pid
        return self._in_thread(lambda finish: finish(start(runtime, None).pid, None))  # type: ignore[no-any-return]

    def _in_thread(self, function: Callable[[Callable[[Any, BaseException | None], None]], Any]) -> Any:
        def guarded(finish: Callable[[Any, BaseException | None], None]) -> None:
            try:
                function(finish)
            except BaseException as error:
                finish(None, error)

        return call_from_thread(self._loop, lambda: self._runtime is not None, guarded)

    # The cluster.

    def join(self, address: str | None, timeout: float = 10.0) -> None:
        """Join the cluster of the node at `address`, which may be any member.

        Returns when its view of the cluster was received, and the neighbours that the overlay wants
        and can reach are connected.

        Raises:
            JoinError: `reason` is "cookie", "unreachable", "version", "topology", "name", "tls" or "full".
            ValueError: `address` is none.
        """
        checked_seconds(timeout, "timeout")
        self._check_thread("join")
        if address is None:
            raise ValueError("cannot join at None, which is what a node that does not listen has: let it join this one")
        if not isinstance(address, str):
            raise TypeError(f"join takes an address, as node.address says it, not {address!r}")
        cluster = self._clustered()
        outcome = Outcome(self._running())
        attempt = cluster.join(address, timeout, outcome.set)
        try:
            if not outcome.wait_in(self._own_process(), timeout):
                attempt.fail("unreachable", f"not within {timeout} s")
        finally:
            attempt.cancel()
        outcome.get()

    def leave(self) -> None:
        """Leave the cluster in order. The node stays usable, alone."""
        self._check_thread("leave")
        self._clustered().leave()

    @property
    def address(self) -> str | None:
        """The first address that others are told to dial; None when it does not listen."""
        return self._clustered().address

    @property
    def listening(self) -> list[str]:
        """The addresses that are really bound."""
        return self._clustered().listening

    @property
    def life(self) -> Life:
        """This life of the node."""
        return self._running().home

    def members(self) -> list[str]:
        """The names of all members that are not known to be down, this node's included."""
        return self._clustered().members()

    def neighbours(self) -> list[str]:
        """The names of the nodes with a live connection, this node's not included."""
        return self._clustered().neighbours()

    def telemetry(self) -> dict[str, Any]:
        """What this node has counted and measured of its cluster: plain values, by what they are of."""
        return snapshot(self._clustered())

    def switch_topology(self, topology: Topology) -> None:
        """Let the whole cluster run with another topology from now on, without a message lost.

        Returns at once. The members that can be reached follow within moments, those on the other side of a
        partition when it heals; one that joins later takes it over, whatever it was made with.

        Raises:
            TypeError: `topology` is none, or has a parameter that cannot be sent to others, such as a function.
            ValueError: the others could not make one of it: it is not registered under its name, or is of one node
                only, such as one with a role or with a function for costs. Nothing has changed then.
        """
        self._check_thread("switch the topology")
        self._clustered().switch_topology(checked_topology(topology))

    def subscribe(self, callback: Callable[[messages.NodeUp | messages.NodeDown], Any]) -> Pid:
        """Call `callback(event)` for each NodeUp and NodeDown from now on, in a process of its own; its pid."""
        if not callable(callback):
            raise TypeError(f"subscribe takes a function of one event, not {callback!r}")
        return self._started(lambda runtime, parent: start_subscriber(runtime, callback, parent))

    # Inside.

    def _running(self) -> Runtime:
        if self._runtime is None:
            raise NotAProcess(f"node {self.name} does not run: call start(), or use it in a `with`")
        if self._runtime.closed is not None:
            raise NotAProcess(self._runtime.closed)
        return self._runtime

    def _clustered(self) -> Cluster:
        self._running()
        assert self._cluster is not None
        return self._cluster

    def _own_process(self) -> Process | None:
        process = process_of_greenlet()
        return process if process is not None and process.runtime is self._runtime else None

    def _check_thread(self, action: str) -> None:
        if self._runtime is not None and _this_thread() != self._thread:
            raise NotAProcess(
                f"cannot {action} from another thread than the one that started {self.name}: "
                "from there use node.run, node.spawn or node.send_from_thread"
            )

    def __repr__(self) -> str:
        return f"<Node {self.name} {'running' if self._runtime is not None else 'stopped'}>"


def _abandon_in_child(reference: weakref.ref[Cluster]) -> None:
    """In the child of a fork: it must not read, write or close what its parent's node goes on with."""
    cluster = reference()
    if cluster is not None:
        cluster.abandon()


def _kill_all(processes: list[FunctionProcess]) -> None:
    for process in processes:
        process.kill()


def _log_to_stderr() -> None:
    # structlog, left alone, prints everything to stdout, where a program's own output belongs. One
    # that has configured it keeps what it chose.
    if not structlog.is_configured():
        structlog.configure(
            wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
            # Looked up anew for each logger: a program may replace and close its stderr.
            logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
        )
