"""Classes of users: how they are marked, what they are called, and how two versions of one understand each other."""

from __future__ import annotations

import dataclasses
import enum
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import InitVar, dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

import pytest

from partisan_actors.errors import NotSendable
from partisan_actors.wire.codec import Codec, DecodeError
from partisan_actors.wire.message_types import (
    KNOWN_TYPES,
    MessageTypes,
    message,
    register_message_class,
    register_type,
)

Value = TypeVar("Value")


@pytest.fixture
def codec():
    return Codec()


def arrived(term: Any) -> Any:
    """What `term` is on another node."""
    return Codec().decode(Codec().encode(term))


def read_as(cls: type, term: Any) -> Any:
    """What `term` is on a node whose class of the same name is `cls`."""
    sender, receiver = MessageTypes(), MessageTypes()
    sender.add_message(type(term), "shop:Order")
    receiver.add_message(cls, "shop:Order")
    return Codec(registry=receiver).decode(Codec(registry=sender).encode(term))


@message
class Plain:
    """Made a dataclass by the mark."""

    id: int
    note: str = "none"


@message(frozen=True, slots=True, order=True, kw_only=True)
class Strict:
    id: int
    parts: tuple[int, ...] = ()


@message
@dataclass(frozen=True, slots=True)
class Finished:
    id: int


@message
class Guarded:
    """Everything that reading must not run."""

    id: int
    given: InitVar[int] = 0
    doubled: int = field(default=0, init=False)
    shared: ClassVar[list[int]] = []

    def __post_init__(self, given: int) -> None:
        self.shared.append(self.id)
        self.doubled = 2 * self.id

    def __new__(cls, *args: Any, **kwargs: Any) -> Guarded:
        cls.shared.append(-1)
        return super().__new__(cls)

    def __setattr__(self, name: str, value: Any) -> None:
        self.shared.append(-2)
        super().__setattr__(name, value)


@message
class Base:
    first: int
    second: int = 2


@message(kw_only=True)
class Derived(Base):
    third: int


@message
class Box(Generic[Value]):
    value: Value


@message
class Shape(ABC):
    name: str

    @abstractmethod
    def area(self) -> float: ...


@message
class Square(Shape):
    side: float = 1.0

    def area(self) -> float:
        return self.side**2


@message(name="shop.colour")
class Colour(enum.Enum):
    RED = 1


@pytest.mark.parametrize(
    "term",
    [
        *(Plain(1), Plain(2, "x"), Strict(id=3, parts=(1, 2)), Finished(4), Base(1), Derived(1, third=3)),
        *(Box[int](5), Box([Box(Plain(1))]), Square("s", 2.0), Colour.RED, {Finished(1): {Strict(id=2)}}),
    ],
)
def test_arrives_equal_and_of_its_class(term):
    result = arrived(term)
    assert result == term
    assert type(result) is type(term)


def test_a_mark_makes_a_dataclass():
    assert Plain(7) == Plain(id=7, note="none")
    assert Strict(id=1) < Strict(id=2)
    assert not hasattr(Strict(id=1), "__dict__")
    with pytest.raises(dataclasses.FrozenInstanceError):
        Strict(id=1).id = 2


def test_reading_runs_no_code_of_the_class():
    term = Guarded(3)
    term.__dict__["extra"] = "not a field"
    Guarded.shared.clear()
    result = arrived(term)
    assert Guarded.shared == []
    assert result.__dict__ == {"id": 3, "doubled": 6}


# Versions


@dataclass
class Old:
    id: int
    dropped: str = "dropped"


@dataclass
class New:
    id: int
    amount: int = 1
    tags: list[str] = field(default_factory=lambda: ["new"])
    later: int = field(default=5, init=False)


@dataclass
class Demanding:
    id: int
    needed: int


@dataclass
class Late:
    id: int
    computed: int = field(init=False)


@dataclass(frozen=True, slots=True)
class Tight:
    amount: int = 9
    id: int = 0


def test_a_field_unknown_here_is_passed_over_and_a_missing_one_takes_its_default():
    result = read_as(New, Old(4))
    assert result == New(4)
    assert vars(result) == {"id": 4, "amount": 1, "tags": ["new"], "later": 5}
    assert read_as(New, Old(4)).tags is not result.tags
    assert read_as(Old, New(4, 5)) == Old(4)
    assert read_as(Tight, New(4, 5)) == Tight(5, 4)
    assert read_as(Tight, Old(4)) == Tight(9, 4)


def test_fields_are_read_by_name_not_by_place():
    assert read_as(New, Tight(1, 2)) == New(2, 1)


