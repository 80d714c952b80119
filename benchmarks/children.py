"""OS processes that measure: run to their end, or to a limit, and delayed where that is asked for.

What one leaves behind ends with it: it is started in a session of its own.
"""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

__all__ = ["TIME_LIMIT", "behind", "run_command"]

TIME_LIMIT = 600.0
"""Seconds."""


def behind(wan: Path | None, round_trip_ms: float, command: list[str]) -> list[str]:
    """The command, behind the script that delays loopback."""
    if not round_trip_ms:
        return command
    assert wan is not None, "a round trip other than 0 needs a script that delays"
    return [str(wan), str(round(round_trip_ms * 500)), *command]


def run_command(
    command: list[str], limit: float = TIME_LIMIT, environment: dict[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run it to its end, or to the limit; what it leaves behind ends with it. A command that cannot start fails."""
    pipe = subprocess.PIPE
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True, env=environment,
            cwd=cwd, start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        return subprocess.CompletedProcess(command, 127, "", str(error))
    late = ""
    try:
        output, errors = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        late = f"\nnot over after {limit:.0f} s"
    finally:
        _end(process)
    if late:
        output, errors = process.communicate()
    return subprocess.CompletedProcess(command, process.returncode, output, errors + late)


def _end(process: subprocess.Popen[str]) -> None:
    """End it with what it has started: all of that is in its session, and nothing else is."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # the usual case: everything has ended
