"""The other two nodes: OS processes of their own, which never outlive this one."""

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TextIO

import structlog

from partisan_actors import Node, run_blocking

CHECKOUT = Path(__file__).parent.parent.parent


class ChildNode:
    """A node in a child process."""

    def __init__(self, name: str, cookie: str, log: TextIO) -> None:
        self.name = name
        self.log = log
        self.process = subprocess.Popen(
            [sys.executable, "-m", "examples.wordcount", "--node", name],
            cwd=CHECKOUT,
            env=os.environ | {"PARTISAN_COOKIE": cookie},  # every user of the machine can read a command line
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,  # Ctrl-C reaches the parent only, which then ends its children
        )

    def address(self) -> str:
        """Where it listens; waits until it does."""
        assert self.process.stdout is not None
        address = self.process.stdout.readline().decode().strip()
        if not address:
            raise RuntimeError(f"{self.name} did not start; {self.log.name} says why")
        return address

    def kill(self) -> None:
        """SIGKILL: it has no chance to say goodbye to anybody."""
        self.process.kill()
        self.process.wait()


@contextmanager
def child_nodes(names: Iterable[str], cookie: str, log: TextIO) -> Iterator[dict[str, ChildNode]]:
    """Start a node of each name; they end with the block."""
    children: dict[str, ChildNode] = {}
    with ExitStack() as stack:
        for name in names:
            children[name] = ChildNode(name, cookie, log)
            stack.enter_context(children[name].process)  # closes its pipes
            stack.callback(children[name].kill)
        yield children


def run_child_node(name: str) -> None:
    """What the child process does."""
    log_to(sys.stderr)
    # Other nodes may start here what is in that module, and nothing else.
    with Node(name, spawnable=["examples.wordcount.counting.*"]) as node:
        print(node.address, flush=True)
        run_blocking(sys.stdin.read)  # ends with the parent, which holds the other end, even if that was killed


def log_to(stream: TextIO) -> None:
    """Have the node of this OS process write its log there, and not over the progress bar."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S.%f", utc=False),
            structlog.dev.ConsoleRenderer(colors=False),
        ],
        logger_factory=structlog.WriteLoggerFactory(stream),
    )
