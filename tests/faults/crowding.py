"""Uses up the file descriptors of the OS process it runs in, which is a program's, never that of the tests."""

from __future__ import annotations

import os
import resource

__all__ = ["let_go", "use_up"]

_held: list[int] = []


def use_up() -> int:
    """Leave not one; how many it took."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(map(int, os.listdir("/proc/self/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 20, hard))
    while True:
        try:
            _held.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        except OSError:
            return len(_held)


def let_go() -> None:
    """Give them back."""
    while _held:
        os.close(_held.pop())
