"""The parameters of a node's protocols that a program may choose."""

from __future__ import annotations

from typing import Any, NamedTuple

from partisan_actors.cluster.broadcast_events import PlumtreeParameters
from partisan_actors.cluster.view_parameters import MembershipParameters
from partisan_actors.distribution.routing_parameters import RoutingParameters

__all__ = ["ProtocolParameters", "checked_parameters"]


class ProtocolParameters(NamedTuple):
    """Those of the cluster's view, of the ways to members without a link, and of broadcasts."""

    view: MembershipParameters
    routing: RoutingParameters
    broadcast: PlumtreeParameters


def checked_parameters(view: Any, routing: Any, broadcast: Any) -> ProtocolParameters:
    """What was given to a node, each None for the default. Raises TypeError: it is something else."""
    return ProtocolParameters(
        _checked("view", view, MembershipParameters),
        _checked("routing", routing, RoutingParameters),
        _checked("broadcast", broadcast, PlumtreeParameters),
    )


def _checked(option: str, given: Any, kind: type[Any]) -> Any:
    if given is None:
        return kind()
    if not isinstance(given, kind):
        raise TypeError(f"{option} is {kind.__name__}(...) of partisan_actors.parameters, or None, not {given!r}")
    return given
