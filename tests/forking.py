"""Programs of the tests that start at once: forked from a process that has imported what they need.

To start a Python that imports this package takes most of a second, of work and not of waiting, and the tests start a
hundred. So for each module that is run as a program there is one process which has imported all that it imports, and
has done nothing else; a program is a fork of it that then runs the module as `python -m` does. It is an OS process of
its own, with its own descriptors, environment and end; what it shares is pages that nobody writes to.

Between the two is a process that waits for the program and says how it ended: it is the parent.
"""

from __future__ import annotations

import atexit
import importlib
import io
import json
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, cast

__all__ = ["Forked"]

ROOT = Path(__file__).parent.parent

_NUMBER = struct.Struct("=i")
_fork, _waitpid, _signal = os.fork, os.waitpid, signal.signal  # the system's, whatever a program patches


class _Origin:
    """The process that programs of one module are forked from."""

    def __init__(self, module: str, early: tuple[str, ...], python_path: str) -> None:
        ours, theirs = socket.socketpair()
        self._socket = ours
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno()), module, *early],
                cwd=ROOT.anchor,  # of this checkout only what the path says
                env=os.environ | {"PYTHONPATH": python_path, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        atexit.register(self.close)

    def fork(self, order: Mapping[str, object], descriptors: list[int]) -> None:
        """Let it fork; the last descriptor gets the pid, and at the end the status."""
        socket.send_fds(self._socket, [json.dumps(order).encode() + b"\n"], descriptors)

    def close(self) -> None:
        """Nothing more is started."""
        self._socket.close()
        self._process.wait()


_origins: dict[tuple[str, tuple[str, ...], str], _Origin] = {}


class Forked:
    """A program, as `subprocess.Popen` has them, with pipes."""

    def __init__(
        self,
        module: str,
        *arguments: str,
        early: tuple[str, ...] = (),
        python_path: str = str(ROOT),
        cwd: Path | str = ROOT,
        stderr: IO[bytes] | None = None,
    ) -> None:
        """Start it.

        Args:
            module: what `python -m` would run.
            arguments: its own.
            early: those of them that it looks at while it is imported.
            python_path: where packages are found.
            cwd: where it runs.
            stderr: where its errors go; by default where those of the tests do.
        """
        origin = _origins.get((module, early, python_path))
        if origin is None:
            origin = _origins[module, early, python_path] = _Origin(module, early, python_path)
        stdin, its_stdin = os.pipe()[::-1]
        stdout, its_stdout = os.pipe()
        self._status, its_status = os.pipe()
        its_stderr = stderr.fileno() if stderr is not None else 2
        order = {"arguments": [*arguments, *early], "cwd": str(cwd), "environment": dict(os.environ)}
        origin.fork(order, [its_stdin, its_stdout, its_stderr, its_status])
        for descriptor in (its_stdin, its_stdout, its_status):
            os.close(descriptor)
        self.stdin = cast(IO[bytes], io.FileIO(stdin, "wb"))
        self.stdout = cast(IO[bytes], io.FileIO(stdout, "rb"))
        self.returncode: int | None = None
        self.pid = self._number()

    def _number(self) -> int:
        data = os.read(self._status, _NUMBER.size)
        assert data, "the process that programs are forked from has ended"
        number: int = _NUMBER.unpack(data)[0]
        return number

    def poll(self) -> int | None:
        """Its exit status, if it has ended."""
        if self.returncode is None and select.select([self._status], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self) -> int:
        """Wait until it has ended; its exit status."""
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(self._number())
            os.close(self._status)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):  # who waits for it is about to say that it has
                os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


def _serve(connection: socket.socket) -> dict[str, Any] | None:
    """Fork as told; in a program, what it is to run. None at the end."""
    while True:
        message, descriptors, _, _ = socket.recv_fds(connection, 1 << 20, 4)
        if not message:
            return None
        while not message.endswith(b"\n"):
            message += connection.recv(1 << 20)
        if _fork() == 0:
            connection.close()
            return _watch(json.loads(message), descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _watch(order: dict[str, Any], descriptors: list[int]) -> dict[str, Any]:
    *streams, status = descriptors
    _signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = _fork()
    if pid == 0:
        for place, descriptor in enumerate(streams):
            os.dup2(descriptor, place)
        for descriptor in descriptors:
            os.close(descriptor)
        return order
    _signal(signal.SIGINT, signal.SIG_IGN)
    for descriptor in streams:
        os.close(descriptor)
    os.write(status, _NUMBER.pack(pid))
    os.write(status, _NUMBER.pack(_waitpid(pid, 0)[1]))
    os._exit(0)


def main() -> None:
    """Be what programs are forked from, and in each of them that program."""
    connection, module = socket.socket(fileno=int(sys.argv[1])), sys.argv[2]
    # What is imported stays so; the module itself is run anew, as its name is `__main__` in a program.
    sys.argv = [module, *sys.argv[3:]]
    importlib.import_module(module)
    del sys.modules[module]
    _signal(signal.SIGCHLD, signal.SIG_IGN)  # who watches a program is not waited for
    order = _serve(connection)
    if order is not None:
        os.chdir(str(order["cwd"]))
        os.environ.clear()
        os.environ.update(order["environment"])
        sys.argv = [module, *order["arguments"]]
        runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
