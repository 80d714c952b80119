"""On the way in: containers and objects from msgpack's arrays. See `codec` for the format.

Trusts nothing: what comes here was unpacked, so its memory is bounded by its bytes, but its
marks, names and shapes may be anything. Depth is checked going down, so the recursion is never
deeper than the limit. Raises DecodeError where it knows better than the error that comes by
itself (of hashing a list, say), which the codec turns into one.
"""

from __future__ import annotations

from collections.abc import Callable, Sized
from enum import Enum
from typing import Any, TypeVar

from msgpack import Timestamp

from partisan_actors.processes.identity import Global, Remote, Via
from partisan_actors.wire.message_types import (
    EnumClass,
    MessageTypes,
    RegisteredType,
    find_enum,
    find_member,
    unknown_class,
)
from partisan_actors.wire.shaping import (
    DICT,
    FROZENSET,
    GLOBAL,
    LIST,
    MESSAGE,
    REGISTERED,
    REMOTE,
    RUNTIME,
    SET,
    TUPLE,
    VIA,
)
from partisan_actors.wire.terms import DecodeError

__all__ = ["NESTED", "Builder"]

_FEW = 64  # keys that may collide as they like

Collection = TypeVar("Collection", bound=Sized)

NESTED = frozenset((list, dict, Timestamp))
"""Types that come out of the unpacker and are no value yet: arrays, and what the format does not use."""


class Builder:
    """Builds what a codec decodes."""

    __slots__ = ("_builders", "_max_depth", "_registry", "extensions")

    def __init__(self, registry: MessageTypes, max_depth: int) -> None:
        self._registry = registry
        self._max_depth = max_depth
        # Code to decoder, of register_extension.
        self.extensions: dict[int, Callable[[Any], Any]] = {}
        self._builders: dict[int, Callable[[list[Any]], Any]] = {
            DICT: _dict,
            SET: _set,
            FROZENSET: _frozenset,
            MESSAGE: self._message,
            REGISTERED: self._registered,
            RUNTIME: self._runtime,
            REMOTE: _remote,
            GLOBAL: _global,
            VIA: _via,
        }

    def build(self, items: Any, depth: int) -> Any:
        """The value that an array stands for; `items` is used up. `depth` counts the containers around it, and it."""
        if type(items) is not list:
            raise DecodeError("a msgpack map" if type(items) is dict else "unknown extension type -1")
        if not items:
            raise DecodeError("an array without a mark")
        mark = items.pop()
        if type(mark) is not int:
            raise DecodeError("an array whose mark is no int")
        if not NESTED.isdisjoint(map(type, items)):
            if depth >= self._max_depth:
                raise DecodeError(f"nested deeper than {self._max_depth}")
            below = depth + 1
            items = [self.build(item, below) if type(item) in NESTED else item for item in items]
        if mark == TUPLE:
            return tuple(items)
        if mark == LIST:
            return items
        build = self._builders.get(mark)
        if build is None:
            raise DecodeError(f"unknown mark {mark}")
        return build(items)

    def enum(self, payload: bytes) -> Enum:
        """The member that an extension's payload names."""
        name, _, member = payload.decode().partition("\0")
        entry = self._registry.named(name)
        cls = entry.cls if isinstance(entry, EnumClass) else find_enum(name) if entry is None else None
        if cls is None:
            raise unknown_class(name)
        return find_member(cls, member)

    def _message(self, items: list[Any]) -> Any:
        signature = items.pop() if items else None
        if type(signature) is not str:
            raise DecodeError("an object without a signature")
        return self._registry.read(signature, items)

    def _registered(self, items: list[Any]) -> Any:
        term, name = _exactly(2, items)
        if type(name) is not str:
            raise DecodeError("an object without a class name")
        entry = self._registry.named(name)
        if not isinstance(entry, RegisteredType):
            raise unknown_class(name)
        return _decode_by(entry.decode, term, name)

    def _runtime(self, items: list[Any]) -> Any:
        term, code = _exactly(2, items)
        decode = self.extensions.get(code) if type(code) is int else None
        if decode is None:
            raise DecodeError(f"unknown extension type {code!r:.40}")
        return _decode_by(decode, term, f"extension type {code}")


def _check_hashes(keys: list[Any]) -> None:
    """Refuse keys made to collide: each would be compared with all before it, which takes seconds for 100 KB."""
    if len(keys) > _FEW and len(set(map(hash, keys))) < len(keys) // 8:
        raise DecodeError("too many keys or elements of one hash")


def _exactly(count: int, items: list[Any]) -> list[Any]:
    if len(items) != count:
        raise DecodeError(f"{len(items)} items in place of {count}")
    return items


def _dict(items: list[Any]) -> dict[Any, Any]:
    if len(items) % 2:
        raise DecodeError("a key without a value")
    _check_hashes(items[::2])
    pairs = iter(items)
    return _all_there(dict(zip(pairs, pairs, strict=True)), len(items) // 2)


def _set(items: list[Any]) -> set[Any]:
    _check_hashes(items)
    return _all_there(set(items), len(items))


def _frozenset(items: list[Any]) -> frozenset[Any]:
    _check_hashes(items)
    return _all_there(frozenset(items), len(items))


def _all_there(collection: Collection, count: int) -> Collection:
    """Two equal keys: a hostile sender, or a class whose fields here cannot tell apart what they could there."""
    if len(collection) != count:
        raise DecodeError("equal keys or elements")
    return collection


def _remote(items: list[Any]) -> Remote:
    return Remote(*_exactly(2, items))


def _global(items: list[Any]) -> Global:
    return Global(*_exactly(1, items))


def _via(items: list[Any]) -> Via:
    return Via(*_exactly(2, items))


def _decode_by(decode: Callable[[Any], Any], term: Any, name: str) -> Any:
    try:
        return decode(term)
    except DecodeError:
        raise
    except Exception as error:
        raise DecodeError(f"the decoder of {name} raised {type(error).__name__}") from error
