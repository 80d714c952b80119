"""What a node has counted, gathered where it is counted: one snapshot of plain values.

Counters only go up while a node runs, those of a peer's channels while its session lives; the rest is how things are
now. Nothing is kept for this but what ended parts had counted: a snapshot looks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from partisan_actors.distribution.live_session import Session

if TYPE_CHECKING:
    from partisan_actors.cluster.acknowledging import Acknowledging
    from partisan_actors.cluster.cluster import Cluster
    from partisan_actors.cluster.remote import RemoteProcesses
    from partisan_actors.distribution.peers import Peers
    from partisan_actors.distribution.routes import Routes

__all__ = ["snapshot"]


def snapshot(cluster: Cluster) -> dict[str, Any]:
    """How the node's side of its cluster is doing."""
    peers, remote = cluster.peers, cluster.remote
    return {
        "membership": {"members": len(cluster.members()), **cluster.view_changes()},
        "joins": {"failed": dict(cluster.joins_failed)},
        "connections": {"open": peers.open_connections, "unproven": peers.unproven},
        "sessions": {"live": len(peers.sessions()), "most": peers.parameters.sessions},
        "ties": _ties(remote),
        "counters": _counters(peers),
        "peers": {session.node: _peer(session) for session in peers.sessions()},
        "undecodable": remote.incoming.undecodable,
        "waiting_for_hooks": remote.incoming.interposition.waiting,
        "acknowledged": _outboxes(remote.acknowledging) | _log(remote.acknowledging),
        "broadcast": cluster.broadcasting.statistics(),
        "overlay": cluster.view_refusals(),
        "names": {"refused": cluster.naming.refused},
        "routing": _routing(cluster.routes),
        "conduits": cluster.routes.conduits.counted(),
        "opening": remote.opening.counted(),
        "causal": {"posted": _outboxes(remote.causality.post), "labels": remote.causality.labels()},
    }


def _counters(peers: Peers) -> dict[str, Any]:
    told = _fields(peers.counters)
    told["superseded"] += sum(session.machine.streams.superseded for session in peers.sessions())
    return told | {"turned_away": peers.turned_away}


def _routing(routes: Routes) -> dict[str, Any]:
    relaying = routes.relaying
    machine = relaying.machine
    return {
        **_fields(machine.counters),
        "relayed_bytes": relaying.relayed_bytes,
        "not_taken": relaying.dropped_frames,
        "not_taken_bytes": relaying.dropped_bytes,
        "routes": machine.routes,
        "waiting_bytes": machine.waiting_bytes + relaying.waiting,
    }


def _fields(counters: Any) -> dict[str, Any]:
    # Not `asdict`, which makes of a Counter one that counts its pairs.
    return {field.name: _plain(getattr(counters, field.name)) for field in fields(counters)}


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value


def _peer(session: Session) -> dict[str, Any]:
    names = {agreed.number: name for name, agreed in session.channels.items()}
    channels: dict[str, dict[str, int]] = {}
    for stream in session.machine.streams:
        name = names.get(stream.id[0], "system" if session.channels else "default")
        channel = channels.setdefault(name, dict.fromkeys(_OF_A_CHANNEL, 0))
        channel["streams"] += 1
        channel["unsent_bytes"] += stream.sending.unsent
        channel["unacknowledged_bytes"] += stream.sending.unacknowledged
        channel["frames_sent"] += stream.sending.sent
        channel["frames_received"] += stream.receiving.received
        channel["frames_resent"] += stream.sending.resent
        channel["frames_duplicate"] += stream.receiving.duplicates
        channel["superseded"] += stream.sending.superseded
        channel["in_pieces_bytes"] += stream.assembly.bytes
    return {
        "session": session.number,
        "connected": session.connected,
        "address": session.address,
        "connections": len(session.connections) + session.connected,
        "round_trip": session.round_trip,
        "channels": channels,
    }


_OF_A_CHANNEL = (
    "streams",
    "unsent_bytes",
    "unacknowledged_bytes",
    "frames_sent",
    "frames_received",
    "frames_resent",
    "frames_duplicate",
    "superseded",
    "in_pieces_bytes",
)


def _ties(remote: RemoteProcesses) -> dict[str, int]:
    ties = remote.ties()
    own_monitors = sum(len(one.monitors) for one in ties)
    return {
        "links": sum(len(one.links) for one in ties),
        "monitors": sum(len(one.remote_watches) for one in ties),
        "requests": sum(len(one.callers) for one in ties),
        "full_mailboxes": sum(len(one.credit.full) for one in ties),
        "full_mailboxes_ignored": remote.full_ignored + sum(one.credit.ignored for one in ties),
        "own_monitors": own_monitors,
        "own_requests": sum(len(one.watches or ()) for one in ties) - own_monitors,
        "over_limit": remote.incoming.over_limit,
    }


def _outboxes(post: Acknowledging) -> dict[str, int]:
    boxes = list(post.outboxes)
    return {
        "outboxes": len(boxes),
        "remembered": post.outboxes.remembered,
        "open": sum(map(len, boxes)),
        "open_bytes": sum(box.size for box in boxes),
        **post.outboxes.counted(),
        "delivered": post.delivered,
        "delivered_bytes": post.delivered_bytes,
        "duplicates": post.duplicates,
        "undelivered": post.undelivered,
    }


def _log(post: Acknowledging) -> dict[str, int]:
    commits, failed = post.commits
    return {"log_commits": commits, "log_commits_failed": failed}
