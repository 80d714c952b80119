"""OS processes of the tests: nodes in them (`node_program`), and short programs that run to their end."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gevent
from gevent.event import AsyncResult
from gevent.fileobject import FileObjectPosix

from partisan_actors import Remote
from tests.conditions import wait_until
from tests.forking import Forked

__all__ = ["NodeProgram", "Programs", "run_forked", "run_program", "running_programs"]

ROOT = Path(__file__).parent.parent.parent
_numbers = itertools.count(1)


def environment(**more: str) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"} | more


class NodeProgram:
    """A node in an OS process of its own, as its parent sees it."""

    def __init__(self, name: str, wheel: Path | None = None, **options: Any) -> None:
        """Start it; `wheel` has the package, if it is not to be that of this checkout."""
        self.name = name
        self.echo = Remote("echo", name)
        self.trapping = Remote("trapping", name)
        self.collector = Remote("collector", name)
        self._answers: dict[int, AsyncResult] = {}
        self._ready = AsyncResult()
        self._log = tempfile.TemporaryFile("w+b")  # noqa: SIM115
        self._process = Forked(
            "tests.integration.node_program",
            json.dumps(options | {"name": name}),
            python_path=str(ROOT) if wheel is None else f"{wheel}{os.pathsep}{ROOT}",
            # Elsewhere than in the checkout, which would be looked into before any wheel.
            cwd=tempfile.gettempdir(),
            stderr=self._log,
        )
        # Read by a greenlet: a node in this OS process has to run while one waits for an answer.
        self._output = FileObjectPosix(self._process.stdout.fileno(), "rb", close=False)
        self._reader = gevent.spawn(self._read)

    @property
    def address(self) -> str:
        """Where its node can be dialled, once it runs."""
        address: str = self._ready.get(timeout=20)
        return address

    def ask(self, what: str, *arguments: Any, timeout: float = 15.0) -> Any:
        """Let it do something (see `node_program.Program`); what it answers. Raises RuntimeError for its errors."""
        return self.begin(what, *arguments).get(timeout=timeout)

    def begin(self, what: str, *arguments: Any) -> AsyncResult:
        """As `ask`, and do not wait."""
        _ = self.address
        number = next(_numbers)
        answer = self._answers[number] = AsyncResult()
        line = json.dumps({"number": number, "what": what, "arguments": arguments})
        self._process.stdin.write(line.encode() + b"\n")
        return answer

    def kill(self) -> None:
        """SIGKILL, and wait until it is dead."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """SIGSTOP."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        self._process.send_signal(signal.SIGCONT)

    def signal(self, number: int) -> None:
        """Send it any signal."""
        self._process.send_signal(number)

    def end(self) -> int:
        """Let it end in order; its exit status."""
        self._process.stdin.close()
        return self.wait()

    def wait(self) -> int:
        """Wait until it has ended; its exit status."""
        wait_until(lambda: self._process.poll() is not None, what=f"{self.name} has ended")
        return self._process.wait()

    def log(self) -> str:
        """What it wrote to its standard error."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def close(self) -> None:
        """Reap it, however it is."""
        self._process.kill()
        self._process.wait()
        self._reader.kill()
        for file in (self._process.stdin, self._output, self._process.stdout, self._log):
            file.close()

    def _read(self) -> None:
        for line in self._output:
            self._take(json.loads(line))
        if not self._ready.ready():
            self._ready.set_exception(RuntimeError(f"{self.name} did not start:\n{self.log()}"))

    def _take(self, answer: dict[str, Any]) -> None:
        if "address" in answer:
            self._ready.set(answer["address"])
        elif "error" in answer:
            self._answers.pop(answer["number"]).set_exception(RuntimeError(*answer["error"]))
        else:
            self._answers.pop(answer["number"]).set(answer["value"])


class Programs:
    """The programs of a test."""

    def __init__(self) -> None:
        self.made: list[NodeProgram] = []

    def start(self, name: str = "program", **options: Any) -> NodeProgram:
        """Start one; its name is no other's in this run, unless it is given whole."""
        program = NodeProgram(name if "@" in name else f"{name}-p{next(_numbers)}@127.0.0.1", **options)
        self.made.append(program)
        return program

    def close(self) -> None:
        """Reap them all."""
        for program in self.made:
            program.close()


@contextmanager
def running_programs() -> Iterator[Programs]:
    """Programs that are gone at the end of the block."""
    programs = Programs()
    try:
        yield programs
    finally:
        programs.close()


def run_forked(source: str) -> tuple[int, str]:
    """Run Python source to its end, in an OS process that has imported the package; its status, and its errors."""
    with tempfile.TemporaryFile("w+b") as errors:
        program = Forked("tests.integration.source_program", source, stderr=errors)
        try:
            program.stdin.close()
            wait_until(lambda: program.poll() is not None, 20.0, what="it has ended")
        finally:
            program.kill()
            program.stdout.close()
        errors.seek(0)
        return program.wait(), errors.read().decode()


def run_program(
    source: str, *arguments: str, timeout: float = 20.0, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run Python source as a program to its end; for one that nothing in this OS process has to answer."""
    return subprocess.run(
        [sys.executable, "-c", source, *arguments],
        cwd=ROOT,
        env=environment(**variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
