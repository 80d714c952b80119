"""Waiting in tests: for a condition, with a limit, and never for a length of time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import gevent

__all__ = ["wait_until"]

Value = TypeVar("Value")


def wait_until(condition: Callable[[], Value], timeout: float = 5.0, *, what: str | None = None) -> Value:
    """Wait until `condition()` is true, letting every other greenlet run meanwhile, and return what it gave.

    `timeout` is in seconds; when it passes, AssertionError names `what` (the condition's source name by default) and
    the last value. What the condition raises comes out at once.
    """
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            name = what if what is not None else getattr(condition, "__qualname__", repr(condition))
            raise AssertionError(f"not within {timeout} s: {name}; the last value was {value!r}")
        gevent.sleep(0.001)
