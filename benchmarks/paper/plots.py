"""The figures as PNG files. Only this module knows matplotlib, and draws without a display."""

from __future__ import annotations

from pathlib import Path

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from benchmarks.paper.catalogue import (
    AFFINITY,
    CHANNELS,
    ERLANG,
    ONE,
    SIXTEEN,
    TUNED,
    UNTUNED,
    Figure,
    System,
    size_name,
)
from benchmarks.paper.published import ACTORS, published
from benchmarks.paper.records import Cell
from benchmarks.paper.summary import Results, Value, value_at
from benchmarks.paper.tables import heading

__all__ = ["draw"]

PAPER = "paper 2019 (draft)"

# Okabe and Ito's colours, which eyes of every kind tell apart; the markers say the same without colour.
_LOOKS = {
    ONE.name: ("#56B4E9", "o"),
    SIXTEEN.name: ("#0072B2", "s"),
    AFFINITY.name: ("#009E73", "^"),
    CHANNELS.name: ("#CC79A7", "D"),
    ERLANG.name: ("#D55E00", "v"),
    UNTUNED.name: ("#E69F00", "P"),
    TUNED.name: ("#000000", "X"),
}
_PAPER_LOOKS = ("#D55E00", "#56B4E9", "#009E73")


def draw(results: Results, figure: Figure, delayed: bool, folder: Path) -> Path:
    """Draw a figure of the paper, a panel for each size; gives the file."""
    columns = len(figure.sizes)
    canvas = Canvas(figsize=(3.4 + 3.6 * columns, 5.6 if columns == 1 else 5.0), layout="constrained")
    FigureCanvasAgg(canvas)
    canvas.suptitle(heading(figure, delayed))
    panels = canvas.subplots(1, columns, squeeze=False)[0]
    for size, panel in zip(figure.sizes, panels, strict=True):
        if figure.by_connections:
            _draw_connections(panel, results, figure, size)
        else:
            _draw_systems(panel, results, figure, size, delayed)
        _dress(panel, figure, size)
    cut = any(one.outcome.cut for key, found in results.items() if key[0] == figure.number for one in found)
    _explain(canvas, list(panels), cut)
    path = folder / f"figure-{figure.number}.png"
    canvas.savefig(path, dpi=150)
    return path


def _explain(canvas: Canvas, panels: list[Axes], cut: bool) -> None:
    """One legend for all panels: the systems, the paper's, and what an open marker is."""
    entries: dict[str, Artist] = {}
    for panel in panels:
        handles, labels = panel.get_legend_handles_labels()
        entries |= dict(zip(labels, handles, strict=True))
    entries = dict(sorted(entries.items(), key=lambda entry: entry[0].startswith(PAPER)))
    if cut:
        marker = Line2D([], [], linestyle="", color="grey", marker="o", markerfacecolor="white")
        entries["open: cut off, more in truth"] = marker
    if entries:
        columns = min(3, len(panels) + 1)
        canvas.legend(list(entries.values()), list(entries), loc="outside lower center", ncols=columns, fontsize=8)


def _draw_systems(panel: Axes, results: Results, figure: Figure, size: int, delayed: bool) -> None:
    places = range(len(figure.actors))
    for index, system in enumerate(figure.systems):
        points = [(place, value_at(results, figure, system, Cell(size, figure.actors[place]))) for place in places]
        beside = (index - (len(figure.systems) - 1) / 2) * 0.04  # so that error bars do not cover each other
        _draw_series(panel, system, [(place + beside, value) for place, value in points if value is not None])
    if delayed and figure.actors == ACTORS:
        for colour, (name, values) in zip(
            _paper_colours(figure, size), published(figure.number, size).items(), strict=False
        ):
            panel.plot(places, values, "--", color=colour, alpha=0.45, linewidth=1, label=f"{PAPER}: {name}")
    panel.set_xticks(list(places), [str(actors) for actors in figure.actors])
    panel.set_xlabel("actors")


def _paper_colours(figure: Figure, size: int) -> tuple[str, ...]:
    return _PAPER_LOOKS if len(published(figure.number, size)) == 3 else (_PAPER_LOOKS[0], _PAPER_LOOKS[2])


def _draw_connections(panel: Axes, results: Results, figure: Figure, size: int) -> None:
    (actors,) = figure.actors
    values = [value_at(results, figure, system, Cell(size, actors)) for system in figure.systems]
    series = [(float(place), value) for place, value in enumerate(values) if value is not None]
    _draw_series(panel, AFFINITY._replace(name=f"ours, affinity, {actors} actors"), series)
    panel.set_xticks(range(len(values)), [str(system.parallelism) for system in figure.systems])
    panel.set_xlabel("connections")


def _draw_series(panel: Axes, system: System, points: list[tuple[float, Value]]) -> None:
    if not points:
        return
    colour, marker = _LOOKS.get(system.name, ("#009E73", "^"))
    centers = [value.center for _, value in points]
    below = [max(0.0, value.center - value.low) for _, value in points]
    above = [max(0.0, value.high - value.center) for _, value in points]
    panel.errorbar(
        [place for place, _ in points],
        centers,
        yerr=[below, above],
        color=colour,
        marker=marker,
        markersize=5,
        linewidth=1.4,
        capsize=2.5,
        label=system.name,
    )
    for place, value in points:
        if value.cut:
            panel.plot([place], [value.center], marker, color=colour, markerfacecolor="white", markersize=6, zorder=5)


def _dress(panel: Axes, figure: Figure, size: int) -> None:
    panel.set_yscale("log")
    if len(figure.sizes) > 1:
        panel.set_title(size_name(size), fontsize=10)
    what = "median latency of a request, ms" if figure.is_latency else "completed requests per second"
    panel.set_ylabel(what)
    panel.grid(True, which="major", axis="y", alpha=0.4)
    panel.grid(True, which="minor", axis="y", alpha=0.15)
    panel.yaxis.set_major_formatter(FuncFormatter(_tick))
    panel.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: _tick(value) if f"{value:e}"[0] in "25" else ""))


def _tick(value: float, _: object = None) -> str:
    return f"{value:,.10g}"
