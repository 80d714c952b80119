"""The other OS process of a remote measurement. It prints its address, and ends when its standard input does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["served_by"]


@contextmanager
def served_by(system: str) -> Iterator[str]:
    """Run the serving side of `system` for the block; gives its address."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks", "--serve", system],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stdin is not None
        try:
            address = process.stdout.readline().strip()
            if not address:
                raise RuntimeError(f"the serving side of {system} did not start")
            yield address
        finally:
            process.stdin.close()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
