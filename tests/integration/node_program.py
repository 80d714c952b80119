"""A node in an OS process of its own. It does what lines of JSON on its standard input say, and answers in kind.

Run as `python -m tests.integration.node_program '{"name": "a@127.0.0.1", ...}'`; the options are `Node`'s. It ends, in
order, when its standard input does.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from typing import Any

import gevent
from gevent.fileobject import FileObjectPosix

import partisan_actors
from partisan_actors import Channel, Node, Pid
from tests.integration.workers import Collector, Echo, Trapping

__all__ = ["main"]


class Program:
    """Does what it is told, each thing in a greenlet of its own, which is no process."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._out = sys.stdout

    def answer(self, **answer: Any) -> None:
        self._out.write(json.dumps(answer) + "\n")
        self._out.flush()

    def do(self, number: int, what: str, arguments: list[Any]) -> None:
        try:
            self.answer(number=number, value=plain(getattr(self, what)(*arguments)))
        except Exception as error:
            self.answer(number=number, error=[type(error).__name__, getattr(error, "reason", None), str(error)])

    # What it can do.

    def members(self) -> list[str]:
        return self._node.members()

    def neighbours(self) -> list[str]:
        return self._node.neighbours()

    def listening(self) -> list[str]:
        return self._node.listening

    def join(self, address: str, timeout: float = 10.0) -> None:
        self._node.join(address, timeout)

    def leave(self) -> None:
        self._node.leave()

    def telemetry(self) -> dict[str, Any]:
        return self._node.telemetry()

    def descriptors(self) -> int:
        return len(os.listdir("/proc/self/fd"))

    def run(self, function: str, *arguments: Any) -> Any:
        """Run a function, "module:name", in a process."""
        module, _, name = function.partition(":")
        return self._node.run(getattr(importlib.import_module(module), name), *arguments)


def plain(value: Any) -> Any:
    """What JSON has no form for, as text."""
    return str(value) if isinstance(value, Pid) else value


def main(options: dict[str, Any]) -> None:
    if "channels" in options:
        options["channels"] = tuple(Channel(**channel) for channel in options["channels"])
    if "causal_labels" in options:
        label, labels = partisan_actors.CausalLabel, options["causal_labels"]  # the version before has none
        options["causal_labels"] = tuple(label(name, tuple(members)) for name, members in labels.items())
    with Node(spawnable=("tests.*",), **options) as node:
        Echo.start(name="echo")
        Trapping.start(name="trapping")
        Collector.start(name="collector")
        program = Program(node)
        program.answer(address=node.address)
        for line in FileObjectPosix(sys.stdin.fileno(), "rb", close=False):
            gevent.spawn(program.do, **json.loads(line))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
