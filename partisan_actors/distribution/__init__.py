"""A message's way to another node: bytes between node lives, exactly once, in order, over connections that break."""

from partisan_actors.distribution.conduits import Conduits
from partisan_actors.distribution.contact import JoinFailure
from partisan_actors.distribution.counters import Counters
from partisan_actors.distribution.live_session import Session
from partisan_actors.distribution.peers import Peers
from partisan_actors.distribution.ports import LocalIdentity, PeerEvents, PeerParameters

__all__ = ["Conduits", "Counters", "JoinFailure", "LocalIdentity", "PeerEvents", "PeerParameters", "Peers", "Session"]
