"""The `Router` that processes are handed: each of its functions is one of the parts that do the work."""

from __future__ import annotations

from collections.abc import Callable

from partisan_actors.cluster.broadcasting import Broadcasting
from partisan_actors.cluster.naming import Naming
from partisan_actors.cluster.remote import RemoteProcesses
from partisan_actors.cluster.spawning import Spawning
from partisan_actors.cluster.tying import Tying

__all__ = ["ClusterRouter"]


class ClusterRouter:
    """Bound methods rather than methods that pass on: it is on the path of every remote message."""

    def __init__(
        self,
        remote: RemoteProcesses,
        spawning: Spawning,
        naming: Naming,
        members: Callable[[], list[str]],
        broadcasting: Broadcasting,
    ) -> None:
        self.send = remote.send
        self.check = remote.check
        self.send_acknowledged = remote.posting.send_acknowledged
        self.send_causal = remote.posting.send_causal
        self.request = remote.request
        tying = Tying(remote)
        self.exit = tying.exit
        self.link = tying.link
        self.unlink = tying.unlink
        self.link_exit = tying.link_exit
        self.monitor = tying.monitor
        self.demonitor = tying.demonitor
        self.spawn = spawning.spawn
        self.register_global = naming.register
        self.unregister_global = naming.unregister
        self.whereis_global = naming.whereis
        self.global_names = naming.all
        self.members = members
        self.broadcasting = broadcasting
