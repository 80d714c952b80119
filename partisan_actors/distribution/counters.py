"""What the distribution layer counts, from its start on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

__all__ = ["Counters"]


@dataclass(slots=True)
class Counters:
    """Plain numbers, raised where things happen; bytes are those of signals sent, and of all bodies received."""

    frames_sent: int = 0
    frames_received: int = 0
    frames_resent: int = 0
    frames_duplicate: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    dialled: int = 0
    """Connections that we made, proven or not."""
    accepted: int = 0
    """Connections that others made to us, but for those that were one too many."""
    closed: int = 0
    """Of both."""
    probes: int = 0
    """Looks whether a node answers, those of others included."""
    connections: int = 0
    """Proven connections that are, or were."""
    connections_lost: int = 0
    """Proven connections that ended while their session went on."""
    stream_connections: int = 0
    """Of the proven ones, those for one stream of a channel."""
    stream_connections_lost: int = 0
    """Of these, those that ended while their session went on."""
    channels_up: Counter[str] = field(default_factory=Counter)
    """Connections for one stream of a channel, by the channel's name."""
    channels_down: Counter[str] = field(default_factory=Counter)
    """Of these, those that are no more."""
    superseded: int = 0
    """Messages dropped for a newer one in monotonic channels of sessions that ended."""
    sessions_started: int = 0
    sessions_ended: Counter[str] = field(default_factory=Counter)
    """By reason, at most 64 reasons apart."""
    refusals: Counter[str] = field(default_factory=Counter)
    """Connections that did not come to be, by reason: of those that dialled us, and of our own."""
    broken_envelopes: int = 0
