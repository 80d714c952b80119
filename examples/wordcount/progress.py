"""Shows what happens: a live display in a terminal, plain lines elsewhere."""

import os
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Column, Table
from rich.text import Text


class Board:
    """What is known of the work, from the coordinator's events, and how it is shown."""

    def __init__(self, console: Console, files: int, workers: Iterable[str]) -> None:
        self.console = console
        self.files = files
        # By path: a coordinator that was started again begins at the beginning, and nothing is shown twice.
        self.counted: dict[str, int] = {}
        self.skipped: dict[str, str] = {}
        self.total: Counter[str] | None = None
        self.done_by: dict[str, list[str]] = {worker: [] for worker in workers}
        self.nodes: dict[str, str] = {}  # where a worker runs, or ran before it went down
        self.down = set(workers)
        self.killed: set[str] = set()
        self.started = self.refreshed = time.monotonic()
        self.seconds = 0.0
        self.tenths = 0
        terminal = console.is_terminal and not console.is_dumb_terminal
        self.live = Live(console=console, auto_refresh=False, get_renderable=self.render) if terminal else None

    def showing(self) -> AbstractContextManager[Any]:
        """For the block, the work proper: measure its time, and show the live display if there is one."""
        self.started = time.monotonic()
        return self.live or nullcontext()

    @property
    def done(self) -> int:
        """Files that need no more work."""
        return len(self.counted) + len(self.skipped)

    @property
    def complete(self) -> bool:
        """Whether everything is counted, and every worker runs on a node that is alive."""
        return self.total is not None and not self.down and not self.killed & set(self.nodes.values())

    def note(self, event: Any) -> None:
        """Take in what the coordinator told."""
        match event:
            case ("counted", path, words, worker):
                self.counted[path] = words
                self.done_by[worker].append(path)
            case ("skipped", path, reason):
                self.skipped[path] = reason
                self.say(f"skipped {readable(path)}: {reason}", "yellow")
            case ("placed", worker, node):
                before, self.nodes[worker] = self.nodes.get(worker, node), node
                self.down.discard(worker)
                self.say(f"{worker} runs on {node}" + (f", moved from {before}" if before != node else ""), "green")
            case ("lost", worker, node, again):
                self.down.add(worker)
                self.say(f"{worker} was lost on {node}; pieces to count again: {again}", "red")
            case ("finished", total):
                self.total = total
                self.seconds = time.monotonic() - self.started

    def node_killed(self, node: str) -> None:
        """Take in that a node was killed."""
        self.killed.add(node)
        self.say(f"killed {node} with SIGKILL, {self.done} of {self.files} files done", "bold red")

    def say(self, line: str, style: str = "") -> None:
        """Print a line; above the live display, if there is one."""
        self.console.print(Text(line, style), soft_wrap=True)

    def refresh(self) -> None:
        """Show how far it is: ten times a second, or as a line for every ten per cent."""
        tenths = self.done * 10 // self.files if self.files else 10
        if self.live and time.monotonic() - self.refreshed > 0.1:
            self.live.refresh()
            self.refreshed = time.monotonic()
        elif not self.live and tenths > self.tenths:
            self.tenths = tenths
            self.say(f"{tenths * 10:3} %  {self.figures()}")

    def figures(self) -> str:
        """How much is done, and how fast."""
        words = sum(self.counted.values())
        speed = words / (time.monotonic() - self.started)
        return f"{self.done} of {self.files} files, {words:,} words, {speed:,.0f} words/s"

    def render(self) -> Group:
        """The live display."""
        bar = Table.grid(padding=(0, 1))
        bar.add_row(ProgressBar(max(self.files, 1), self.done, width=30), self.figures())
        fixed = Column("node", width=16), Column("files", width=6)
        table = Table("worker", *fixed, Column("last file", ratio=1), expand=True)
        for worker, paths in self.done_by.items():
            node = self.nodes.get(worker, "")
            place = Text("down", "red") if worker in self.down or node in self.killed else Text(node, "green")
            last = Text(readable(os.path.basename(paths[-1])) if paths else "")
            table.add_row(worker, place, str(len(paths)), last)
        return Group(bar, table)


def readable(path: str) -> str:
    """The path as a terminal can show it; a file's name may have any bytes but / and 0."""
    return path if path.isprintable() else ascii(path)
