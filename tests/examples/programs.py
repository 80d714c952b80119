"""Running an example as its reader would: an OS process of its own, with what it printed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

__all__ = ["ROOT", "is_running", "run", "start"]

ROOT = Path(__file__).parent.parent.parent

_WITHIN = 50.0  # seconds: a test has 60


def start(*arguments: str, folder: Path, cwd: Path = ROOT) -> subprocess.Popen[str]:
    """Start `python *arguments`, in the checkout; what it makes for a while is made in `folder`."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=cwd,
        env=os.environ | {"TMPDIR": str(folder), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(*arguments: str, folder: Path, cwd: Path = ROOT, status: int = 0) -> list[str]:
    """Run it to its end, which has to have this exit status; the lines that it printed."""
    with start(*arguments, folder=folder, cwd=cwd) as process:
        try:
            output, _ = process.communicate(timeout=_WITHIN)
        finally:
            process.kill()
    logs = "".join(path.read_text() for path in folder.rglob("nodes.log"))
    assert process.returncode == status, f"status {process.returncode}:\n{output}\n{logs}"
    return output.splitlines()


def is_running(pid: int) -> bool:
    """Whether there is such a process, and it has not ended. One that nobody has waited for has."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
