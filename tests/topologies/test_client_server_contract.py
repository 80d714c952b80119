"""Client-server, put through what every overlay has to do: its servers by name, and by the role of each node."""

from __future__ import annotations

from partisan_actors.testing.overlay_contract import OverlayContract
from partisan_actors.topologies import ClientServer

SERVERS = ("n00@h", "n03@h", "n07@h", "n11@h")
CLIENTS = tuple(name for name in OverlayContract().names() if name not in SERVERS)


class TestServersByName(OverlayContract):
    clients = CLIENTS
    idle_messages = 0.0

    def topology(self):
        return ClientServer(servers=SERVERS)


class TestServersByRole(TestServersByName):
    def topology_of(self, node):
        return ClientServer("server" if node in SERVERS else "client")


class TestOneServer(OverlayContract):
    clients = tuple(OverlayContract().names()[1:])
    idle_messages = 0.0

    def topology(self):
        return ClientServer(servers=("n00@h",))
