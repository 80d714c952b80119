"""The overlays that run at this node, each for one version of the cluster's topology, and what they want. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from partisan_actors.cluster.membership import Membership
from partisan_actors.cluster.topology_fact import TopologyFact
from partisan_actors.topologies.overlay import Overlay

__all__ = ["OverlayRun", "OverlayRuns"]


class OverlayRun:
    """One of them: while the cluster switches there are two."""

    __slots__ = ("fact", "overlay", "wanted")

    def __init__(self, fact: TopologyFact, machine: Overlay) -> None:
        self.fact = fact
        self.overlay = machine
        self.wanted: dict[str, None] = {}  # those that it has said Connect for


class OverlayRuns:
    """Those that run, and which of the links that they want there are: what others ask the peer service."""

    def __init__(self, cluster_view: Membership, run: OverlayRun) -> None:
        self.view = cluster_view
        self._run = run
        self._former: OverlayRun | None = None  # the run before, until the switch is over
        self._links: dict[str, int] = {}  # the bits of those that there is a link to
        self._sorted: list[str] | None = None  # their names, until it changes
        self._failed: set[str] = set()  # those wanted that could not be reached

    @property
    def topology(self) -> tuple[str, int]:
        """The name and version of the one it runs with."""
        return self._run.fact.name, self._run.fact.version

    def linked(self, node: str) -> bool:
        """Whether there is a link to it."""
        return node in self._links

    def links(self) -> list[str]:
        """Those that there is a link to, sorted."""
        if self._sorted is None:
            self._sorted = sorted(self._links)
        return self._sorted

    def wanted(self) -> list[str]:
        """Those that the overlays want a link to, sorted."""
        return sorted({node for run in self._runs() for node in run.wanted})

    def neighbours(self) -> list[str]:
        """Those of them that there is one to."""
        return [node for node in self.wanted() if node in self._links]

    def undecided(self) -> list[str]:
        """Those of them that are members, and were neither reached nor given up so far."""
        missing = [node for node in self.wanted() if node not in self._links and node not in self._failed]
        return [node for node in missing if self.view.table.alive(node)]

    def _runs(self) -> Sequence[OverlayRun]:
        return (self._run,) if self._former is None else (self._run, self._former)

    def _is_wanted(self, node: str) -> bool:
        return any(node in run.wanted for run in self._runs())
