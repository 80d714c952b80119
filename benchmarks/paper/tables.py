"""What came out, for the terminal: a table for each figure, and the summary beside the paper's headlines."""

from __future__ import annotations

from rich.table import Table

from benchmarks.paper.catalogue import Figure, System, size_name
from benchmarks.paper.published import ACTORS, LATENCY_HEADLINE, THROUGHPUT_HEADLINE, published
from benchmarks.paper.records import Cell
from benchmarks.paper.summary import Results, best_ratios, bound, rate_ratio, value_at

CUT_MARK = ">"
"""Before a value that is more in truth: what was under way when it was cut off is not counted."""

__all__ = ["CUT_MARK", "figure_table", "heading", "shown", "summary_table"]


def heading(figure: Figure, delayed: bool) -> str:
    """What the figure is; without the delay it is not the paper's."""
    network = f"round trip of {figure.round_trip:g} ms" if delayed else "plain loopback"
    return f"Figure {figure.number}: {figure.meaning}, {network}"


def shown(value: float) -> str:
    """Three digits or so."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.3g}"


def figure_table(results: Results, figure: Figure, delayed: bool) -> Table:
    """A row for each system and size."""
    spread = "median (range)" if figure.is_latency else "mean ± standard error"
    made = Table(title=f"{heading(figure, delayed)}; {figure.unit}, {spread}", title_justify="left")
    made.add_column("system", no_wrap=True)
    made.add_column("size", justify="right", no_wrap=True)
    for actors in figure.actors:
        made.add_column(f"{actors} actors", justify="right", no_wrap=True)
    for size in figure.sizes:
        for system in figure.systems:
            cells = [_cell(results, figure, system, Cell(size, actors)) for actors in figure.actors]
            made.add_row(system.name, size_name(size), *cells)
        for name, values in published(figure.number, size).items() if delayed else ():
            texts = [shown(values[ACTORS.index(actors)]) if actors in ACTORS else "" for actors in figure.actors]
            made.add_row(f"[dim]paper 2019 (draft): {name}", f"[dim]{size_name(size)}", *(f"[dim]{t}" for t in texts))
        made.add_section()
    return made


def _cell(results: Results, figure: Figure, system: System, cell: Cell) -> str:
    value = value_at(results, figure, system, cell)
    if value is None:
        return "-"
    if figure.is_latency:
        return f"{shown(value.center)} [dim]({shown(value.low)}-{shown(value.high)})[/dim]"
    return f"{CUT_MARK * value.cut}{shown(value.center)} [dim]± {shown(value.high - value.center)}[/dim]"


def summary_table(results: Results, figures: tuple[Figure, ...]) -> Table:
    """For each figure, where the best of ours is furthest ahead, and what bounds either side there."""
    title = (
        f"Best of ours against Erlang, where that is most. The paper's headlines: {THROUGHPUT_HEADLINE}x the "
        f"requests/s, latency {LATENCY_HEADLINE}x less"
    )
    made = Table(title=title, title_justify="left", show_lines=True)
    for name in (
        "figure",
        "against",
        "most",
        "least",
        "paper",
        "where most",
        "what bounds ours",
        "what bounds the other",
    ):
        made.add_column(name, justify="right" if name in ("most", "least") else "left", overflow="fold")
    for figure in figures:
        for best in best_ratios(results, figure):
            headline = LATENCY_HEADLINE if figure.is_latency else THROUGHPUT_HEADLINE
            ours, other = (results[figure.number, system.name, best.cell] for system in (best.ours, best.other))
            where = f"{best.ours.name}, {size_name(best.cell.size)}, {best.cell.actors} actors"
            if figure.is_latency:
                where += f"; there {rate_ratio(ours, other):.2f}x the requests/s"
            made.add_row(
                str(figure.number),
                best.other.name,
                f"{best.ratio:.2f}x",
                f"{best.least:.2f}x",
                f"{headline}x",
                where,
                bound(ours),
                bound(other),
            )
    return made
