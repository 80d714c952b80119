"""Whole nodes in simulation: a cluster of `Node`s with their actors, in one thread and in virtual time.

Everything but the two doors to the outside is the real thing: the clock is virtual time, the transport is `wires`.

    with Simulation(seed=1) as simulation:
        a, b = simulation.node("a@sim"), simulation.node("b@sim")
        simulation.join(b, a)
        simulation.partition([a], [b])
        simulation.run(10.0)
        assert a.members() == ["a@sim"]

Promised: the same seed and program give the same trace, byte for byte, in every interpreter, unless the program itself
depends on the order of sets, the real clock or chance of its own. Time goes on only while the program waits: in `run`,
in `run_until`, and in whatever call of a node waits, `node.run(function)` and `node.join(address)` too.

Where the block is left by an error, the error has a note that names the seed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from random import Random
from types import TracebackType
from typing import Any

from partisan_actors.node import Node
from partisan_actors.testing.driver import Driver
from partisan_actors.testing.network import Cut, Network
from partisan_actors.testing.simulated_clock import SimulatedClock
from partisan_actors.testing.trace import Trace
from partisan_actors.testing.virtual_time import VirtualTime
from partisan_actors.testing.wires import SimulatedTransport, Wires
from partisan_actors.wire.handshake import Keys

__all__ = ["Simulation"]

PORT = 4370
_COOKIE = b"of every simulation, and no secret"
_LIMIT = 1_000_000.0


class Simulation:
    """A network of nodes; use it in a `with`, one at a time in a thread.

    Args:
        seed: of everything that is left to chance.
        network: a fresh one; by default ways of 1 to 3 ms. Its loss, duplication and reordering are of no effect: a
            connection repairs what is lost.
        trace: written to, if there is one.
        limit: virtual seconds until a wait that does not end is a TimeoutError.
    """

    def __init__(
        self, seed: int, *, network: Network | None = None, trace: Trace | None = None, limit: float = _LIMIT
    ) -> None:
        self.seed = seed
        self.time = VirtualTime()
        self.network = network if network is not None else Network()
        self.network.random = Random(f"{seed}/network")
        self.trace = trace
        self.wires = Wires(self.time, self.network, trace)
        self.nodes: dict[str, Node] = {}
        self._limit = limit
        self._clocks: dict[str, SimulatedClock] = {}
        self._keys: Keys | None = None
        self._driver: Driver | None = None
        self._crashed: list[Any] = []  # their stacks must not unwind while others run

    def __enter__(self) -> Simulation:
        self._driver = Driver(self.time, self._limit)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note(f"simulation with seed {self.seed}, {self.time.now:.6f} s after its start")
        for node in self.nodes.values():
            self.crash(node)
        self._driving().close()
        self._driver = None

    # Nodes

    def node(self, name: str, *, rate: float = 1.0, skew: float = 0.0, **options: Any) -> Node:
        """Make a node and start it.

        Args:
            name: unique in the simulation.
            rate: seconds of its clock in one second of virtual time.
            skew: seconds by which its wall clock is wrong.
            options: of `Node`. By default it listens, at an address of its own, and has the simulation's cookie.
        """
        self._driving()
        if name in self.nodes:
            raise ValueError(f"there is a node {name}; restart it, if it has crashed")
        number = len(self.nodes) + 1
        ip = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        clock = SimulatedClock(self.time, f"{self.seed}/{name}", rate=rate, skew=skew)
        options.setdefault("listen", f"{ip}:{PORT}")
        if "cookie" not in options:
            self._keys = self._keys if self._keys is not None else Keys([_COOKIE])
            options["cookie"] = self._keys
        transport = SimulatedTransport(self.wires, name, ip, clock)
        node = Node(name, clock=clock, transport=transport, switch_interval=None, **options)
        self.nodes[name] = node
        self._clocks[name] = clock
        self.wires.note("start", name)
        return node.start()

    def join(self, node: Node, contact: Node, timeout: float = 10.0) -> None:
        """Let `node` join the cluster through `contact`; returns when it has. Raises JoinError."""
        node.join(contact.address, timeout)

    def crash(self, node: Node) -> None:
        """End its OS process: nothing of it runs any more, and its kernel closes its connections."""
        if not self._lives(node):
            return
        self.wires.note("crash", node.name)
        self.wires.crashed(node.name)
        self._crashed.append(node._runtime)
        node.abandon()
        self._clocks[node.name].end_life()

    def restart(self, node: Node, contact: Node | None = None) -> Node:
        """Start a new life of it, on the same address, after a crash of the one that it has; it joins `contact`."""
        self.crash(node)
        self.wires.note("start", node.name)
        node.start()
        if contact is not None:
            self.join(node, contact)
        return node

    def pause(self, node: Node, seconds: float | None = None) -> None:
        """Stop it as SIGSTOP does, for so many seconds or until `resume`. Its kernel still accepts connections."""
        clock = self._clocks[node.name]
        if self._lives(node) and not clock.paused:
            self.wires.note("pause", node.name)
            clock.pause()
            if seconds is not None:
                self.time.push(self.time.now + seconds, self._resume, node, clock.life)

    def resume(self, node: Node) -> None:
        """Let it go on."""
        clock = self._clocks[node.name]
        if clock.paused:
            self.wires.note("resume", node.name)
            clock.resume()

    def slow(self, node: Node, seconds: float) -> None:
        """Let each thing that happens in it take so long from now on, one after the other; 0: no time, as before."""
        clock = self._clocks[node.name]
        if seconds < 0:
            raise ValueError(f"a thing takes 0 s or more, not {seconds!r}")
        if self._lives(node) and clock.processing != seconds:
            self.wires.note("slow", node.name, seconds)
            clock.processing = seconds

    # The network

    def partition(
        self,
        sources: Collection[Node | str],
        targets: Collection[Node | str] | None = None,
        *,
        one_way: bool = False,
    ) -> Cut:
        """Cut `sources` off from `targets`, or from all others; see `Network.cut`."""
        some, others = _names(sources), None if targets is None else _names(targets)
        self.wires.note("partition", some, others, one_way)
        cut = self.network.cut(some, others, one_way=one_way)
        self.wires.cut()
        return cut

    def heal(self, cut: Cut | None = None) -> None:
        """Take that cut back, or all."""
        self.wires.note("heal")
        self.network.mend(cut)
        self.wires.healed()

    def reset(self, a: Node, b: Node) -> int:
        """Reset the connections between two nodes; how many those were."""
        self.wires.note("reset", a.name, b.name)
        return self.wires.reset(a.name, b.name)

    # Time

    @property
    def now(self) -> float:
        """Virtual seconds since the start."""
        return self.time.now

    def run(self, seconds: float) -> None:
        """Let so many seconds pass. Raises what an event has raised."""
        self._driving().run(seconds)

    def run_until(self, condition: Callable[[], Any], limit: float = 60.0, *, every: float = 0.01) -> float:
        """Let time pass until `condition()`, asked `every` so many seconds; the seconds that it took.

        Raises TimeoutError after `limit` seconds.
        """
        return self._driving().run_until(condition, limit, every)

    def _driving(self) -> Driver:
        if self._driver is None:
            raise RuntimeError("a simulation runs in its `with` block only")
        return self._driver

    def _lives(self, node: Node) -> bool:
        return node._runtime is not None

    def _resume(self, node: Node, life: int, _c: None) -> None:
        if self._clocks[node.name].life == life:
            self.resume(node)


def _names(nodes: Collection[Node | str]) -> list[str]:
    return sorted(node.name if isinstance(node, Node) else node for node in nodes)
