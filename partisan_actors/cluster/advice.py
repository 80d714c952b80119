"""What somebody who reads in the log that another node sends nonsense can do about it, by event and reason."""

from __future__ import annotations

from partisan_actors.cluster.view_events import NO_LINK

__all__ = ["advice_on"]

_VERSIONS = "run one version of partisan_actors on both nodes; of what came nothing was taken in"
_NOTHING = "nothing is to be done: it came too late, as it does where links come and go"
_OVERLAY = "run one version of the topology, with one set of parameters, on all nodes; the message was dropped"
_TOPOLOGY = "install that topology under its entry point on this node, too, or switch the cluster back"

_BY_EVENT = {
    "records_refused": "run one version of partisan_actors on both nodes; the rest of what came was taken in",
    "overlay_message_refused": _OVERLAY,
    "names_refused": _VERSIONS,
    "broadcast_refused": _VERSIONS,
    "broadcast_unheard": "call register_handler for it on this node, too; it is kept for that for a while",
    "undecodable_message": "run one version of the program on both nodes: a class is to be known on both by one name",
}
_BY_REASON = {
    ("records_refused", NO_LINK): _NOTHING,
    ("records_refused", "oversized"): _VERSIONS,
    ("records_refused", "payload"): _VERSIONS,
    ("records_refused", "table full"): "there are more members than a node knows: make it fewer, or two clusters",
    ("records_refused", "another life"): "see whether two nodes of that name run: stop one of them",
    ("overlay_message_refused", "malformed"): _VERSIONS,
    ("overlay_message_refused", "of another overlay"): "see in the lines before why this node runs another topology",
    ("broadcast_refused", "of a stranger"): _NOTHING,
    ("broadcast_refused", "too many missing"): "see whether that node announces what it does not send, and restart it",
}
_NO_TOPOLOGY = ("there is no topology", "this is no topology", "topology ")  # so begins why there is none


def advice_on(event: str, reason: str, *, late: bool = False) -> str:
    """What to do about it.

    Args:
        event: the line's name.
        reason: why it was refused.
        late: it was right once.
    """
    if late:
        return _NOTHING
    if event == "records_refused" and reason.startswith(_NO_TOPOLOGY):
        return _TOPOLOGY
    return _BY_REASON.get((event, reason)) or _BY_EVENT[event]
