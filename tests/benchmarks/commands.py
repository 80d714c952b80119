"""Commands of the benchmarks, run as users run them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from benchmarks.children import run_command

__all__ = ["ROOT", "run"]

ROOT = Path(__file__).parent.parent.parent


def run(command: list[str], limit: float = 50.0, **environment: str) -> subprocess.CompletedProcess[str]:
    """To its end, or to the limit in seconds: then its exit status is that of a kill."""
    return run_command(command, limit, os.environ | {"PYTHONPATH": str(ROOT)} | environment, ROOT)
