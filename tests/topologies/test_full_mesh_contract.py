"""The full mesh, put through what every overlay has to do."""

from __future__ import annotations

from partisan_actors.testing.overlay_contract import OverlayContract
from partisan_actors.topologies import FullMesh


class TestFullMesh(OverlayContract):
    full = True
    idle_messages = 0.0

    def topology(self):
        return FullMesh()
