"""What the papers measure of an overlay's graph: paths, clustering, degrees, and how far a flood gets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from random import Random

__all__ = ["Graph", "components", "degrees", "flood", "graph_of", "mean_clustering", "one_way", "paths", "reliability"]

Graph = list[list[int]]


def graph_of(views: Mapping[str, Sequence[str]]) -> Graph:
    """Each node's neighbours that are in the graph themselves, by their places in the order of `views`."""
    place = {name: index for index, name in enumerate(views)}
    return [[place[peer] for peer in view if peer in place] for view in views.values()]


def degrees(graph: Graph) -> dict[int, int]:
    """How many nodes have so many neighbours."""
    return dict(sorted(Counter(map(len, graph)).items()))


def one_way(graph: Graph) -> int:
    """The entries whose other end does not have them."""
    return sum(node not in graph[peer] for node, view in enumerate(graph) for peer in view)


def mean_clustering(graph: Graph) -> float:
    """Of the pairs of a node's neighbours, how many are neighbours themselves; the mean over the nodes."""
    total = 0.0
    for view in graph:
        if len(view) > 1:
            edges = sum(other in graph[peer] for peer in view for other in view if other != peer)
            total += edges / (len(view) * (len(view) - 1))
    return total / len(graph)


def flood(graph: Graph, source: int) -> list[int]:
    """How many nodes are reached at each hop from the source, which is the first."""
    seen = bytearray(len(graph))
    seen[source] = 1
    front, sizes = [source], []
    while front:
        sizes.append(len(front))
        following = []
        for node in front:
            for peer in graph[node]:
                if not seen[peer]:
                    seen[peer] = 1
                    following.append(peer)
        front = following
    return sizes


def paths(graph: Graph, sources: Sequence[int]) -> tuple[float, float, int]:
    """From these sources: the mean length of the shortest paths, the mean of the longest, and the longest of all."""
    hops = pairs = longest = eccentricities = 0
    for source in sources:
        sizes = flood(graph, source)
        hops += sum(distance * size for distance, size in enumerate(sizes))
        pairs += sum(sizes) - 1
        eccentricities += len(sizes) - 1
        longest = max(longest, len(sizes) - 1)
    return hops / max(pairs, 1), eccentricities / len(sources), longest


def components(graph: Graph) -> list[list[int]]:
    """The parts of the graph that are connected, the largest first."""
    seen = bytearray(len(graph))
    found = []
    for start in range(len(graph)):
        if not seen[start]:
            seen[start] = 1
            part = [start]
            for node in part:
                for peer in graph[node]:
                    if not seen[peer]:
                        seen[peer] = 1
                        part.append(peer)
            found.append(part)
    return sorted(found, key=len, reverse=True)


def reliability(graph: Graph, messages: int, random: Random) -> float:
    """The mean share of the nodes that messages from sources by chance reach by flooding."""
    reached = [0] * len(graph)
    for part in components(graph):
        for node in part:
            reached[node] = len(part)
    return sum(reached[int(random.random() * len(graph))] for _ in range(messages)) / messages / len(graph)
