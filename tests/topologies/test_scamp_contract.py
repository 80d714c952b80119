"""SCAMP, both versions, put through what every overlay has to do."""

from __future__ import annotations

from partisan_actors.testing.overlay_contract import OverlayContract
from partisan_actors.topologies import Scamp


class TestVersion2(OverlayContract):
    settle = 150.0  # what is stale is found by the heartbeats that do not come for 100 s
    idle_messages = 1.6  # to each of up to 15, every 10 s

    def topology(self):
        return Scamp()


class TestVersion1(TestVersion2):
    def topology(self):
        return Scamp(version=1)


class TestShortLeases(OverlayContract):
    settle = 60.0
    idle_messages = 30.0  # nearly all for renewals

    def topology(self):
        return Scamp(c=2, heartbeat=2.0, isolation=10.0, lease=40.0)