@pytest.mark.parametrize(("cls", "name"), [(Demanding, "needed"), (Late, "computed")])
def test_a_missing_field_without_a_default(cls, name):
    with pytest.raises(DecodeError, match=f"field {name} of .*{cls.__name__} is missing and has no default"):
        read_as(cls, Old(1))


def test_a_default_that_cannot_be_made():
    def fail() -> int:
        raise LookupError("no default today")

    cls = dataclasses.make_dataclass("Failing", [("id", int), ("other", int, field(default_factory=fail))])
    with pytest.raises(DecodeError, match="LookupError: no default today"):
        read_as(cls, Old(1))


@pytest.mark.parametrize(
    ("signature", "values", "reason"),
    [
        ("shop:Order id", (), "not as many"),
        ("shop:Order id", (1, 2), "not as many"),
        ("shop:Order id id", (1, 2), "a field twice"),
        ("shop:Order", (), "field id of .*Demanding is missing"),
        ("shop:Order id needed", (1, 2, 3), "not as many"),
        ("shop:Order  ", (1, 2), "a field twice"),
        ("shop:Orders id", (1,), "unknown class shop.Orders"),
        ("typed", (), "unknown class typed"),
        ("colour", (), "unknown class colour"),
        (" " * 100_000, (), "not as many"),
        ("builtins:list", (), "unknown class builtins.list"),
        (f"{__name__}:Old id", (1,), "unknown class .*Old"),
    ],
)
def test_signatures_that_fit_nothing(signature, values, reason):
    registry = MessageTypes()
    registry.add_message(Demanding, "shop:Order")
    registry.add_message(Colour, "colour")
    registry.add_type(complex, repr, complex, "typed")
    codec = Codec(registry=registry)
    plain = Codec().encode([*values, signature])
    for _ in range(2):
        with pytest.raises(DecodeError, match=reason):
            codec.decode(plain[:-1] + b"\x05")
    assert codec.decode(Codec().encode([1, 2, "shop:Order id needed"])[:-1] + b"\x05") == Demanding(1, 2)


def test_signatures_from_outside_take_bounded_memory():
    registry = MessageTypes()
    registry.add_message(Old, "o")
    codec, plain = Codec(registry=registry), Codec()
    for number in range(6000):
        codec.decode(plain.encode([1, 2, f"o id f{number}"])[:-1] + b"\x05")
    codec.decode(plain.encode([1, 2, "o id " + "f" * 10_000])[:-1] + b"\x05")
    assert len(registry._readers) <= 4096
    assert max(map(len, registry._readers)) < 100


# Registration


def test_a_class_that_is_no_dataclass_is_refused():
    class Ordinary:
        pass

    class Inherits(Plain):
        more: int = 0

    for cls in (Ordinary, Inherits):
        with pytest.raises(TypeError, match="is no dataclass"):
            register_message_class(cls)
    with pytest.raises(TypeError, match="marks classes"):
        message(len)


def test_a_subclass_takes_a_mark_of_its_own(codec):
    class Unmarked(Plain):
        pass

    with pytest.raises(NotSendable, match="is not marked, only its base Plain is"):
        codec.encode(Unmarked(1))
    marked = message(Unmarked)
    assert type(arrived(marked(1))) is marked


@pytest.mark.parametrize("base", [dict, str, int, Exception, tuple])
def test_a_class_with_a_part_that_is_no_field_is_refused(base):
    with pytest.raises(TypeError, match=f"extends {base.__name__}.*use register_type"):
        message(type("Extended", (base,), {"__annotations__": {"id": int}}))


def test_options_for_a_class_that_is_made_already():
    with pytest.raises(TypeError, match="made already; frozen would have no effect"):
        message(frozen=True)(dataclass(type("Made", (), {})))
    with pytest.raises(TypeError, match="made already"):
        message(slots=True)(enum.Enum("Made", "A B"))
    with pytest.raises(TypeError, match="unexpected"):
        message(thawed=True)(type("Made", (), {}))


@pytest.mark.parametrize("name", ["", "a b", "a\0b", "x" * 501, "line\nbreak"])
def test_names_that_are_none(name):
    with pytest.raises(ValueError, match="is no name for a class"):
        MessageTypes().add_message(Old, name)


def test_a_name_belongs_to_one_class():
    registry = MessageTypes()
    registry.add_message(Old, "o")
    registry.add_message(Old, "o")
    with pytest.raises(ValueError, match=r"New cannot be called 'o': .*Old is"):
        registry.add_message(New, "o")
    with pytest.raises(ValueError, match="cannot be called"):
        registry.add_type(complex, repr, complex, "o")


