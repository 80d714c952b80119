"""The parameters of a node's protocols, as `Node` takes them.

    Node("orders@10.0.0.7", broadcast=PlumtreeParameters(retention=600.0))

Each is a frozen record, whose fields say what they mean, in seconds and bytes, and what has to hold between them: else
it is a ValueError that names the relation. They are the same on all nodes of a cluster, or nearly; none compares them.
"""

from __future__ import annotations

from partisan_actors.cluster.broadcast_events import PlumtreeParameters
from partisan_actors.cluster.records import RecordLimits
from partisan_actors.cluster.suspicion import SuspicionParameters
from partisan_actors.cluster.view_parameters import MembershipParameters
from partisan_actors.distribution.routing_parameters import RoutingParameters

__all__ = ["MembershipParameters", "PlumtreeParameters", "RecordLimits", "RoutingParameters", "SuspicionParameters"]
