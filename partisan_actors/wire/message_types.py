"""The classes of users that may cross between nodes, and the names that they cross under.

Owns the table from class to name and back: dataclasses marked `@message`, classes given to
`register_type`, and enumerations. It is filled while modules are imported, by decorators, so
there is one table per program (`KNOWN_TYPES`); a codec can be given another one.

A dataclass crosses as its field values and a *signature*: its name and the names of its
fields, "shop.orders:Order id quantity". The receiver reads them by name, so both sides may
have different versions of the class: a field that it does not know is passed over, one that
is missing takes its default. Reading makes the object with `object.__new__` and sets its
fields; neither `__init__` nor `__post_init__` runs, and attributes that are no fields stay
behind.

Reading a name never imports. A name that is not in the table is unknown, but for an
enumeration, which is also found where its module is loaded already: by walking dictionaries,
not attributes, since a module's `__getattr__` may import.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, Flag
from functools import partial
from operator import attrgetter
from types import ModuleType
from typing import Any, NamedTuple, TypeVar, dataclass_transform, overload
from uuid import UUID

from partisan_actors.processes.identity import Global, Life, Pid, Ref, Remote, Via
from partisan_actors.wire.terms import DecodeError

__all__ = [
    "KNOWN_TYPES",
    "SENDABLE_UNMARKED",
    "EnumClass",
    "MessageClass",
    "MessageReader",
    "MessageTypes",
    "RegisteredType",
    "find_enum",
    "find_member",
    "member_name",
    "message",
    "qualified_name",
    "register_message_class",
    "register_type",
    "unknown_class",
]

Class = TypeVar("Class", bound=type)

_MAX_NAME = 500
# A signature comes from outside: only so many, and none longer, are remembered with what they mean.
_MAX_READERS = 4096
_MAX_REMEMBERED_SIGNATURE = 4096
# Frozen or not, and whatever `__setattr__` the class has.
_set_field = object.__setattr__
_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: made by a class statement, not in C


class MessageReader(NamedTuple):
    """How the values of one signature become an object."""

    cls: type
    names: tuple[str | None, ...]
    """The field of each value; None where this version of the class has no such field."""
    missing: tuple[tuple[str, Callable[[], Any]], ...]
    """Fields that the signature lacks, and what gives their default."""

    def read(self, values: list[Any]) -> Any:
        """The object with these values, as many as `names`."""
        made: object = object.__new__(self.cls)
        for name, value in zip(self.names, values, strict=True):
            if name is not None:
                _set_field(made, name, value)
        for name, make_default in self.missing:
            _set_field(made, name, make_default())
        return made


class MessageClass:
    """A dataclass that may cross."""

    __slots__ = ("_read_fields", "cls", "field_names", "name", "signature")

    def __init__(self, cls: type, name: str) -> None:
        self.cls = cls
        self.name = name
        self.field_names = tuple(field.name for field in dataclasses.fields(cls))
        self.signature = " ".join((name, *self.field_names))
        self._read_fields = attrgetter(*self.field_names) if self.field_names else None

    def values(self, instance: Any) -> list[Any]:
        """Its field values, in order. Raises AttributeError for a field that was never set."""
        if self._read_fields is None:
            return []
        values = self._read_fields(instance)
        return [values] if len(self.field_names) == 1 else [*values]

    def reader(self, names: list[str]) -> MessageReader:
        """The reader of a signature with these field names. Raises DecodeError for a missing one without default."""
        if len(set(names)) != len(names):
            raise DecodeError(f"a field twice in {_full_name(self.cls)}")
        sent = frozenset(names)
        missing = tuple(
            (field.name, self._default(field)) for field in dataclasses.fields(self.cls) if field.name not in sent
        )
        known = tuple(name if name in self.field_names else None for name in names)
        return MessageReader(self.cls, known, missing)

    def _default(self, field: dataclasses.Field[Any]) -> Callable[[], Any]:
        if field.default is not dataclasses.MISSING:
            return partial(_itself, field.default)
        if field.default_factory is not dataclasses.MISSING:
            return field.default_factory
        raise DecodeError(f"field {field.name} of {_full_name(self.cls)} is missing and has no default")


class RegisteredType(NamedTuple):
    """A class whose owner says how it is turned into a sendable term and back."""

    cls: type
    name: str
    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


class EnumClass(NamedTuple):
    """An enumeration that was given a name of its own, or cannot be found by its own."""

    cls: type[Enum]
    name: str


_OF_PYTHON = (type(None), bool, int, float, str, bytes, bytearray, list, tuple, dict, set, frozenset)
_OF_ITS_LIBRARY = (datetime, date, time, timedelta, Decimal, UUID)
_OF_OURS = (Life, Pid, Ref, Remote, Global, Via)
SENDABLE_UNMARKED: frozenset[type] = frozenset((*_OF_PYTHON, *_OF_ITS_LIBRARY, *_OF_OURS))
"""What every codec can send, by exact type. Enumerations can be sent unmarked as well, where they can be found."""

Entry = MessageClass | RegisteredType | EnumClass


class MessageTypes:
    """The table: what may cross, by class and by name."""

    __slots__ = ("_by_name", "_readers", "by_class")

    def __init__(self) -> None:
        # Exact class to its newest entry. Read by the codec for each object, so without a method around it.
        self.by_class: dict[type, Entry] = {}
        # Every name ever given and still meant. A class that got a second name is still read under the first.
        self._by_name: dict[str, Entry] = {}
        # Signatures seen, oldest first. Holds nothing that `_by_name` would now answer differently.
        self._readers: dict[str, MessageReader] = {}

    def add_message(self, cls: type, name: str | None = None) -> None:
        """Let the dataclass or enumeration `cls` cross, under `name` (default: "module:qualified name").

        Raises TypeError for a class that is neither, ValueError for a name that is no name or is another class's.
        """
        name = qualified_name(cls) if name is None else name
        if issubclass(cls, Enum):
            self._add(EnumClass(cls, name))
            return
        if "__dataclass_fields__" not in cls.__dict__:
            raise TypeError(f"{_full_name(cls)} is no dataclass")
        builtin = next((base for base in cls.__mro__[:-1] if not base.__flags__ & _HEAP_TYPE), None)
        if builtin is not None:
            lost = f"{builtin.__name__}, whose part would be lost; use register_type"
            raise TypeError(f"{_full_name(cls)} extends {lost}")
        self._add(MessageClass(cls, name))

    def add_type(
        self, cls: type, encode: Callable[[Any], Any], decode: Callable[[Any], Any], name: str | None = None
    ) -> None:
        """Let `cls` cross as the term that `encode` makes of it; raises as `add_message` does."""
        if not isinstance(cls, type) or not callable(encode) or not callable(decode):
            raise TypeError("register_type takes a class and two functions")
        self._add(RegisteredType(cls, qualified_name(cls) if name is None else name, encode, decode))

    def named(self, name: str) -> Entry | None:
        """What was registered as `name`."""
        return self._by_name.get(name)

    def read(self, signature: str, values: list[Any]) -> Any:
        """The object with this signature and these field values. Raises DecodeError when it cannot be made here."""
        reader = self._readers.get(signature)
        if reader is None:
            # Counted first: a signature may be as long as a message, and splitting it makes as many strings.
            if signature.count(" ") != len(values):
                raise DecodeError("an object whose fields and values are not as many")
            reader = self._new_reader(signature)
        elif len(reader.names) != len(values):
            raise DecodeError("an object whose fields and values are not as many")
        return reader.read(values)

    def _new_reader(self, signature: str) -> MessageReader:
        name, *field_names = signature.split(" ")
        entry = self._by_name.get(name)
        if not isinstance(entry, MessageClass):
            raise unknown_class(name)
        reader = entry.reader(field_names)
        if len(signature) <= _MAX_REMEMBERED_SIGNATURE:
            if len(self._readers) >= _MAX_READERS:
                self._readers.clear()
            self._readers[signature] = reader
        return reader

    def _add(self, entry: Entry) -> None:
        name, cls = entry.name, entry.cls
        if cls in SENDABLE_UNMARKED:
            raise ValueError(f"{cls.__name__} can be sent as it is")
        if not name or len(name) > _MAX_NAME or not name.isprintable() or " " in name:
            raise ValueError(f"{name!r} is no name for a class: 1 to {_MAX_NAME} printable characters without spaces")
        before = self._by_name.get(name)
        if before is not None and before.cls is not cls:
            # A module that is loaded again, or a function that is called again, makes its classes anew under their
            # old names. The newest is meant; objects of the older one must not arrive as something they are not.
            if qualified_name(before.cls) != qualified_name(cls):
                raise ValueError(f"{_full_name(cls)} cannot be called {name!r}: {_full_name(before.cls)} is")
            if self.by_class.get(before.cls) is before:
                del self.by_class[before.cls]
        self._by_name[name] = entry
        self.by_class[cls] = entry
        self._readers.clear()


KNOWN_TYPES = MessageTypes()
"""The table of the program."""


@overload
def message(cls: Class, /) -> Class: ...


@overload
def message(
    *, name: str | None = None, frozen: bool = False, slots: bool = False, order: bool = False, kw_only: bool = False
) -> Callable[[Class], Class]: ...


@dataclass_transform(field_specifiers=(dataclasses.field,))
def message(cls: type | None = None, /, *, name: str | None = None, **options: bool) -> Any:
    """Let objects of a class cross to other nodes, and make it a dataclass if it is not one yet.

    Works bare and with arguments: `name`, which other nodes know it by, so that it may move to another module
    (default: its module and qualified name), and the `dataclass` options `frozen`, `slots`, `order` and `kw_only`. An
    `Enum` can be marked, too. Returns the class, a new one with `slots=True`. Raises TypeError for a class that cannot
    be restored from its fields, ValueError for a taken name. Source: api.md, "Messages across nodes".

    >>> @message(frozen=True)
    ... class Order:
    ...     id: int
    ...     note: str = "none"
    >>> Order(7)
    Order(id=7, note='none')
    """

    def mark(cls: type) -> type:
        if not isinstance(cls, type):
            raise TypeError(f"@message marks classes, not {cls!r}")
        finished = issubclass(cls, Enum) or "__dataclass_fields__" in cls.__dict__
        if finished and options:
            raise TypeError(f"{_full_name(cls)} is made already; {', '.join(options)} would have no effect")
        made = cls if finished else dataclasses.dataclass(cls, **options)
        KNOWN_TYPES.add_message(made, name)
        return made

    return mark if cls is None else mark(cls)


def register_message_class(cls: type, name: str | None = None) -> None:
    """Let a dataclass or an enumeration that was made elsewhere cross, unchanged, under `name`; see `message`."""
    KNOWN_TYPES.add_message(cls, name)


def register_type(
    cls: type, encode: Callable[[Any], Any], decode: Callable[[Any], Any], name: str | None = None
) -> None:
    """Let objects of exactly the class `cls` cross to other nodes.

    `encode(object)` gives a sendable term, `decode(term)` the object; both must be free of side effects. `name` is what
    other nodes know it by (default: its module and qualified name). Raises TypeError for what is no class or no
    function, ValueError for a taken name. Source: api.md, "Messages across nodes".

    >>> register_type(complex, lambda value: (value.real, value.imag), lambda term: complex(*term))
    """
    KNOWN_TYPES.add_type(cls, encode, decode, name)


def qualified_name(cls: type) -> str:
    """The name that a class has without being given one: "module:qualified name"."""
    return f"{cls.__module__}:{cls.__qualname__}"


def find_enum(name: str) -> type[Enum] | None:
    """The enumeration with this qualified name, if its module is loaded. Imports nothing and runs no user code."""
    if len(name) > _MAX_NAME:
        return None
    module_name, _, path = name.partition(":")
    found: object = sys.modules.get(module_name)
    if not isinstance(found, ModuleType):
        return None
    namespace = object.__getattribute__(found, "__dict__")
    for part in path.split("."):
        found = namespace.get(part)
        if not isinstance(found, type):
            return None
        namespace = type.__getattribute__(found, "__dict__")
    return found if isinstance(found, type) and issubclass(found, Enum) else None


def member_name(member: Enum) -> str | None:
    """What `find_member` finds it by; None for a flag with bits that no member stands for."""
    name = member._name_
    if name is not None and "\0" not in name and member.__class__.__members__.get(name) is member:
        return name
    if isinstance(member, Flag) and _only_known_bits(type(member), member._value_):
        return f"\0{member._value_}"
    return None


def find_member(cls: type[Enum], name: str) -> Enum:
    """The member of `cls` with that name, or the combination of flags. Raises DecodeError when there is none."""
    member = cls.__members__.get(name)
    if member is not None:
        return member
    if issubclass(cls, Flag) and name[:1] == "\0" and len(name) < _MAX_NAME:
        value = int(name[1:])
        # Each combination made is kept by its class for good, so none is made of bits that mean nothing.
        if _only_known_bits(cls, value):
            return cls(value)
    raise DecodeError(f"{_full_name(cls)} has no member {name[:_MAX_NAME]!r}")


def unknown_class(name: str) -> DecodeError:
    """The error for a name that nothing here was registered under."""
    return DecodeError(f"unknown class {name[:_MAX_NAME].replace(':', '.')}")


def _only_known_bits(cls: type[Flag], value: int) -> bool:
    known = 0
    for member in cls.__members__.values():
        known |= member._value_
    return value >= 0 and value & ~known == 0


def _itself(value: Any) -> Any:
    return value


def _full_name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
