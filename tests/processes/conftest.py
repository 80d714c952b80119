"""A runtime without a network, whose first process is the test itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gevent
import pytest
from structlog.testing import capture_logs

from partisan_actors.processes.clock import GeventClock
from partisan_actors.processes.identity import Life
from partisan_actors.processes.plain import AttachedProcess
from partisan_actors.processes.runtime import Runtime


@pytest.fixture
def logs() -> Iterator[list[Any]]:
    """What was logged, instead of printing it."""
    with capture_logs() as entries:
        yield entries


@pytest.fixture
def runtime(logs: list[Any]) -> Iterator[Runtime]:
    """The processes of one node that knows no other; whatever a test leaves running is killed."""
    runtime = Runtime(Life("a@h", 1, 2), GeventClock())
    yield runtime
    for process in list(runtime.processes.values()):
        process.kill()
    for _ in range(3):  # throws, wake-ups, and what those cause
        gevent.sleep(0)
    runtime.closed = "the test is over"
    runtime.scheduler.stop()
    runtime.deadlines.close()


@pytest.fixture
def me(runtime: Runtime) -> Iterator[AttachedProcess]:
    """The greenlet of the test, attached."""
    process = AttachedProcess(runtime)
    process.attach()
    yield process
    process.detach(None)
