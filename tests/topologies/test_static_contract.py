"""Static, put through what every overlay has to do: a tree, of the joins."""

from __future__ import annotations

from partisan_actors.testing.overlay_contract import OverlayContract
from partisan_actors.topologies import Static


class TestStatic(OverlayContract):
    heals = False
    idle_messages = 0.0

    def topology(self):
        return Static()
