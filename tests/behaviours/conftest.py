"""Every test here runs as a process of a node that knows no other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from partisan_actors.processes.clock import GeventClock
from partisan_actors.processes.identity import Life, Pid
from partisan_actors.processes.plain import AttachedProcess
from partisan_actors.processes.runtime import Runtime
from tests.behaviours.servers import OwnGreenlet, Scripted, start_entered


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    runtime = Runtime(Life("a@host", 1, 2), GeventClock())
    yield runtime
    for process in list(runtime.processes.values()):
        process.kill()
    runtime.deadlines.close()


@pytest.fixture(autouse=True)
def me(runtime: Runtime) -> Iterator[AttachedProcess]:
    """The process that the test runs as."""
    process = AttachedProcess(runtime)
    process.attach()
    yield process
    process.detach(None)


@pytest.fixture(params=["borrowed", "own greenlet", "entered"])
def start(request: pytest.FixtureRequest) -> Callable[..., Pid]:
    """How to start a Scripted: on borrowed greenlets, on one of its own, or by `enter_loop`."""
    return {"borrowed": Scripted.start, "own greenlet": OwnGreenlet.start, "entered": start_entered}[request.param]


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[Any]]:
    """What has been logged: a dict for each event."""
    with capture_logs() as events:
        yield events
