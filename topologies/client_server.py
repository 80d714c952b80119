"""Client-server: the servers are a full mesh, and each client is linked to a few of them. No client to a client.

Promised, once nothing changes: every server has a link to every other; every client has links to `connections` of the
servers, or to all when there are fewer; both sides count such a link among their neighbours; and no two clients have
one. A client whose servers go, or cannot be reached, takes others. A change costs a server O(1) steps. A client's
choice is by chance, but for the server that it joined through; it is not made anew when a server comes.

Which role a node has is known by one of two things: by its tag, when roles are given node by node, or by its name,
when the servers are listed. One of neither role gets no link, and is nobody's neighbour.

A client says ("attach",) over the link to a server that it has chosen, and ("detach",) before it gives the link up. A
server keeps what attached and leaves it to the client to dial again: it may not be able to. A link between two nodes
that shall have none, as when a client joins through a client, may teach them of the others for `grace` seconds.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from partisan_actors.topologies.chordal_ring import chordal_ring
from partisan_actors.topologies.overlay import (
    CancelTimer,
    Connect,
    Disconnect,
    Effect,
    Event,
    Joined,
    LinkDown,
    LinkUp,
    MemberDown,
    MemberUp,
    Message,
    Refuse,
    Send,
    SetTimer,
    TimerFired,
    Unreachable,
)

__all__ = ["ClientServer", "ClientServerOverlay", "NotForEveryNode"]

_NAME = "client_server"
_SERVER = "server"
_CLIENT = "client"
_ATTACH = ("attach",)
_DETACH = ("detach",)
_CHOOSE = "choose"
_RETRY = "retry"


class NotForEveryNode(ValueError):
    """A topology that says something of one node only, where one for all nodes is needed."""


@dataclass(frozen=True)
class ClientServer:
    """Connect clients to servers, and servers to each other.

    Args:
        role: "server" or "client", of this node; the others say theirs.
        servers: instead, the names of all servers; the same value then serves for every node.
        connections: how many servers a client is linked to; None for all.
        settle: seconds that a client which has heard of servers waits to hear of more, before it chooses.
        grace: seconds that a link may stay up which is no neighbour's.
        retry: seconds after which a client that reaches no server tries others.

    Raises ValueError or TypeError, naming the field.
    """

    role: str | None = None
    servers: tuple[str, ...] = ()
    connections: int | None = 2
    settle: float = 0.1
    grace: float = 2.0
    retry: float = 5.0

    def __post_init__(self) -> None:
        if not isinstance(self.servers, tuple | list) or not all(isinstance(name, str) for name in self.servers):
            raise TypeError(f'client_server: servers is a tuple of names, such as ("a@h",), not {self.servers!r}')
        # Sorted: equal ones are interchangeable. A tuple: a list may have come over the wire.
        object.__setattr__(self, "servers", tuple(sorted(set(self.servers))))
        if self.role not in (None, _SERVER, _CLIENT):
            raise ValueError(f'client_server: role is "server" or "client", not {self.role!r}')
        if (self.role is None) != bool(self.servers):
            raise ValueError("client_server: give either role, of this node, or servers, the names of all servers")
        if self.connections is not None and (type(self.connections) is not int or self.connections < 1):
            raise ValueError(f"client_server: connections is at least 1, or None for all, not {self.connections!r}")
        for name in ("settle", "grace", "retry"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
                raise ValueError(f"client_server: {name} is seconds, above 0, not {value!r}")

    @property
    def name(self) -> str:
        """What the handshake says."""
        return _NAME

    @property
    def tag(self) -> str:
        """The role, if it is not to be seen by the name."""
        return self.role or ""

    def parameters(self) -> Mapping[str, Any]:
        """What makes an equal one on every node. Raises NotForEveryNode for one with a role, which is of one node."""
        if self.role is not None:
            raise NotForEveryNode(
                f'client_server: role="{self.role}" is of one node, and cannot be sent to others: '
                'for all of them give the names of the servers, ClientServer(servers=("a@host", ...))'
            )
        return {
            "servers": self.servers,
            "connections": self.connections,
            "settle": self.settle,
            "grace": self.grace,
            "retry": self.retry,
        }

    def overlay(self, node: str) -> ClientServerOverlay:
        """The machine for the node of that name."""
        return ClientServerOverlay(node, self)


class ClientServerOverlay:
    """One node, a server or a client; see the module."""

    def __init__(self, node: str, topology: ClientServer) -> None:
        self.refused: dict[str, int] = {}  # what others sent and was not taken in, by reason
        self._node = node
        self._topology = topology
        self._named = frozenset(topology.servers)
        self._serves = self._role(node, topology.tag) == _SERVER
        self._roles: dict[str, str] = {}  # of the other members
        self._servers: list[str] = []  # members, sorted
        self._linked: set[str] = set()
        self._wanted: set[str] = set()  # the neighbours
        self._failed: set[str] = set()  # a client's: servers that could not be reached, until the next retry
        self._choosing = False  # a client's: whether it waits to hear of more servers
        self._random: Random
        self._effects: list[Effect]

    @property
    def name(self) -> str:
        """What the handshake says."""
        return _NAME

    def step(self, event: Event, now: float, random: Random) -> Sequence[Effect]:
        """Take one event in; see `overlay`."""
        self._random = random
        effects = self._effects = []
        match event:
            case MemberUp(node, tag) if node != self._node:
                self._member_up(node, self._role(node, tag))
            case MemberDown(node) if node in self._roles:
                self._member_down(node)
            case Joined(node) if not self._serves and self._roles.get(node) == _SERVER:
                self._prefer(node)
            case LinkUp(node) if node != self._node:
                self._link_up(node)
            case LinkDown(node) if node in self._linked:
                self._link_down(node)
            case Unreachable(node) if not self._serves and node in self._wanted and node not in self._linked:
                self._unreachable(node)
            case Message(node, payload):
                self._received(node, payload)
            case TimerFired(key):
                self._timer_fired(key)
        return effects

    def neighbours(self) -> list[str]:
        """A server's: the other servers, and the clients that chose it. A client's: the servers that it chose."""
        return sorted(self._wanted)

    def gossip(self, linked: Sequence[str]) -> Sequence[str]:
        """All clients, which nobody else may reach, and of the servers some, if they are many."""
        if not self._serves:
            return linked
        servers = [node for node in linked if self._roles.get(node) == _SERVER]
        chosen = set(chordal_ring(self._node, servers))
        return [node for node in linked if node in chosen or self._roles.get(node) != _SERVER]

    # Roles

    def _role(self, node: str, tag: str) -> str:
        if self._named:
            return _SERVER if node in self._named else _CLIENT
        return tag if tag in (_SERVER, _CLIENT) else ""

    def _allowed(self, node: str) -> bool:
        """Whether there may be a link to that member: at least one of the two is a server, and none a stranger."""
        return self._roles.get(node) in ((_SERVER, _CLIENT) if self._serves else (_SERVER,))

    # Members

    def _member_up(self, node: str, role: str) -> None:
        if self._roles.get(node, role) != role:
            self._member_down(node)
        if node not in self._roles:
            self._roles[node] = role
            if role == _SERVER:
                insort(self._servers, node)
        self._failed.discard(node)
        if node in self._wanted and role == _SERVER:
            self._effects.append(Connect(node))  # it may have moved
        elif role == _SERVER and self._serves:
            self._want(node)
        elif role == _SERVER and self._has_room() and not self._choosing:
            # Not this one at once: all clients hear of the same servers first.
            self._choosing = True
            self._effects.append(SetTimer(_CHOOSE, self._topology.settle))
        if node in self._linked:
            self._watch(node)

    def _member_down(self, node: str) -> None:
        if self._roles.pop(node) == _SERVER:
            self._servers.remove(node)
        self._failed.discard(node)
        if node in self._wanted:
            self._drop(node)
            self._choose()

    def _want(self, node: str) -> None:
        self._wanted.add(node)
        self._effects.append(Connect(node))
        if node in self._linked and not self._serves:
            self._effects.append(Send(node, _ATTACH))

    def _drop(self, node: str) -> None:
        self._wanted.discard(node)
        self._effects.append(Disconnect(node))

    # Links

    def _link_up(self, node: str) -> None:
        self._linked.add(node)
        self._failed.discard(node)
        if node in self._wanted and not self._serves:
            self._effects.append(Send(node, _ATTACH))
        self._watch(node)

    def _link_down(self, node: str) -> None:
        self._linked.discard(node)
        self._effects.append(CancelTimer(("grace", node)))
        if node not in self._wanted:
            return
        if self._roles.get(node) == _CLIENT:
            self._drop(node)  # it dials again, and attaches
        elif not self._serves:
            self._effects.append(SetTimer(_RETRY, self._topology.retry))

    def _watch(self, node: str) -> None:
        """Give a link that shall not be its time."""
        if node not in self._wanted and not (self._serves and self._allowed(node)):
            self._effects.append(SetTimer(("grace", node), self._topology.grace))

    def _timer_fired(self, key: object) -> None:
        match key:
            case ("grace", str(node)) if node in self._linked and node not in self._wanted:
                if not (self._serves and self._allowed(node)):
                    self._effects.append(Disconnect(node))
            case "choose" if self._choosing:
                self._choosing = False
                self._choose()
            case "retry" if not self._serves:
                self._try_others()

    def _received(self, node: str, payload: object) -> None:
        if payload not in (_ATTACH, _DETACH):
            self._refuse(node, "payload")
        elif node not in self._roles:
            self._refuse(node, "no member", late=True)
        elif not self._serves or self._roles[node] != _CLIENT:
            self._refuse(node, "role")
        elif payload == _ATTACH:
            self._want(node)
        elif node in self._wanted:
            self._drop(node)

    def _refuse(self, node: str, reason: str, *, late: bool = False) -> None:
        self.refused[reason] = self.refused.get(reason, 0) + 1
        self._effects.append(Refuse(node, reason, late))

    # A client's choice

    def _has_room(self) -> bool:
        most = self._topology.connections
        return most is None or len(self._wanted) < most

    def _choose(self) -> None:
        """Take as many servers as there shall be, by chance, those that failed last."""
        while not self._serves and self._has_room():
            candidates = [node for node in self._servers if node not in self._wanted]
            fresh = [node for node in candidates if node not in self._failed]
            if not candidates:
                return
            self._want(self._random.choice(fresh or candidates))

    def _give_up(self, node: str) -> None:
        if node in self._linked:
            self._effects.append(Send(node, _DETACH))
        self._drop(node)

    def _prefer(self, node: str) -> None:
        """This node has a link to that server: rather this one than one to which there is none."""
        if node in self._wanted:
            return
        unlinked = sorted(self._wanted - self._linked)
        if not self._has_room() and unlinked:
            self._give_up(self._random.choice(unlinked))
        if self._has_room():
            self._want(node)

    def _unreachable(self, node: str) -> None:
        self._failed.add(node)
        if any(other not in self._wanted and other not in self._failed for other in self._servers):
            self._drop(node)
            self._choose()
        # Without another one that is worth trying it is wanted on; then all of them are tried anew.
        self._effects.append(SetTimer(_RETRY, self._topology.retry))

    def _try_others(self) -> None:
        lost = sorted(self._wanted - self._linked)
        if not lost:
            return
        others = [node for node in self._servers if node not in self._wanted]
        for node in lost[: len(others)]:
            self._failed.add(node)
            self._drop(node)
        self._choose()
        self._failed.clear()
        for node in sorted(self._wanted - self._linked):
            self._effects.append(Connect(node))  # for another Unreachable
        self._effects.append(SetTimer(_RETRY, self._topology.retry))
