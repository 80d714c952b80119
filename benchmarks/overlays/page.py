"""The experiments for readers: tables in the terminal, and a part of a page with tables and plots."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.overlays.catalogue import EXPERIMENTS
from benchmarks.overlays.grids import Grid, grids_of, tcp_grid
from benchmarks.overlays.rows import Run
from benchmarks.overlays.summary import Summary

__all__ = ["BEGIN", "END", "show", "write_part"]

BEGIN = "<!-- From here on made by `python -m benchmarks.overlays figures`. -->"
END = "<!-- To here. -->"


def show(name: str, runs: Iterable[Run]) -> None:
    """Print the tables of an experiment."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 180  # a file has no edge
    found = Summary(runs)
    console.print(f"\n[bold]{EXPERIMENTS[name].title}[/bold]: {escape('; '.join(found.about()))}")
    for grid in grids_of(name, found):
        console.print(_rich(grid))


def _rich(grid: Grid) -> Table:
    made = Table(title=escape(grid.title) or None, title_justify="left")
    for index, heading in enumerate(grid.headings):
        made.add_column(escape(heading), justify="right" if index else "left")
    for row in grid.rows:
        made.add_row(*map(escape, row))
    return made


def write_part(page: Path, found: Mapping[str, Summary], plots: Mapping[str, Sequence[Path]]) -> None:
    """Write the part of the page that is between the marks, which are put at the end of one that has none."""
    text = page.read_text() if page.exists() else ""
    before, mark, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    if not mark and before:
        before = before.rstrip("\n") + "\n\n"
    over_tcp = {name: summary for name, summary in found.items() if EXPERIMENTS[name].alone}
    lines = []
    for name, summary in found.items():
        if name not in over_tcp:
            lines += _section(page, name, summary, plots.get(name, ()))
    if over_tcp:
        lines += _tcp_section(over_tcp)
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n".join([before + BEGIN, "", *lines, END]) + (after or "\n"))


def _section(page: Path, name: str, found: Summary, plots: Sequence[Path]) -> list[str]:
    lines = [f"## {EXPERIMENTS[name].title}", "", _about(name, found), ""]
    for grid in grids_of(name, found):
        lines += [f"{grid.title}:", ""] if grid.title else []
        lines += [*grid.markdown(), ""]
    for plot in plots:
        lines += [f"![{plot.stem}]({Path(os.path.relpath(plot, page.parent)).as_posix()})", ""]
    return lines


def _about(name: str, found: Summary) -> str:
    text = "; ".join(found.about())
    return f"{text[0].upper()}{text[1:]}. Raw: `{name}.jsonl`, `{name}.csv`."


def _tcp_section(found: Mapping[str, Summary]) -> list[str]:
    lines = ["## Real TCP", "", *tcp_grid(found).markdown(), ""]
    for name, summary in found.items():
        lines += [f"- {_about(name, summary)}"]
    return [*lines, ""]
