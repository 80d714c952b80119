"""Why a value cannot be sent, where in the message it stands, and what to do about it.

The way down through a message keeps no path, which would cost every message. The way up does:
each container that a `Refused` passes adds itself and where in it the offending part was found.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

from partisan_actors.errors import NotSendable

__all__ = [
    "ENCODED_STEP",
    "Refused",
    "element_step",
    "field_step",
    "index_step",
    "key_step",
    "reason_against",
    "value_step",
]

_MARK_IT = "mark its class with @message, or give it to register_type"
_FUNCTIONS = (
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    types.MethodWrapperType,
    types.WrapperDescriptorType,
    types.MethodDescriptorType,
    functools.partial,
)
_PLAIN = (str, bytes, bytearray, int, float, list, tuple, dict, set, frozenset)
_SHOWN = (str, bytes, int, float, bool, type(None))


class Refused(Exception):
    """A value cannot be sent; becomes a NotSendable where the message ends."""

    def __init__(self, value: Any, reason: str) -> None:
        super().__init__(reason)
        self.value = value
        self.reason = reason
        # The containers around it, innermost first, with the step from each to what it holds.
        self._trail: list[tuple[Any, str]] = []

    def within(self, container: Any, step: str) -> None:
        """Note that what was refused so far stands in `container`, `step` further on."""
        self._trail.append((container, step))
        self.value = container

    def not_sendable(self) -> NotSendable:
        """The error for the sender: the path to the value, and why it cannot be sent."""
        steps = [step for _, step in reversed(self._trail)]
        containers = [container for container, _ in reversed(self._trail)]
        for place, first in _repeated(containers):
            itself = f"it contains itself (it is {_path(steps[:first])}); send a copy without that"
            return NotSendable(f"{_path(steps[:place])}: {itself}")
        return NotSendable(f"{_path(steps)}: {self.reason}")


def index_step(index: int) -> str:
    """The step to an element of a list or tuple."""
    return f"[{index}]"


def field_step(name: str) -> str:
    """The step to a field."""
    return f".{name}"


def value_step(key: Any) -> str:
    """The step to the value of a dict's key."""
    return f'["{key}"]' if type(key) is str and key.isidentifier() else f"[{_short(key)}]"


def key_step(key: Any) -> str:
    """The step to a dict's key."""
    return f" (key {_short(key)})"


def element_step(element: Any) -> str:
    """The step to an element of a set."""
    return f" (element {_short(element)})"


ENCODED_STEP = ".<encoded>"
"""The step from an object to what its encoder made of it."""


def reason_against(value: Any, known: Mapping[type, Any]) -> str:
    """Why an object of this class cannot be sent, and what to do. `known` has the classes that can, by class."""
    cls = type(value)
    name = f"{cls.__module__}.{cls.__qualname__}"
    if issubclass(cls, _FUNCTIONS):
        return "a function cannot be sent; send its dotted name, and look it up on the other node"
    if issubclass(cls, type):
        return "a class cannot be sent; send its dotted name"
    if issubclass(cls, BaseException):
        return f"an exception ({name}) cannot be sent; send its text"
    if cls is memoryview:
        return "a memoryview cannot be sent; send bytes(view)"
    if issubclass(cls, Iterator):
        return f"an iterator ({name}) cannot be sent; send a list of what it gives"
    if issubclass(cls, Enum):
        return f"{name} is not found by that name, so others would not find it either; mark it with @message"
    marked = next((base for base in cls.__mro__[1:] if base in known), None)
    if marked is not None:
        return f"{name} is not marked, only its base {marked.__qualname__} is; {_MARK_IT}"
    plain = next((base for base in cls.__mro__[1:] if base in _PLAIN), None)
    if plain is not None:
        instead = f"send {plain.__name__}(...)"
        return f"{name} would arrive as a plain {plain.__name__}; {instead}, or give the class to register_type"
    return f"an object of {name} cannot be sent; {_MARK_IT}"


def _path(steps: list[str]) -> str:
    return "message" + "".join(steps)


def _repeated(containers: list[Any]) -> Iterator[tuple[int, int]]:
    """Where a container stands within itself: its place, and the place where it stood first."""
    seen: dict[int, int] = {}
    for place, container in enumerate(containers):
        if id(container) in seen:
            yield place, seen[id(container)]
        seen[id(container)] = place


def _short(value: Any) -> str:
    if type(value) not in _SHOWN:
        return f"<{type(value).__name__}>"
    if type(value) in (str, bytes):
        return repr(value[:40])
    return repr(value) if type(value) is not int or value.bit_length() < 200 else "<int>"
