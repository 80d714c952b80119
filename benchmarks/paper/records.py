"""What is ordered of two OS processes, what they say of a cell, and the raw files that keep it."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any, NamedTuple

__all__ = ["COLUMNS", "Cell", "Measurement", "Order", "Outcome", "RawFiles", "read_measurements"]

COLUMNS = (
    "app",
    "transport",
    "concurrency",
    "channels",
    "monotonic",
    "parallelism",
    "affinity",
    "bytes",
    "messages",
    "RTT ms",
    "time us",
)
"""The paper's, in its order."""


class Cell(NamedTuple):
    """One point of a figure, for every system."""

    size: int  # bytes of a message's value
    actors: int


class Order(NamedTuple):
    """What two OS processes are to measure, one cell after the other."""

    transport: str
    channels: int
    parallelism: int
    affinity: bool
    workload: str
    cells: tuple[Cell, ...]
    seconds: float  # of a cell, in which actors begin requests
    limit: float  # seconds after which a cell is cut off
    code: str = ""  # the folder of the compiled paper.erl

    def to_json(self) -> str:
        """For a command line."""
        return json.dumps(self._asdict())

    @classmethod
    def from_json(cls, text: str) -> Order:
        """The inverse of `to_json`."""
        fields = json.loads(text)
        return cls(**(fields | {"cells": tuple(Cell(*cell) for cell in fields["cells"])}))


class Outcome(NamedTuple):
    """What came out of a cell. Ours and Erlang's side say it in the same line of JSON."""

    size: int
    actors: int
    messages: int  # requests completed
    time_us: int  # from the first request to the end of the last
    median_us: int  # of a request's latency; 0 where none was completed
    p99_us: int
    near_cpu_us: int  # CPU time of the OS process that asks; 0 where the system does not say
    far_cpu_us: int  # and of the one that answers
    busy_us: int  # CPU time of everything on the machine
    cut: bool  # the limit came before all requests were over

    def to_json(self) -> str:
        """The line."""
        return json.dumps(self._asdict())

    @classmethod
    def from_line(cls, line: str) -> Outcome | None:
        """What a line of output says, when it is one of these."""
        if not line.startswith("{"):
            return None
        try:
            fields = json.loads(line)
            return cls(**(fields | {"cut": bool(fields["cut"])}))
        except (ValueError, TypeError, KeyError):
            return None


class Measurement(NamedTuple):
    """A cell of a figure, of one system, in one repetition."""

    figure: int
    repetition: int
    system: str
    workload: str
    transport: str
    channels: int
    parallelism: int
    affinity: bool
    round_trip: float  # milliseconds that were added; 0 is plain loopback
    outcome: Outcome

    def row(self) -> list[object]:
        """As the paper's CSV files have it; none of its figures has a monotonic channel."""
        affinity = str(self.affinity).lower()
        identity = [self.workload, self.transport, self.outcome.actors, self.channels, "false", self.parallelism]
        measured = [self.outcome.messages, f"{self.round_trip:g}", self.outcome.time_us]
        return [*identity, affinity, self.outcome.size, *measured]

    def to_json(self) -> str:
        """Everything, flat."""
        fields: dict[str, Any] = self._asdict()
        return json.dumps(fields | {"outcome": self.outcome._asdict()})

    @classmethod
    def from_json(cls, text: str) -> Measurement:
        """The inverse of `to_json`."""
        fields = json.loads(text)
        return cls(**(fields | {"outcome": Outcome(**fields["outcome"])}))


class RawFiles:
    """`raw.csv` and, with latencies and CPU times, `raw.jsonl`. Written row by row: what an interruption leaves is
    whole."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._table: IO[str] = (folder / "raw.csv").open("w", newline="")
        self._lines: IO[str] = (folder / "raw.jsonl").open("w")
        self._rows = csv.writer(self._table, lineterminator="\n")
        self._rows.writerow(COLUMNS)

    def __enter__(self) -> RawFiles:
        return self

    def __exit__(self, *_: object) -> None:
        self._table.close()
        self._lines.close()

    def write(self, measurement: Measurement) -> None:
        """Keep one."""
        self._rows.writerow(measurement.row())
        print(measurement.to_json(), file=self._lines)
        self._table.flush()
        self._lines.flush()


def read_measurements(lines: Iterable[str]) -> list[Measurement]:
    """Those of a `raw.jsonl`."""
    return [Measurement.from_json(line) for line in lines if line.strip()]
