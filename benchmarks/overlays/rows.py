"""What experiments find: rows, of runs, kept as JSON lines and as CSV.

A run is one seed of an experiment. Its rows come first and a line about the run comes last, so that a file whose writer
was interrupted holds whole runs, and a rest that is passed over.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["COLUMNS", "Row", "Run", "RunFile", "json_lines"]

COLUMNS = ("experiment", "seed", "system", "figure", "x", "value", "unit", "parameters", "date", "commit", "machine")


class Row(NamedTuple):
    """One number."""

    figure: str
    value: float
    unit: str = ""
    system: str = ""  # of several that an experiment compares
    x: float | None = None  # where on the figure's axis


class Run(NamedTuple):
    """What one seed gave."""

    experiment: str
    seed: int
    parameters: dict[str, Any]
    about: dict[str, Any]  # what it ran on, when, and what it took
    rows: list[Row]


def json_lines(run: Run) -> Iterator[str]:
    """A line for each row, and one about the run."""
    name = {"experiment": run.experiment, "seed": run.seed}
    for row in run.rows:
        fields = {"system": row.system, "figure": row.figure, "x": row.x, "value": _short(row.value), "unit": row.unit}
        yield json.dumps(name | fields, ensure_ascii=False)
    yield json.dumps(name | {"parameters": run.parameters, "about": run.about}, ensure_ascii=False)


def _short(value: float) -> float:
    return round(value, 6) if isinstance(value, float) else value


class RunFile:
    """The runs of one experiment, in two files of the folder: `NAME.jsonl`, and `NAME.csv` made of it."""

    def __init__(self, folder: Path, name: str) -> None:
        self.lines = folder / f"{name}.jsonl"
        self.table = folder / f"{name}.csv"

    def read(self) -> list[Run]:
        """The runs that are whole, by seed."""
        if not self.lines.exists():
            return []
        runs: dict[int, Run] = {}
        rows: dict[int, list[Row]] = {}
        for line in self.lines.read_text().splitlines():
            try:
                fields = json.loads(line)
            except ValueError:
                continue  # where a writer was interrupted
            seed = fields.pop("seed")
            if "about" in fields:
                runs[seed] = Run(fields["experiment"], seed, fields["parameters"], fields["about"], rows.pop(seed, []))
            else:
                del fields["experiment"]
                rows.setdefault(seed, []).append(Row(**fields))
        return [runs[seed] for seed in sorted(runs)]

    def write(self, runs: Iterable[Run]) -> None:
        """Keep these, and nothing else. What was there before is there until all of it is written."""
        runs = sorted(runs, key=lambda run: run.seed)
        self.lines.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.lines.with_suffix(".new")
        fresh.write_text("".join(f"{line}\n" for run in runs for line in json_lines(run)))
        fresh.replace(self.lines)
        with self.table.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            for run in runs:
                ends = [json.dumps(run.parameters), *(run.about.get(key) for key in ("date", "commit", "machine"))]
                for row in run.rows:
                    x = "" if row.x is None else row.x
                    value = _short(row.value)
                    writer.writerow([run.experiment, run.seed, row.system, row.figure, x, value, row.unit, *ends])

    def remove(self) -> None:
        """Forget all of it."""
        self.lines.unlink(missing_ok=True)
        self.table.unlink(missing_ok=True)
