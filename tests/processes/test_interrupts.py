"""Ctrl-C: where it is raised, and that the runtime is never cut in two by it."""

from __future__ import annotations

import os
import signal
import threading

import pytest
from gevent import get_hub

from partisan_actors.processes.interrupts import Interrupts
from partisan_actors.processes.primitives import receive
from tests.conditions import wait_until


@pytest.fixture
def interrupts():
    handling = Interrupts()
    handling.handle("node")
    yield handling
    handling.restore("node")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def as_of_the_runtime(code, **names):
    """Define what `code` defines as if it stood in a module of the package."""
    scope = {"__name__": "partisan_actors.processes.anything", "os": os, "signal": signal, **names}
    exec(code, scope)
    return scope


def test_a_callback_in_the_hub_goes_on_to_its_end(interrupts):
    steps = []

    def callback():
        interrupt()
        for step in range(1000):
            steps.append(step)

    get_hub().loop.run_callback(callback)
    with pytest.raises(KeyboardInterrupt):
        wait_until(lambda: False)
    assert len(steps) == 1000


def test_nothing_is_printed(interrupts, capfd):
    get_hub().loop.run_callback(interrupt)
    with pytest.raises(KeyboardInterrupt):
        wait_until(lambda: False)
    assert capfd.readouterr() == ("", "")


def test_code_of_the_program_is_interrupted_where_it_is(interrupts):
    reached = []
    with pytest.raises(KeyboardInterrupt):
        interrupt()
        reached.extend(range(1000))
    assert not reached


def test_a_function_of_the_runtime_goes_on_to_its_next_wait(runtime, interrupts):
    ended = []
    process = runtime.spawn(receive, (), {})
    scope = as_of_the_runtime(
        "def step():\n    os.kill(os.getpid(), signal.SIGINT)\n    ended.append(True)", ended=ended
    )
    scope["step"]()
    assert ended == [True] and runtime.is_alive(process.pid)
    with pytest.raises(KeyboardInterrupt):
        wait_until(lambda: False)


def test_a_second_one_does_not_wait_for_the_first(interrupts):
    scope = as_of_the_runtime("def never_ends():\n    while True:\n        os.kill(os.getpid(), signal.SIGINT)")
    with pytest.raises(KeyboardInterrupt):
        scope["never_ends"]()
    wait_until(lambda: True)
    get_hub().loop.run_callback(int)  # a round of the hub: it was one interrupt, not two
    wait_until(lambda: True)


def test_a_handler_of_the_program_stays():
    seen = []
    before = signal.signal(signal.SIGINT, lambda *_: seen.append(1))
    try:
        handling = Interrupts()
        handling.handle("node")
        interrupt()
        wait_until(lambda: seen == [1])
        handling.restore("node")
        interrupt()
        wait_until(lambda: seen == [1, 1])
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_last_node_takes_the_handler_out(interrupts):
    interrupts.handle("other")
    interrupts.restore("node")
    assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    interrupts.restore("other")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    interrupts.restore("other")


def test_one_that_the_program_put_in_meanwhile_stays():
    handling = Interrupts()
    handling.handle("node")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        handling.restore("node")
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def test_a_node_of_another_thread_handles_nothing():
    handling = Interrupts()
    thread = threading.Thread(target=handling.handle, args=("node",))
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
