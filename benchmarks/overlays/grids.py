"""The tables of each experiment: ours, the median of the seeds with the lowest and the highest, beside the paper's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from benchmarks.overlays.published import paper, wanted
from benchmarks.overlays.summary import Summary, number, spread

__all__ = ["Grid", "grids_of", "tcp_grid"]


class Grid(NamedTuple):
    """A table of texts."""

    title: str
    headings: list[str]
    rows: list[list[str]]

    def markdown(self) -> list[str]:
        """Its lines; the first column is to the left."""
        ends = ["---", *["---:"] * (len(self.headings) - 1)]
        return [_line(self.headings), _line(ends), *(_line(row) for row in self.rows)]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def grids_of(name: str, found: Summary) -> list[Grid]:
    """Those of the experiment."""
    return _MADE_BY.get(name, _plain)(name, found)


def _plain(name: str, found: Summary) -> list[Grid]:
    """A row for each figure of one value."""
    rows = [
        [_with_unit(figure, found), paper(name, figure), wanted(name, figure), spread(found.values(figure))]
        for figure in found.figures()
    ]
    return [_drop_empty(Grid("", ["", "paper", "wanted", "ours"], rows))]


def _with_unit(figure: str, found: Summary) -> str:
    unit = found.unit(figure)
    return f"{figure}, {unit}" if unit else figure


def _drop_empty(grid: Grid) -> Grid:
    """Without columns that say nothing."""
    kept = [index for index, heading in enumerate(grid.headings) if not heading or any(row[index] for row in grid.rows)]
    return Grid(grid.title, [grid.headings[i] for i in kept], [[row[i] for i in kept] for row in grid.rows])


def _hyparview(name: str, found: Summary) -> list[Grid]:
    (shape,) = _plain(name, found)
    degrees = []
    for degree in range(6):
        shares = found.values("nodes of this degree", x=degree)
        shares += [0.0] * (len(found.runs) - len(shares))  # a seed without such a node has no row of it
        figure = f"nodes of degree {degree}, %"
        place = (name, "nodes of this degree", degree)
        degrees.append([figure, paper(*place) or "~0", wanted(*place), spread(shares)])
    return [Grid(shape.title, shape.headings, shape.rows + degrees), _reliability(name, found, "")]


def _reliability(name: str, found: Summary, system: str) -> Grid:
    title = "Survivors that a message reaches after so many nodes have died at once, %"
    headings = ["died, %", "paper", "no repair", "one pass", "two passes", "cycles until one overlay, with the view"]
    rows = []
    for share in found.xs("reached, one pass", system):
        ours = [
            spread(found.values(figure, system, share))
            for figure in ("reached, no repair", "reached, one pass", "reached, two passes", "cycles until one overlay")
        ]
        rows.append([number(share), paper(name, "reached, one pass", share), *ours])
    return Grid(title, headings, rows)


def _xbot(name: str, found: Summary) -> list[Grid]:
    last = max(found.xs("cost of all links", "xbot"))
    costs = {system: found.values("cost of all links", system, last) for system in ("hyparview", "xbot")}
    ratio = [100 * ours / theirs for ours, theirs in zip(costs["xbot"], costs["hyparview"], strict=True)]
    figure = "cost of all links, of HyParView's"
    rows = [["cost of all links, s", "", "", *(spread(costs[system]) for system in costs)]]
    rows.append([f"{figure}, %", paper(name, figure), wanted(name, figure), "100", spread(ratio)])
    for figure in found.figures("xbot"):
        ours = [spread(found.values(figure, system)) for system in costs]
        rows.append([_with_unit(figure, found), paper(name, figure), wanted(name, figure), *ours])
    return [Grid("", ["", "paper", "wanted", "HyParView", "X-BOT"], rows), _xbot_reliability(found)]


def _xbot_reliability(found: Summary) -> Grid:
    title = "Survivors that a message reaches after so many nodes have died at once, %; and cycles until one overlay"
    kinds = {"reached, one pass": "one pass", "reached, two passes": "two passes", "cycles until one overlay": "cycles"}
    systems = {"hyparview": "HyParView", "xbot": "X-BOT"}
    headings = ["died, %", *(f"{shown}, {system}" for shown in kinds.values() for system in systems.values())]
    rows = [
        [number(share), *(spread(found.values(figure, system, share)) for figure in kinds for system in systems)]
        for share in found.xs("reached, one pass", "xbot")
    ]
    return Grid(title, headings, rows)


def _routing(name: str, found: Summary) -> list[Grid]:
    systems = found.systems()
    figures = found.figures(systems[0])
    rows = [["wanted, of the quiet", *(wanted(name, figure) for figure in figures)]]
    rows += [[system, *(spread(found.values(figure, system)) for figure in figures)] for system in systems]
    return [Grid("", ["latency, round", *(_with_unit(figure, found) for figure in figures)], rows)]


def tcp_grid(found: Mapping[str, Summary]) -> Grid:
    """All clusters over real TCP, side by side."""
    summaries = list(found.values())
    headings = ["", *(f"{_parameter(each, 'topology')}, {_parameter(each, 'nodes')}" for each in summaries)]
    figures = dict.fromkeys(figure for each in summaries for figure in each.figures())
    rows = [
        [_with_unit(figure, summaries[0]), *(spread(each.values(figure)) for each in summaries)] for figure in figures
    ]
    rows.append(["links of a node: from, to", *(_span(each) for each in summaries)])
    return Grid("", headings, rows)


def _parameter(found: Summary, name: str) -> str:
    value = found.runs[0].parameters[name]
    return f"{value:,}" if isinstance(value, int) else str(value).replace("_", " ")


def _span(found: Summary) -> str:
    degrees = found.xs("nodes with so many links")
    return f"{number(degrees[0])}, {number(degrees[-1])}" if degrees else "-"


def _nothing(name: str, found: Summary) -> list[Grid]:
    return []


_MADE_BY: dict[str, Callable[[str, Summary], list[Grid]]] = {
    "hyparview": _hyparview,
    "xbot": _xbot,
    "map": _nothing,
    "routing": _routing,
}
