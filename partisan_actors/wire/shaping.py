"""On the way out: what stands for a term in msgpack. See `codec` for the format.

A `Shaper` turns containers into lists that end in a mark, and objects into lists or extensions.
It goes by exact types, so nothing arrives as something it only resembled, and looks at the
elements of a container one by one only when `set.issuperset` found one that is not simple: a
list of 10,000 ints costs no Python step for each. It keeps no path on the way down; a `Refused`
collects it on the way up.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from itertools import chain
from typing import Any

from partisan_actors.processes.identity import Global, Remote, Via
from partisan_actors.wire.limits import Limits
from partisan_actors.wire.message_types import (
    SENDABLE_UNMARKED,
    EnumClass,
    MessageClass,
    MessageTypes,
    RegisteredType,
    find_enum,
    member_name,
    qualified_name,
)
from partisan_actors.wire.refusals import (
    ENCODED_STEP,
    Refused,
    element_step,
    field_step,
    index_step,
    key_step,
    reason_against,
    value_step,
)
from partisan_actors.wire.terms import BYTEARRAY, ENUM, SURROGATES, extension

__all__ = [
    "DICT",
    "FROZENSET",
    "GLOBAL",
    "LIST",
    "MESSAGE",
    "REGISTERED",
    "REMOTE",
    "RUNTIME",
    "SET",
    "SIMPLE",
    "TUPLE",
    "VIA",
    "Shaper",
]

# The marks are the wire format: never changed, never used again for something else.
LIST = 0
TUPLE = 1
DICT = 2
SET = 3
FROZENSET = 4
MESSAGE = 5
REGISTERED = 6
RUNTIME = 7
REMOTE = 8
GLOBAL = 9
VIA = 10
_COMPLETE = -1  # no mark: what was made is no container

_MARKS: dict[type, int] = {list: LIST, tuple: TUPLE, dict: DICT, set: SET, frozenset: FROZENSET}
_NAMES: dict[type, tuple[int, tuple[str, ...]]] = {
    Remote: (REMOTE, ("name", "node")),
    Global: (GLOBAL, ("name",)),
    Via: (VIA, ("registry", "key")),
}

SIMPLE = SENDABLE_UNMARKED.difference(_MARKS, _NAMES, (bytearray,))
"""Exact types that the packer takes as they are, by itself or through its `default` hook (an int beyond 64 bits, too).
Not bytearray, which it would pack as bytes without asking."""

_SURE = frozenset((type(None), bool, int, float, bytes))


class Shaper:
    """Knows how each class is turned into terms, and the limits of one message."""

    __slots__ = ("_encoders", "_limits", "_registry", "extensions")

    def __init__(self, registry: MessageTypes, encoders: dict[type, Callable[[Any], Any]], limits: Limits) -> None:
        self._registry = registry
        # Simple types that msgpack does not know, to what makes an extension of them.
        self._encoders = encoders
        self._limits = limits
        # Class to (code, encode), of register_extension; holds for subclasses too.
        self.extensions: dict[type, tuple[int, Callable[[Any], Any]]] = {}

    def shape(self, term: Any, *, carefully: bool = False) -> Any:
        """What to pack for `term`. Raises NotSendable, with the path to what cannot be sent.

        Carefully: nothing is left to the packer that can fail there. A str may have a lone surrogate, and a scalar that
        cannot be sent is found on the way down, where its path can be told.
        """
        try:
            return self._shape(term, 1, _SURE if carefully else SIMPLE, [self._limits.max_elements - 1])
        except Refused as refusal:
            raise refusal.not_sendable() from refusal.__cause__

    def _shape(self, value: Any, depth: int, simple: frozenset[type], left: list[int]) -> Any:
        """As `shape`; `simple` types stand for themselves, and `left` holds how many elements there may still be."""
        kind = type(value)
        if kind in simple:
            return value
        mark = _MARKS.get(kind)
        if mark is None:
            items, mark = self._parts(value, kind)
            if mark == _COMPLETE:
                return items
        else:
            items = [*chain.from_iterable(value.items())] if kind is dict else [*value]
        if depth > self._limits.max_depth:
            raise Refused(value, f"nested deeper than {self._limits.max_depth}")
        # Counted, so that a value that contains itself many times ends soon, too.
        left[0] -= len(items) + 1
        if left[0] < 0:
            raise Refused(value, f"with all before it, more than {self._limits.max_elements} elements")
        if not simple.issuperset(map(type, items)):
            below = depth + 1
            try:
                items = [item if type(item) in simple else self._shape(item, below, simple, left) for item in items]
            except Refused as refusal:
                refusal.within(value, self._step(value, refusal.value))
                raise
        items.append(mark)
        return items

    def _parts(self, value: Any, kind: type) -> tuple[Any, int]:
        """The items and the mark of what is not one of Python's containers, or an extension and no mark."""
        if kind is bytearray:
            return extension(BYTEARRAY, bytes(value)), _COMPLETE
        if kind in _NAMES:
            mark, names = _NAMES[kind]
            return [getattr(value, name) for name in names], mark
        for base in kind.__mro__ if self.extensions else ():
            if base in self.extensions:
                code, encode = self.extensions[base]
                return [_encode_by(encode, value), code], RUNTIME
        entry = self._registry.by_class.get(kind)
        if isinstance(entry, MessageClass):
            return [*_field_values(entry, value), entry.signature], MESSAGE
        if isinstance(entry, RegisteredType):
            return [_encode_by(entry.encode, value), entry.name], REGISTERED
        if issubclass(kind, Enum):
            return self._enum(value, kind, entry), _COMPLETE
        if kind in SENDABLE_UNMARKED:
            return self._scalar(value, kind), _COMPLETE
        if self._registry.named(qualified_name(kind)) is not None:
            raise Refused(value, f"its class {qualified_name(kind)} was defined anew; make the object with that class")
        raise Refused(value, reason_against(value, self._registry.by_class))

    def _step(self, value: Any, part: Any) -> str:
        """How one gets from `value` to `part`, which is one of its items."""
        kind = type(value)
        if kind is dict:
            keys = [key for key, found in value.items() if found is part]
            return value_step(keys[0]) if keys else key_step(part)
        if kind is set or kind is frozenset:
            return element_step(part)
        if kind is list or kind is tuple:
            return index_step(next(index for index, item in enumerate(value) if item is part))
        entry = self._registry.by_class.get(kind)
        names = entry.field_names if isinstance(entry, MessageClass) else _NAMES.get(kind, (0, ()))[1]
        return next((field_step(name) for name in names if getattr(value, name) is part), ENCODED_STEP)

    def _enum(self, value: Enum, kind: type[Enum], entry: EnumClass | None) -> Any:
        name = qualified_name(kind) if entry is None else entry.name
        if entry is None and find_enum(name) is not kind:
            raise Refused(value, reason_against(value, self._registry.by_class))
        member = member_name(value)
        if member is None:
            raise Refused(value, f"{value!r} has bits that no member stands for; send its value")
        return extension(ENUM, f"{name}\0{member}".encode())

    def _scalar(self, value: Any, kind: type) -> Any:
        if kind is str:
            # A str with lone surrogates (a file name that is no UTF-8, say) is rare, and carried exactly all the same.
            return value if _is_unicode(value) else extension(SURROGATES, value.encode("utf-8", "surrogatepass"))
        try:
            return self._encoders[kind](value)
        except Refused as refusal:
            raise Refused(value, refusal.reason) from None
        except Exception as error:
            raise Refused(value, f"this {kind.__name__} cannot be sent: {error}") from error


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _field_values(entry: MessageClass, value: Any) -> list[Any]:
    try:
        return entry.values(value)
    except AttributeError as error:
        raise Refused(value, f"a field of {entry.cls.__qualname__} has no value: {error}") from error


def _encode_by(encode: Callable[[Any], Any], value: Any) -> Any:
    try:
        return encode(value)
    except Exception as error:
        raise Refused(value, f"the encoder of {type(value).__qualname__} raised {type(error).__name__}") from error
