"""Waiting by a greenlet that is no process, and calls from native threads."""

from __future__ import annotations

import threading

import gevent
import pytest

from partisan_actors.errors import NotAProcess
from partisan_actors.processes.outside import Outcome, call_from_thread
from partisan_actors.processes.runtime import process_of_greenlet
from tests.conditions import wait_until
from tests.processes.probing import settle


def test_an_outcome_is_waited_for(runtime):
    outcome = Outcome(runtime)
    assert process_of_greenlet() is None
    runtime.spawn(outcome.set, (7,), {})
    assert outcome.wait(5.0) and outcome.wait() and outcome.get() == 7
    outcome.set(8)
    assert outcome.get() == 7


def test_an_outcome_may_be_an_error(runtime):
    outcome = Outcome(runtime)
    outcome.set(error=LookupError("none"))
    assert outcome.wait()
    with pytest.raises(LookupError):
        outcome.get()


def test_the_wait_for_an_outcome_has_a_limit(runtime):
    outcome = Outcome(runtime)
    assert outcome.wait(0.002) is False and outcome.wait(0) is False
    outcome.set(1)  # late: it wakes nobody
    settle()
    assert outcome.wait(0) is True


def test_a_wait_that_is_interrupted_is_over(runtime):
    outcome = Outcome(runtime)
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.002):
        outcome.wait()
    gevent.get_hub().loop.run_callback(outcome.set, 1)
    gevent.sleep(0.002)  # not cut short
    assert outcome.get() == 1


def in_a_thread(function):
    """Run it, and let the hub run meanwhile; what it gave or raised."""
    results = []

    def runs():
        try:
            results.append(function())
        except Exception as error:
            results.append(error)

    thread = threading.Thread(target=runs)
    thread.start()
    wait_until(lambda: results)
    thread.join()
    return results[0]


def test_a_thread_gets_the_value_or_the_error():
    loop = gevent.get_hub().loop
    hub_thread = threading.get_ident()
    assert in_a_thread(
        lambda: call_from_thread(loop, lambda: True, lambda finish: finish(threading.get_ident() == hub_thread))
    )
    error = in_a_thread(lambda: call_from_thread(loop, lambda: True, lambda finish: finish(None, LookupError("none"))))
    assert type(error) is LookupError


def test_a_thread_does_not_wait_for_a_node_that_stopped():
    loop = gevent.get_hub().loop
    error = in_a_thread(lambda: call_from_thread(loop, lambda: False, lambda finish: None))
    assert type(error) is NotAProcess and "stopped" in str(error)
