"""CPU time, as /proc tells it, so that it can be said of any OS process and asked from outside; 0 without /proc."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

__all__ = ["Load", "busy_time", "processor_time"]


class Load(NamedTuple):
    """Microseconds of CPU time so far: of the two OS processes, and of the whole machine."""

    near: int
    far: int
    busy: int

    @classmethod
    def of(cls, near: int, far: int) -> Load:
        """Of these two, by their numbers, now."""
        return cls(processor_time(near), processor_time(far), busy_time())

    def since(self, before: Load) -> Load:
        """What came on top."""
        return Load(self.near - before.near, self.far - before.far, self.busy - before.busy)


def processor_time(process: int) -> int:
    """What an OS process has used, in all its threads, in user and kernel mode."""
    try:
        text = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return 0
    fields = text.rpartition(")")[2].split()  # its name, in parentheses, may have anything in it
    return _microseconds(fields[11:13])


def busy_time() -> int:
    """What the machine has spent on other than idling and waiting for disks."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    except OSError:
        return 0
    user, nice, system, _, _, *interrupts = fields[1:8]
    return _microseconds([user, nice, system, *interrupts])


def _microseconds(ticks: list[str]) -> int:
    return sum(map(int, ticks)) * 1_000_000 // os.sysconf("SC_CLK_TCK")
