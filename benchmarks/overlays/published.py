"""The papers' values, and what is aimed at. Neither is a condition: they stand beside ours.

HyParView's are table 1 of DSN 2007 and the shapes of its figures 2 and 5, Plumtree's (SRDS 2007) and X-BOT's (SRDS
2009) are what their plots show. `~` is before what is a shape and no number.
"""

from __future__ import annotations

__all__ = ["DEGREES", "FLOODING_RMR", "RELIABILITY", "paper", "wanted"]

RELIABILITY = dict.fromkeys((10, 20, 30, 40, 50, 60, 70, 80, 90), 100.0) | {95: 90.0}
"""HyParView's figure 2: percent of the survivors that messages reach, by the percent that died."""

DEGREES = {5: 100.0}
"""HyParView's figure 5: percent of the nodes, by the degree."""

FLOODING_RMR = 3.0
"""Of a flood with fanout 4: three copies too many for each node."""

_PAPER: dict[tuple[str, str, float | None], str] = {
    ("hyparview", "mean path", None): "6.385",
    ("hyparview", "hops to the last node", None): "9.0",
    ("hyparview", "clustering", None): "0.00092",
    ("hyparview", "nodes of this degree", 5): "~100",
    ("hyparview", "one-way entries", None): "0",
    ("hyparview", "parts", None): "1",
    ("hyparview", "passive view", None): "30",
    ("plumtree", "reached by each broadcast, at the least", None): "100",
    ("plumtree", "RMR of a flood: a root's first on its own tree", None): "~3",
    ("plumtree", "RMR, one root", None): "~0",
    ("plumtree", "RMR, roots by chance", None): "~0",
    ("plumtree", "LDH / a flood's, one root", None): "~1",
    ("plumtree", "LDH / a flood's, roots by chance", None): "above 1",
    ("plumtree", "control messages for a node and broadcast", None): "~3",
    ("plumtree", "reached after the failures, at the least", None): "100",
    ("plumtree", "RMR after the failures, from the sixth", None): "~0",
    ("xbot", "cost of all links, of HyParView's", None): "below 50",
    ("xbot", "one-way entries", None): "0",
    ("xbot", "parts", None): "1",
}
_PAPER |= {("hyparview", "reached, one pass", share): f"~{value:g}" for share, value in RELIABILITY.items()}

_WANTED: dict[tuple[str, str, float | None], str] = {
    ("hyparview", "mean path", None): "6.38 ± 0.05",
    ("hyparview", "clustering", None): "≤ 0.0025",
    ("hyparview", "nodes of this degree", 5): "≥ 99.5",
    ("hyparview", "one-way entries", None): "0",
    ("hyparview", "parts", None): "1",
    ("hyparview", "reached, one pass", 90): "≥ 99.5",
    ("hyparview", "reached, two passes", 95): "≥ 90",
    ("plumtree", "reached by each broadcast, at the least", None): "100",
    ("plumtree", "RMR, one root", None): "< 0.01",
    ("plumtree", "RMR, roots by chance", None): "< 0.01",
    ("plumtree", "LDH / a flood's, one root", None): "≤ 1.2",
    ("plumtree", "reached after the failures, at the least", None): "100",
    ("plumtree", "and the broadcasts over", None): "< 300",
    ("xbot", "cost of all links, of HyParView's", None): "< 50",
    ("xbot", "one-way entries", None): "0",
    ("xbot", "parts", None): "1",
    ("storm", "parts of the overlay", None): "1",
    ("storm", "one-way entries", None): "0",
    ("storm", "wrongly told that one is down", None): "0",
    ("views", "parts of the overlay", None): "1",
    ("views", "one-way entries", None): "0",
    ("views", "wrongly told that one is down", None): "0",
    ("routing", "arrived", None): "100",
    ("routing", "mean stretch", None): "≤ 1.3",
    ("routing", "data frames per hop", None): "≤ 1.05",
}
_WANTED |= {("hyparview", "reached, one pass", share): "100" for share in range(10, 90, 10)}
_WANTED |= {("hyparview", "cycles until one overlay", share): "≤ 5" for share in RELIABILITY}


def paper(experiment: str, figure: str, x: float | None = None) -> str:
    """The paper's value; empty where it has none."""
    return _PAPER.get((experiment, figure, x), "")


def wanted(experiment: str, figure: str, x: float | None = None) -> str:
    """What is aimed at; empty where nothing is."""
    return _WANTED.get((experiment, figure, x), "")
