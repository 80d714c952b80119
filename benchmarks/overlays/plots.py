"""The plots of the experiments as PNG files, of what was kept. Only this module knows matplotlib, and no display."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Literal

import networkx
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, MultipleLocator, NullFormatter

from benchmarks.overlays.plumtree import AFTER, FIRST, ONE, SHARED
from benchmarks.overlays.published import DEGREES, FLOODING_RMR, RELIABILITY
from benchmarks.overlays.summary import Summary, number

__all__ = ["draw_all"]

# Okabe and Ito's colours, which eyes of every kind tell apart; the markers say the same without colour.
_BLUE, _SKY, _GREEN, _RED, _ORANGE, _PINK = "#0072B2", "#56B4E9", "#009E73", "#D55E00", "#E69F00", "#CC79A7"
_PAPER: dict[str, Any] = {"color": "black", "linestyle": "--", "linewidth": 1.1, "alpha": 0.6}
_LOOKS = {"hyparview": ("HyParView", _BLUE, "o"), "xbot": ("X-BOT", _GREEN, "^")}


def draw_all(found: Mapping[str, Summary], folder: Path) -> dict[str, list[Path]]:
    """The plots of those experiments that there are; the files, by experiment."""
    drawn: dict[str, list[Path]] = {}
    for name, file, draw, columns, height in (
        ("hyparview", "reliability", _reliability, 3, 4.6),
        ("hyparview", "degrees", _degrees, 1, 4.2),
        ("xbot", "xbot", _xbot, 2, 4.6),
        ("map", "xbot-map", _map, 2, 5.5),
        ("plumtree", "plumtree", _plumtree, 2, 4.6),
        ("routing", "routing", _routing, 2, 4.6),
    ):
        if name in found:
            canvas = Canvas(figsize=(1.2 + 4.6 * columns, height), layout="constrained")
            FigureCanvasAgg(canvas)
            panels = list(canvas.subplots(1, columns, squeeze=False)[0])
            canvas.suptitle(draw(found[name], panels))
            path = folder / f"{file}.png"
            canvas.savefig(path, dpi=150)
            drawn.setdefault(name, []).append(path)
    return drawn


def _size(found: Summary) -> str:
    seeds = len(found.runs)
    return f"{found.runs[0].parameters['nodes']:,} nodes, {seeds} seed{'s' * (seeds > 1)}"


def _series(
    panel: Axes, found: Summary, figure: str, system: str, look: tuple[str, str, str], beside: float = 0.0
) -> None:
    """Medians along the axis, and the range over the seeds."""
    label, colour, marker = look
    places, middles, lows, highs = found.medians(figure, system)
    if not places:
        return
    below = [middle - low for middle, low in zip(middles, lows, strict=True)]
    above = [high - middle for middle, high in zip(middles, highs, strict=True)]
    panel.errorbar(
        [place + beside for place in places], middles, yerr=[below, above],
        color=colour, marker=marker, markersize=5, linewidth=1.4, capsize=2.5, label=label,
    )  # fmt: skip


_Corner = Literal["best", "lower left", "lower right", "upper left", "center"]


def _dress(panel: Axes, across: str, up: str, legend: _Corner | None = "best") -> None:
    panel.set_xlabel(across)
    panel.set_ylabel(up)
    panel.grid(True, axis="y", alpha=0.35)
    if legend is not None and panel.get_legend_handles_labels()[0]:
        panel.legend(fontsize=8, loc=legend)


def _reliability(found: Summary, panels: Sequence[Axes]) -> str:
    whole, near, cycles = panels
    died, repair = "nodes that died at once, %", ("no repair", "one pass", "two passes")
    looks = ((_RED, "v"), (_BLUE, "o"), (_GREEN, "^"))
    for panel in (whole, near):
        for kind, look, beside in zip(repair, looks, (-0.5, 0.0, 0.5), strict=True):
            shown = {"no repair": "ours, before any repair", "one pass": "ours, after one repair pass"}
            label = shown.get(kind, "ours, after two")
            _series(panel, found, f"reached, {kind}", "", (label, *look), beside if panel is near else 0.0)
        label = "HyParView's paper, figure 2 (its shape)"
        panel.plot(list(RELIABILITY), list(RELIABILITY.values()), label=label, marker="x", zorder=5, **_PAPER)
        _dress(panel, died, "survivors that a message reaches, %", "lower left" if panel is whole else None)
    whole.set_ylim(-3, 103)
    near.set_title("the same, enlarged: the scale begins at 80 %", fontsize=10)
    near.set_xlim(48, 97.5)
    near.set_ylim(79.5, 100.8)
    near.yaxis.set_major_locator(MultipleLocator(5))
    _series(cycles, found, "cycles until one overlay", "", ("ours", _BLUE, "o"))
    cycles.set_title("all survivors in one overlay, the cluster view helping", fontsize=10)
    cycles.yaxis.set_major_locator(MaxNLocator(integer=True))
    cycles.set_ylim(-0.2, max(3.0, cycles.get_ylim()[1]))
    _dress(cycles, died, "cycles after the repair")
    for panel in (whole, cycles):
        panel.xaxis.set_major_locator(FixedLocator([10, 20, 30, 40, 50, 60, 70, 80, 90]))
    return f"HyParView, mass failures: {_size(found)}, medians and ranges"


def _degrees(found: Summary, panels: Sequence[Axes]) -> str:
    (panel,) = panels
    shares = {}
    for degree in range(6):
        values = found.values("nodes of this degree", x=degree)
        shares[degree] = median(values + [0.0] * (len(found.runs) - len(values)))
    looks = (
        (DEGREES, "paper, figure 5 (its shape)", "#999999", -0.2),
        (shares, "ours, median of the seeds", _BLUE, 0.2),
    )
    for source, label, colour, beside in looks:
        heights = [source.get(degree, 0.0) for degree in range(6)]
        bars = panel.bar([degree + beside for degree in range(6)], heights, 0.38, color=colour, label=label)
        texts = [f"{'~' * (source is DEGREES)}{number(height)}" if height else "" for height in heights]
        panel.bar_label(bars, texts, fontsize=8, padding=2)
    panel.set_ylim(0, 112)
    _dress(panel, "neighbours of a node", "nodes, %", "upper left")
    return f"HyParView, degrees: {_size(found)}"


def _xbot(found: Summary, panels: Sequence[Axes]) -> str:
    costs, reached = panels
    for system, look in _LOOKS.items():
        places, middles, lows, highs = found.medians("cost of all links", system)
        label, colour, _ = look
        costs.plot(places, middles, color=colour, linewidth=1.6, label=label)
        costs.fill_between(places, lows, highs, color=colour, alpha=0.2, linewidth=0)
        _series(reached, found, "reached, one pass", system, look, -0.6 if system == "hyparview" else 0.6)
    last = found.medians("cost of all links", "hyparview")[1][-1]
    costs.axhline(last / 2, label="half of HyParView's: the paper is below", **_PAPER)
    costs.set_ylim(0, None)
    _dress(costs, "cycles since the last join", "cost of all links together, s of round trips")
    lowest = 10 * (min(90.0, reached.get_ylim()[0]) // 10)
    reached.set_ylim(lowest, 100.5)
    reached.set_title(f"enlarged: the scale begins at {lowest:.0f} %", fontsize=10)
    reached.xaxis.set_major_locator(MultipleLocator(10))
    _dress(reached, "nodes that died at once, %", "survivors reached after one repair pass, %", "lower left")
    return f"X-BOT beside HyParView on a clustered map: {_size(found)}"


def _map(found: Summary, panels: Sequence[Axes]) -> str:
    clusters = found.runs[0].parameters["clusters"]
    nodes = [int(x) for x in found.xs("place, from left")]
    places = {
        node: (found.values("place, from left", x=node)[0], found.values("place, from below", x=node)[0])
        for node in nodes
    }
    for panel, (system, (label, colour, _)) in zip(panels, _LOOKS.items(), strict=True):
        graph = networkx.Graph()
        graph.add_nodes_from(nodes)
        for node in found.xs("link", system):
            graph.add_edges_from((int(node), int(peer)) for peer in found.values("link", system, node))
        networkx.draw_networkx_edges(graph, places, ax=panel, edge_color=colour, alpha=0.16, width=0.7)
        networkx.draw_networkx_nodes(graph, places, ax=panel, node_size=3, node_color="black")
        within = sum(node % clusters == peer % clusters for node, peer in graph.edges) / graph.number_of_edges()
        panel.set_title(
            f"{label}: {graph.number_of_edges():,} links, {100 * within:.0f} % within a cluster", fontsize=10
        )
        panel.set_aspect("equal")
        panel.tick_params(left=True, bottom=True, labelleft=True, labelbottom=True)
        _dress(panel, "place, in 200 ms of round trip", "place, in 200 ms of round trip")
        panel.grid(False)
    return f"Where the links go on the map: {_size(found)}, {clusters} clusters"


def _plumtree(found: Summary, panels: Sequence[Axes]) -> str:
    redundancy, hops = panels
    looks = {FIRST: (_ORANGE, "D"), ONE: (_BLUE, "o"), SHARED: (_GREEN, "^"), AFTER: (_RED, "v")}
    for phase, (colour, marker) in looks.items():
        for panel, figure in ((redundancy, "RMR"), (hops, "LDH")):
            where, mean, low, high = found.medians(figure, phase)
            # The first ones are of several kinds: the very first is on no tree, the last the first on the root's own.
            line = "none" if phase == FIRST else "-"
            look: dict[str, Any] = {"color": colour, "marker": marker, "linestyle": line}
            panel.plot(where, mean, label=phase, linewidth=1.0, markersize=3.5, **look)
            panel.fill_between(where, low, high, color=colour, alpha=0.2, linewidth=0)
    places, middles = [], []
    for phase in looks:
        where, floods, _, _ = found.medians("a flood's LDH", phase)
        places += where
        middles += floods
    hops.step(places, middles, where="mid", color="black", linewidth=1.2, label="a flood from the same root, ours")
    redundancy.axhline(FLOODING_RMR, label="flooding, in the paper", **_PAPER)
    redundancy.axhline(0.0, color="black", linestyle=":", linewidth=1.1, label="Plumtree in steady state, in the paper")
    begins = found.xs("RMR", AFTER)[0] - 0.5
    failed = found.runs[0].parameters["failed"]
    for panel in panels:
        panel.axvline(begins, color=_RED, linewidth=0.8, alpha=0.6)
        panel.annotate(
            f"{failed} % die", (begins, 0.12), (-4, 0), xycoords=("data", "axes fraction"), textcoords="offset points",
            ha="right", va="bottom", rotation=90, fontsize=8, color=_RED,
        )  # fmt: skip
    redundancy.set_ylim(-0.15, None)
    hops.set_ylim(0, None)
    _dress(redundancy, "broadcast", "RMR: payloads for each receiver, less one", "center")
    _dress(hops, "broadcast", "LDH: hops of the last delivery", "lower left")
    return f"Plumtree over HyParView: {_size(found)}"


def _routing(found: Summary, panels: Sequence[Axes]) -> str:
    looks = {"first": (_ORANGE, "--"), "quiet": (_BLUE, "-"), "broken": (_RED, "--"), "mended": (_GREEN, "-")}
    shown = {
        "first": "first round, ways are looked up",
        "quiet": "second round",
        "broken": "a tenth has just died",
        "mended": "and once more",
    }
    for panel, latency in zip(panels, ("unit", "clustered"), strict=True):
        for round_, (colour, line) in looks.items():
            places, middles, _, _ = found.medians("stretch", f"{latency}, {round_}")
            if places:
                (mean,) = (median(found.values("mean stretch", f"{latency}, {round_}")),)
                label = f"{shown[round_]}: mean {number(mean)}"
                panel.plot(middles, places, line, color=colour, linewidth=1.5, label=label, drawstyle="steps-post")
        titles = {"unit": "each link takes the same", "clustered": "links within ten places and between them"}
        panel.set_title(titles[latency], fontsize=10)
        panel.set_xscale("log")
        panel.set_xlim(0.98, None)
        panel.set_ylim(48, 101.5)
        panel.xaxis.set_major_locator(FixedLocator([1, 1.2, 1.5, 2, 3, 5, 10, 20]))
        panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        panel.xaxis.set_minor_formatter(NullFormatter())
        _dress(panel, "stretch: the way taken / the best one", "frames with no more than that, %", "lower right")
    return f"Routing over HyParView: {_size(found)}, {found.runs[0].parameters['destinations']} destinations"