def test_a_class_with_a_second_name_is_read_under_both():
    """How a class is renamed: first every node knows both names, then the old one is forgotten."""
    registry, before = MessageTypes(), MessageTypes()
    before.add_message(Old, "before")
    registry.add_message(Old, "before")
    registry.add_message(Old, "after")
    codec = Codec(registry=registry)
    assert codec.decode(Codec(registry=before).encode(Old(1))) == Old(1)
    assert b"after" in codec.encode(Old(1))


def made_again() -> type:
    @message
    class Again:
        id: int

    return Again


def test_a_class_that_is_defined_anew_replaces_the_older_one(codec):
    older = made_again()
    assert type(arrived(older(1))) is older
    data = codec.encode(older(1))
    newer = made_again()
    assert type(codec.decode(data)) is newer
    with pytest.raises(NotSendable, match="was defined anew"):
        codec.encode([older(1)])
    assert older not in KNOWN_TYPES.by_class


def test_existing_dataclasses_are_registered_unchanged():
    """As node.py does with the messages of the runtime."""

    @dataclass(frozen=True, slots=True)
    class Down:
        sender: Any
        reason: Any

    with pytest.raises(NotSendable, match="mark its class with @message"):
        Codec().encode(Down(1, 2))
    register_message_class(Down)
    assert arrived([Down(("a",), {"b": None})]) == [Down(("a",), {"b": None})]
    register_message_class(Down, "Down")
    assert b"Down sender reason" in Codec().encode(Down(1, 2))
    assert type(arrived(Down(1, 2))) is Down


class Callback:
    def __init__(self, function: Callable[[], int]) -> None:
        self.function = function


def test_a_registered_type(codec):
    register_type(range, lambda value: (value.start, value.stop, value.step), lambda term: range(*term), name="range")
    assert codec.decode(codec.encode({range(1, 9, 2): [range(3)]})) == {range(1, 9, 2): [range(3)]}
    data = codec.encode(range(3))
    with pytest.raises(DecodeError, match="unknown class range"):
        Codec(registry=MessageTypes()).decode(data)
    with pytest.raises(DecodeError, match=r"unknown class shop\.colour"):
        codec.decode(data.replace(b"\xa5range", b"\xabshop.colour"))

    class Special(Callback):
        pass

    register_type(Callback, lambda value: None, lambda term: Callback(int))
    assert arrived(Callback(int)).function is int
    with pytest.raises(NotSendable, match="Special is not marked, only its base Callback is"):
        codec.encode(Special(int))


def test_subclasses_of_builtin_types_may_be_registered(codec):
    class Ordered(dict[str, int]):
        pass

    register_type(Ordered, lambda value: list(value.items()), Ordered)
    result = arrived([Ordered(a=1), {"b": Ordered()}])
    assert [type(result[0]), result] == [Ordered, [Ordered(a=1), {"b": Ordered()}]]


@pytest.mark.parametrize("wrong", [(1, repr, repr), (int, 1, repr), (complex, repr, None)])
def test_register_type_takes_a_class_and_two_functions(wrong):
    with pytest.raises(TypeError, match="a class and two functions"):
        MessageTypes().add_type(*wrong)


# Enumerations


class Found(enum.Enum):
    ONE = 1

    def __eq__(self, other: object) -> bool:
        raise AssertionError("runs no code of the class")

    __hash__ = None  # type: ignore[assignment]


class Outer:
    class Inner(enum.StrEnum):
        A = "a"


def test_an_enumeration_needs_no_mark_where_it_can_be_found(codec):
    for member in (Found.ONE, Outer.Inner.A):
        assert codec.decode(codec.encode([member]))[0] is member


def test_a_marked_enumeration_goes_by_its_name(codec):
    assert b"shop.colour\0RED" in codec.encode(Colour.RED)
    local = message(enum.Enum("local", "A B"))
    assert arrived(local.B) is local.B


def test_an_enumeration_with_a_name_of_another_is_not_found(codec):
    impostor = enum.Enum("Found", "ONE", module=__name__)
    with pytest.raises(NotSendable, match="mark it with @message"):
        codec.encode([impostor.ONE])


def test_a_module_that_is_gone_is_unknown(codec, monkeypatch):
    data = codec.encode(Found.ONE)
    monkeypatch.delitem(sys.modules, __name__)
    with pytest.raises(DecodeError, match=r"unknown class .*Found"):
        codec.decode(data)
    with pytest.raises(NotSendable, match="mark it with @message"):
        codec.encode(Found.ONE)
