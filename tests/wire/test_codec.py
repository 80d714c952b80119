"""Terms to bytes and back: equal, of the same types, within limits, and nothing but DecodeError on the way in."""

from __future__ import annotations

import enum
import math
import random
import sys
import threading
import tracemalloc
import types
from collections import OrderedDict, namedtuple
from dataclasses import dataclass, field, is_dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from functools import partial
from typing import Any, cast
from uuid import UUID
from zoneinfo import ZoneInfo

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partisan_actors.errors import NotSendable
from partisan_actors.processes.identity import Global, Life, Pid, Ref, Remote, Via
from partisan_actors.wire.codec import Codec, DecodeError, Limits
from partisan_actors.wire.message_types import SENDABLE_UNMARKED, MessageTypes, message, register_type

HOME = Life("orders@10.0.0.7", 1_700_000_000_000, 0x0123456789ABCDEF)
OTHER = Life("billing@10.0.0.8", 1_700_000_000_001, 0xFEDCBA9876543210)
BERLIN = ZoneInfo("Europe/Berlin")


class Color(enum.Enum):
    RED = 1
    GREEN = "two"
    CRIMSON = RED


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Access(enum.Flag):
    READ = 1
    WRITE = 2
    RUN = 4


class Mode(enum.IntFlag):
    FAST = 1
    SAFE = 2


@message(frozen=True)
class Point:
    x: Any
    y: Any = 0


@message
@dataclass(slots=True)
class Job:
    callback: Any
    tags: list[str] = field(default_factory=list)
    attempts: int = field(default=0, init=False)


@message
class Empty:
    pass


class Money:
    def __init__(self, cents: int) -> None:
        self.cents = cents

    def __eq__(self, other: object) -> bool:
        return type(other) is Money and other.cents == self.cents

    def __hash__(self) -> int:
        return self.cents


register_type(Money, lambda money: [money.cents], lambda term: Money(*term))

Pair = namedtuple("Pair", "first second")


class MyDict(dict):
    pass


class MyText(str):
    pass


@pytest.fixture
def codec():
    return Codec(HOME)


def same(left: Any, right: Any) -> bool:
    """Equal, and of the same type, at every depth; a nan is the same as a nan."""
    if type(left) is not type(right):
        return False
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        # In the same order; keys with a nan in them are equal to nothing.
        return len(left) == len(right) and all(map(same, left.items(), right.items()))
    if isinstance(left, set | frozenset):
        unmatched = list(right)
        for element in left:
            match = next((index for index, other in enumerate(unmatched) if same(element, other)), None)
            if match is None:
                return False
            del unmatched[match]
        return not unmatched
    if isinstance(left, float):
        return (
            math.isnan(left)
            if math.isnan(right)
            else (left, math.copysign(1, left)) == (right, math.copysign(1, right))
        )
    if isinstance(left, Decimal):
        return str(left) == str(right)
    if isinstance(left, datetime | time):
        return (
            left.replace(tzinfo=None) == right.replace(tzinfo=None)
            and left.fold == right.fold
            and same_zone(left.tzinfo, right.tzinfo)
        )
    if is_dataclass(left):
        return all(same(getattr(left, name), getattr(right, name)) for name in left.__dataclass_fields__)
    if isinstance(left, Pid | Ref):
        return left == right and (left.home is HOME) == (right.home is HOME)
    return bool(left == right)


def same_zone(left: tzinfo | None, right: tzinfo | None) -> bool:
    return type(left) is type(right) and repr(left) == repr(right)


EXAMPLES: list[Any] = [
    *(None, True, False, 0, -1, 127, 128, -33, 2**31, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1),
    *(10**400, -(10**400), 0.0, -0.0, 1.5, math.inf, -math.inf, math.nan, sys.float_info.max, 5e-324),
    *("", "text", "grün 🙂", "a\0b", "\ud800", "file\udcff name", "x" * 70_000),
    *(b"", b"\0\xff", b"x" * 20_000, b"x" * 70_000, bytearray(), bytearray(b"x"), bytearray(b"y" * 300)),
    *([], (), {}, set(), frozenset(), [[]], ((),), [()], ([],), [{}], {1, 2}, frozenset({(1,)})),
    [1, (2, [3, (4,)]), {"a": (b"b", bytearray(b"c"), [bytearray(b"d")])}],
    {1: 1, "1": 2, b"1": 3, (1,): 4, None: 5, frozenset({1, (2,)}): 6, 2.5: 7, Decimal("8"): 8},
    {Pid(HOME, 1): Ref(OTHER, 2), Remote("a", "b"): Global("c"), Point(1, (2,)): Color.RED, Color.GREEN: {}},
    {"\udc80": ["\udc80"], "plain": Point("\udc80", {"\udc80"})},
    *(Decimal("NaN"), Decimal("sNaN123"), Decimal("-Infinity"), Decimal("1E+9999"), Decimal("-0.000"), Decimal(1)),
    *(UUID(int=0), UUID(int=2**128 - 1)),
    *(date.min, date.max, timedelta.min, timedelta.max, timedelta(microseconds=-1), time(0), time.max),
    *(time(2, 30, fold=1, tzinfo=UTC), time(1, tzinfo=timezone(timedelta(hours=-5, seconds=1)))),
    *(datetime.min, datetime.max, datetime(2026, 11, 24, 1, 2, 3, 4, UTC), datetime(2026, 1, 1, tzinfo=BERLIN)),
    datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=BERLIN),
    datetime(2026, 10, 25, 2, 30, tzinfo=timezone(timedelta(minutes=330), "IST")),
    datetime(2026, 10, 25, 2, 30, tzinfo=timezone(timedelta(0), "")),
    datetime(2026, 10, 25, tzinfo=timezone(timedelta(hours=23, minutes=59, microseconds=999_999))),
    *(Color.RED, Color.CRIMSON, Level.HIGH, Access.READ, Access.READ | Access.RUN, Access(0), ~Access.READ, Mode(3)),
    *(HOME, OTHER, Pid(HOME, 17), Pid(OTHER, 2**64 - 1), Ref(HOME, 0), Remote("x", "y"), Global("z")),
    Via(Global("registry"), ("key", 1)),
    *(Point(1), Point([1], (2,)), Job("later", ["a"]), Empty(), Money(5), [Money(1), {Money(2): Money(3)}]),
]


@pytest.mark.parametrize("term", EXAMPLES, ids=lambda term: repr(term)[:40])
def test_arrives_the_same(codec, term):
    for sent in (term, (term,), [term, "beside"], {"key": term}, (1, [(term,)])):
        encoded = codec.encode(sent)
        assert type(encoded) is bytes
        assert same(codec.decode(encoded), sent)
        assert same(codec.decode(memoryview(b"head" + encoded)[4:]), sent)
        codec.check(sent)


GOLDEN = [
    (None, "c0"),
    (-1, "ff"),
    (b"ab", "c4026162"),
    ("ab", "a26162"),
    ([1], "920100"),
    ((1, "a"), "9301a16101"),
    (((),), "92910101"),
    ({"a": 1}, "93a1610102"),
    ({5}, "920503"),
    (frozenset({7}), "920704"),
    (Remote("n", "m"), "93a16ea16d08"),
    (Global("n"), "92a16e09"),
    (Via(None, 1), "93c0010a"),
    (2**64, "c70901010000000000000000"),
    ("\ud800", "c70302eda080"),
    (bytearray(b"a"), "d40361"),
    (Decimal("1.5"), "c70304312e35"),
    (datetime(2026, 11, 24, 1, 2, 3, 4, UTC), "c70d0507ea0b18010203000000040075"),
    (datetime(2026, 11, 24, tzinfo=BERLIN), "c71a0507ea0b1800000000000000007a4575726f70652f4265726c696e"),
    (date(2026, 11, 24), "d60607ea0b18"),
    (time(1, 2, 3, 4), "d7070102030000000400"),
    (timedelta(1, 2, 3), "c70c08000000010000000200000003"),
    (UUID(int=1), "d80900000000000000000000000000000001"),
    (Pid(Life("n", 2, 3), 1), "c7190b0000000000000001000000000000000200000000000000036e"),
    (Ref(Life("n", 2, 3), 1), "c7190c0000000000000001000000000000000200000000000000036e"),
    (Life("n", 2, 3), "c7110d000000000000000200000000000000036e"),
]


@pytest.mark.parametrize(("term", "expected"), GOLDEN, ids=lambda value: repr(value)[:30])
def test_the_format_stays_what_it_is(codec, term, expected):
    assert codec.encode(term).hex() == expected
    assert same(codec.decode(bytes.fromhex(expected)), term)


def test_the_format_of_objects_stays_what_it_is():
    registry = MessageTypes()
    for cls, name in ((Point, "p"), (Empty, "e"), (Access, "a")):
        registry.add_message(cls, name)
    registry.add_type(Money, lambda money: money.cents, Money, "m")
    codec = Codec(registry=registry)
    codec.register_extension(Unmarked, 7, lambda value: None, id)
    assert codec.encode(Point(1, 2)).hex() == "940102" + b"\xa5p x y".hex() + "05"
    assert codec.encode(Empty()).hex() == "92a16505"
    assert codec.encode(Money(5)).hex() == "9305a16d06"
    assert codec.encode(Unmarked()).hex() == "93c00707"
    assert codec.encode(Access.READ).hex() == "c7060a" + b"a\0READ".hex()
    assert codec.encode(Access.READ | Access.RUN).hex() == "d60a" + b"a\0\0".hex() + b"5".hex()


# Hypothesis: everything that may be sent

ZONES = st.one_of(
    st.none(),
    st.sampled_from([UTC, BERLIN, ZoneInfo("America/Argentina/Buenos_Aires"), ZoneInfo("UTC"), ZoneInfo("Etc/GMT+5")]),
    st.builds(timezone, st.timedeltas(min_value=timedelta(hours=-23), max_value=timedelta(hours=23))),
    st.builds(timezone, st.timedeltas(min_value=timedelta(hours=-1), max_value=timedelta(hours=1)), st.text()),
)
LIVES = st.sampled_from([HOME, OTHER, Life("ä@h", 0, 2**64 - 1)])
SERIALS = st.integers(0, 2**64 - 1)
HASHABLE_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(),
    st.text(st.characters(), max_size=5),
    st.characters(categories=["Cs"]),
    st.binary(),
    st.dates(),
    st.timedeltas(),
    st.uuids(),
    st.datetimes(timezones=st.none()),
    st.builds(datetime.replace, st.datetimes(), tzinfo=ZONES, fold=st.integers(0, 1)),
    st.builds(time.replace, st.times(), tzinfo=ZONES, fold=st.integers(0, 1)),
    st.decimals().filter(lambda value: not value.is_snan()),
    st.sampled_from([*Color, *Level, Access.READ | Access.WRITE, Mode.SAFE]),
    LIVES,
    st.builds(Pid, LIVES, SERIALS),
    st.builds(Ref, LIVES, SERIALS),
    st.builds(Remote, st.text(), st.text()),
    st.builds(Global, st.text()),
    st.builds(Money, st.integers()),
)
KEYS = st.recursive(
    HASHABLE_SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(tuple), st.frozensets(inner, max_size=3), st.builds(Point, inner, inner)
    ),
    max_leaves=4,
)
TERMS = st.recursive(
    st.one_of(HASHABLE_SCALARS, st.binary().map(bytearray), st.just(Decimal("sNaN"))),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(KEYS, inner, max_size=4),
        st.sets(KEYS, max_size=4),
        st.frozensets(KEYS, max_size=4),
        st.builds(Point, inner, inner),
        st.builds(Job, inner, st.lists(st.text(), max_size=2)),
        st.builds(Via, inner, inner),
    ),
    max_leaves=12,
)


@settings(max_examples=200)
@given(TERMS)
def test_every_term_arrives_the_same(term):
    codec = Codec(HOME)
    assert same(codec.decode(codec.encode(term)), term)


def decodes_or_says_why(codec: Codec, data: bytes) -> Any:
    try:
        return codec.decode(data)
    except DecodeError as error:
        assert str(error) == error.reason != ""
        return error


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_random_bytes_decode_or_say_why(data):
    decodes_or_says_why(Codec(HOME), data)


@settings(max_examples=300)
@given(TERMS, st.integers(0, 2**32))
def test_mutated_messages_decode_or_say_why(term, seed):
    codec = Codec(HOME)
    data = bytearray(codec.encode(term))
    chance = random.Random(seed)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(4):
            case 0:
                del data[at : at + chance.randint(1, 3)]
            case 1:
                data[at:at] = chance.randbytes(chance.randint(1, 3))
            case 2:
                data[at : at + 1] = bytes([chance.randrange(256)])
            case _:
                data[at:at] = data[chance.randrange(len(data) + 1) :][:20]
    value = decodes_or_says_why(codec, bytes(data))
    if not isinstance(value, DecodeError):
        assert all(type(part) in SENDABLE_UNMARKED or part_is_ours(part) for part in parts_of(value))


def part_is_ours(part: Any) -> bool:
    return isinstance(part, Point | Job | Empty | Money | enum.Enum)


def parts_of(value: Any) -> list[Any]:
    """The value and everything within it."""
    inner: list[Any] = []
    if isinstance(value, dict):
        inner = [*value.keys(), *value.values()]
    elif isinstance(value, list | tuple | set | frozenset):
        inner = [*value]
    return [value, *(part for item in inner for part in parts_of(item))]


@settings(max_examples=100)
@given(
    st.recursive(
        st.one_of(st.integers(0, 12), st.text(max_size=3), st.binary(max_size=3), st.none(), st.just({})),
        lambda inner: st.lists(inner, max_size=4),
        max_leaves=20,
    )
)
def test_well_formed_msgpack_that_is_no_message_says_why(raw):
    decodes_or_says_why(Codec(HOME), msgpack.packb(raw))


# What is no message

DEEP = b"\x92" * 10_000


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "truncated"),
        (b"\xc1", "not msgpack"),
        (b"\x92\x01", "truncated"),
        (b"\xc0\xc0", "trailing bytes"),
        (b"\xa1\xff", "text that is not UTF-8"),
        (b"\x90", "an array without a mark"),
        (b"\x91\xc0", "an array whose mark is no int"),
        (b"\x91\xc3", "an array whose mark is no int"),
        (b"\x91\x4d", "unknown mark 77"),
        (b"\x80", "a msgpack map"),
        (b"\x91\x80", "an array whose mark is no int"),
        (b"\x92\x80\x01", "a msgpack map"),
        (b"\x81\x01\x01", "a msgpack map"),
        (b"\xd4\x4d\x00", "unknown extension type 77"),
        (b"\xd6\xff\x00\x00\x00\x00", "unknown extension type -1"),
        (b"\x92\xd6\xff\x00\x00\x00\x00\x01", "unknown extension type -1"),
        (b"\x93\xc0\x4d\x07", "unknown extension type 77"),
        (b"\x93\xc0\xc0\x07", "unknown extension type None"),
        (b"\x92\x01\x02", "a key without a value"),
        (b"\x92\x01\x05", "an object without a signature"),
        (b"\x92\xaashop:Order\x05", "unknown class shop.Order"),
        (b"\x93\x01\xaashop:Order\x06", "unknown class shop.Order"),
        (b"\x93\x01\x01\x06", "an object without a class name"),
        (b"\xc7\x0c\x0ashop:Order\0A", "unknown class shop.Order"),
        (b"\x95\x01\x01\x01\x01\x02", "equal keys or elements"),
        (b"\x93\x01\x01\x03", "equal keys or elements"),
        (b"\x92\x91\x00\x03", "TypeError: unhashable type: 'list'"),
        (b"\x91\x09", "0 items in place of 1"),
        (DEEP, "nested deeper than 64"),
        (DEEP + b"\x01" * 20_000, "nested deeper than 64"),
        (b"\xd7\x0b" + bytes(8), "a life of 0 bytes"),
        (b"\xc7\x05\x04hello", "InvalidOperation: "),
        (b"\xd6\x06\x00\x00\x00\x00", "ValueError: year 0 is out of range"),
        (b"\xc7\x0f\x05\x07\xea\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00zab", "unknown time zone ab"),
        (b"\xc7\x0d\x05\x07\xea\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00?", "an unknown kind of time zone"),
        (b"\xdd\xff\xff\xff\xff" + b"\x01" * 2000, "truncated"),
        (b"\xdc\x01\x01" + b"\x01" * 200, "truncated"),
    ],
    ids=lambda value: value[:20].hex() if isinstance(value, bytes) else value[:20],
)
def test_what_is_no_message(codec, data, reason):
    for buffer in (data, memoryview(data)):
        with pytest.raises(DecodeError) as caught:
            codec.decode(buffer)
        assert caught.value.reason == reason


@pytest.mark.parametrize(
    "key", ["../etc/passwd", "/etc/passwd", "Europe", "a" * 200, "Europe/../UTC", "", "tzdata.zi", "\0"]
)
def test_time_zone_keys_lead_nowhere_else(codec, key):
    fields = b"\x07\xea\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00z" + key.encode()
    with pytest.raises(DecodeError, match="time zone"):
        codec.decode(msgpack.packb(msgpack.ExtType(5, fields)))


@pytest.mark.parametrize("claim", [b"\xdc\x03\xff", b"\xdc\xff\xff", b"\xdd\x00\x0f\xff\xff", b"\xdd\xff\xff\xff\xff"])
@pytest.mark.parametrize("padding", [0, 100_000])
def test_claims_cost_nothing(codec, claim, padding):
    """A thousand arrays in each other that each claim a million elements."""
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError):
            codec.decode(claim * 1000 + b"\x01" * padding)
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


def test_elements_are_counted_before_they_are_made():
    codec = Codec(limits=Limits(max_elements=1000))
    data = b"\xdd\x00\x10\x00\x00" + b"\x90" * (1 << 20)
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError, match="more than 1000 elements"):
            codec.decode(data)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_long_message_with_few_elements_is_no_long_list():
    codec = Codec(limits=Limits(max_elements=100))
    term = (b"x" * 100_000, "y" * 70_000, bytearray(300), [1.5, -1, 2**40, 2**80, b"x" * 300, "z" * 300], Pid(HOME, 1))
    assert codec.decode(codec.encode(term)) == term


@settings(max_examples=100)
@given(TERMS)
def test_what_passes_the_limits_of_one_side_passes_those_of_the_other(term):
    data = Codec(HOME).encode(term)
    least = next(size for size in range(1, 1000) if encodes(Codec(HOME, Limits(max_elements=size)), term))
    tight = Limits(max_elements=least)
    assert same(Codec(HOME, tight).decode(data), term)
    assert least == 1 or not encodes(Codec(HOME, Limits(max_elements=least - 1)), term)
    if least > 1:
        with pytest.raises(DecodeError, match="more than"):
            Codec(HOME, Limits(max_elements=least - 1)).decode(data)


def encodes(codec: Codec, term: Any) -> bool:
    try:
        codec.encode(term)
    except NotSendable:
        return False
    return True


# What cannot be sent, and where it stands


def nested(levels: int, innermost: Any = None) -> Any:
    for _ in range(levels):
        innermost = [innermost]
    return innermost


def local_enum() -> Any:
    class Local(enum.Enum):
        ONE = 1

    return Local.ONE


class Strange(tzinfo):
    def utcoffset(self, moment: datetime | None) -> timedelta:
        return timedelta(0)

    dst = utcoffset

    def tzname(self, moment: datetime | None) -> str:
        raise AssertionError("nobody asks for it")


def half_made() -> Job:
    job = object.__new__(Job)
    job.callback = 1
    return job


class Kept(Point):
    pass


class Unmarked:
    pass


def unsendable() -> list[tuple[Any, str, str]]:
    """What is sent, the path to what is wrong with it, and a part of the reason."""
    return [
        (print, "message", "a function cannot be sent"),
        (
            ["a", 1, {"job": Job(print)}],
            'message[2]["job"].callback',
            "a function cannot be sent; send its dotted name",
        ),
        (("a", {"b c": lambda: 0}), "message[1]['b c']", "a function"),
        ({1: {(2, 3): [partial(print)]}}, "message[1][<tuple>][0]", "a function"),
        ({("a", print): 1}, "message (key <tuple>)[1]", "a function"),
        ([{print: 1}], "message[0] (key <builtin_function_or_method>)", "a function"),
        ([{int}], "message[0] (element <type>)", "a class cannot be sent"),
        (Point(frozenset({(Unmarked,)})), "message.x (element <tuple>)[0]", "a class"),
        (Point(1, Unmarked()), "message.y", "Unmarked cannot be sent; mark its class with @message, or"),
        (Global(cast(Any, print)), "message.name", "a function"),
        (Via(Unmarked(), 1), "message.registry", "Unmarked cannot be sent"),
        ([Money(cast(Any, print))], "message[0].<encoded>[0]", "a function"),
        (Money, "message", "a class"),
        (iter([]), "message", "send a list"),
        ((item for item in [1]), "message", "send a list"),
        (memoryview(b"x"), "message", "send bytes(view)"),
        (ValueError("x"), "message", "an exception (builtins.ValueError) cannot be sent"),
        (range(3), "message", "an object of builtins.range cannot be sent"),
        (MyDict(a=1), "message", "would arrive as a plain dict; send dict(...)"),
        (OrderedDict(), "message", "would arrive as a plain dict"),
        ([Pair(1, 2)], "message[0]", "would arrive as a plain tuple"),
        ({MyText("key"): 1}, "message (key <MyText>)", "would arrive as a plain str"),
        ([MyText("element")], "message[0]", "would arrive as a plain str"),
        (Kept(1), "message", "Kept is not marked, only its base Point is"),
        (local_enum(), "message", "mark it with @message"),
        (Mode(8), "message", "bits that no member stands for"),
        ([datetime(2026, 1, 1, tzinfo=Strange())], "message[0]", "its time zone"),
        ((time(tzinfo=Strange()),), "message[0]", "its time zone"),
        (half_made(), "message", "a field of Job has no value"),
        ((1, Pid(HOME, -1)), "message[1]", "this Pid cannot be sent"),
        ((1, Ref(HOME, 2**64)), "message[1]", "this Ref cannot be sent"),
        (Pid(Life("", 1, 1), 1), "message", "a node name has 1 to 1024 bytes"),
        (Life("x", -1, 1), "message", "this Life cannot be sent"),
        (msgpack.ExtType(1, b""), "message", "would arrive as a plain tuple"),
        (msgpack.Timestamp(1), "message", "cannot be sent"),
        (Decimal((0, (1,) * 2_000_000, 0)), "message", "a Decimal of 2000000 characters"),
        (nested(65), "message" + "[0]" * 64, "nested deeper than 64"),
        (threading.Lock(), "message", "an object of _thread.lock cannot be sent"),
    ]


@pytest.mark.parametrize(
    ("term", "path", "reason"), unsendable(), ids=lambda value: value[:40] if type(value) is str else ""
)
def test_what_cannot_be_sent_is_told_by_its_path(codec, term, path, reason):
    for sent, before in ((term, ""), ([term], "[0]"), ({"a": ({"b": term},)}, '["a"][0]["b"]')):
        if "deeper" in reason and before:
            continue
        for refused in (codec.encode, codec.check):
            with pytest.raises(NotSendable) as caught:
                refused(sent)
            place, _, text = str(caught.value).partition(": ")
            assert place == path.replace("message", "message" + before)
            assert reason in text
    assert codec.decode(codec.encode(("and", "after"))) == ("and", "after")


def test_what_is_nested_as_deep_as_may_be_arrives(codec):
    term = nested(64)
    assert codec.decode(codec.encode(term)) == term
    everything = nested(12, (Point({1: frozenset({(Money(1),)})}), [Global("x")]))
    assert Codec(limits=Limits(max_depth=19)).decode(codec.encode(everything)) == everything
    with pytest.raises(DecodeError, match="deeper than 18"):
        Codec(limits=Limits(max_depth=18)).decode(codec.encode(everything))
    with pytest.raises(NotSendable, match="deeper than 18"):
        Codec(limits=Limits(max_depth=18)).encode(everything)


def test_the_deepest_limit_is_bearable():
    codec = Codec(limits=Limits(max_depth=200))
    term = {"deep": nested(198, (1,))}
    assert codec.decode(codec.encode(term)) == term


def test_a_value_in_itself_is_named():
    codec = Codec()
    cycle: list[Any] = [1]
    cycle.append({"again": cycle})
    with pytest.raises(NotSendable, match=r'^message\[1\]\["again"\]: it contains itself \(it is message\)'):
        codec.encode(cycle)
    with pytest.raises(NotSendable, match=r'^message\[0\]\[1\]\["again"\]: it contains itself \(it is message\[0\]\)'):
        codec.encode((cycle,))
    job = Job(None)
    job.callback = [job]
    with pytest.raises(NotSendable, match=r"^message.callback\[0\]: it contains itself"):
        codec.encode(job)


def test_a_value_in_itself_many_times_ends_soon():
    wide: list[Any] = []
    wide.extend([wide] * 100_000)
    with pytest.raises(NotSendable):
        Codec().encode(wide)
    shared: Any = ()
    for _ in range(60):
        shared = (shared, shared)
    with pytest.raises(NotSendable, match="more than 10000 elements"):
        Codec(limits=Limits(max_elements=10_000)).encode(shared)


def test_limits_on_the_way_out():
    codec = Codec(limits=Limits(max_elements=20, max_bytes=1000))
    assert codec.decode(codec.encode([0] * 18)) == [0] * 18
    for term in ([0] * 19, (0,) * 19, {0: {1: 2, 3: [1] * 11}}):
        with pytest.raises(NotSendable, match="more than 20 elements"):
            codec.encode(term)
    assert codec.decode(codec.encode(b"x" * 900)) == b"x" * 900
    for large in (b"x" * 999, b"x" * 100_000, ("x" * 1000,), [b"x" * 500, b"y" * 500]):
        with pytest.raises(NotSendable, match="bytes, more than 1000"):
            codec.encode(large)
        with pytest.raises(DecodeError, match="bytes, more than 1000"):
            codec.decode(Codec().encode(large))


@pytest.mark.parametrize(
    "values", [{"max_depth": 0}, {"max_depth": 201}, {"max_elements": 0}, {"max_bytes": 0}, {"max_bytes": 1 << 32}]
)
def test_limits_are_checked(values):
    with pytest.raises(ValueError, match=next(iter(values))):
        Limits(**values)


def test_d39_tuples_of_more_than_255_elements_are_what_they_were(codec):
    """Partisan: they arrive empty."""
    for size in (255, 256, 257, 0xFFFF, 0x10000):
        for term in (tuple(range(size)), (None,) * size):
            arrived = codec.decode(codec.encode(term))
            assert type(arrived) is tuple and arrived == term


def test_long_lists_and_long_bytes(codec):
    for term in (
        list(range(10_000)),
        [0] * 255,
        [0] * 256,
        ((1, "a"),) * 3000,
        {i: i for i in range(5000)},
    ):
        assert same(codec.decode(codec.encode(term)), term)
    for size in (16 << 10, 0xFFFF, 0x10000, 3 << 20):
        for term in (b"x" * size, ("chunk", b"x" * size), bytearray(size), "x" * size):
            assert codec.decode(codec.encode(term)) == term
    assert codec.encode(b"x" * 70_000) == msgpack.packb(b"x" * 70_000)
    assert codec.encode(b"x" * 0xFFFF) == msgpack.packb(b"x" * 0xFFFF)


@pytest.mark.parametrize("size", [0, 100, (16 << 10) - 1, 16 << 10, 0xFFFF, 0x10000, 3 << 20])
def test_buffers_are_the_same_message_and_long_bytes_stay_where_they_are(codec, size):
    for term in (b"x" * size, ("chunk", b"x" * size), bytearray(size)):
        buffers = codec.encode_buffers(term)
        whole = b"".join(buffers) if isinstance(buffers, tuple) else buffers
        assert whole == codec.encode(term)
        assert isinstance(buffers, tuple) == (type(term) is bytes and size >= 16 << 10)
        if isinstance(buffers, tuple):
            assert buffers[1] is term


def test_long_bytes_over_the_limit_are_refused_in_buffers_too():
    codec = Codec(limits=Limits(max_bytes=20_000))
    with pytest.raises(NotSendable, match="20003 bytes, more than 20000"):
        codec.encode_buffers(bytes(20_000))


# Identity of lives


def test_pids_of_one_life_share_it():
    sender, receiver = Codec(HOME), Codec(Life(OTHER.node, OTHER.epoch, OTHER.bits))
    term = [Pid(HOME, 1), (Ref(HOME, 2),), {Pid(OTHER, 3): HOME}]
    first, second = receiver.decode(sender.encode(term)), receiver.decode(sender.encode(term))
    assert first == second == term
    assert first[0].home is first[1][0].home is second[0].home
    assert next(iter(first[2].values())) is first[0].home
    assert next(iter(first[2])).home is receiver.home is not OTHER
    assert receiver.intern(HOME) is first[0].home
    assert receiver.intern(OTHER) is receiver.home


def test_a_made_up_epoch_changes_nobody_elses_life():
    codec = Codec(HOME)
    forged = Life(OTHER.node, 5, OTHER.bits)
    assert codec.decode(codec.encode(Pid(forged, 1))).home.epoch == 5
    assert codec.decode(codec.encode(Pid(OTHER, 1))).home.epoch == OTHER.epoch
    assert codec.decode(Codec().encode(Pid(Life(HOME.node, 5, HOME.bits), 1))).home is HOME


def test_made_up_lives_take_bounded_memory():
    codec = Codec(HOME)
    sender = Codec()
    for number in range(40_000):
        codec.decode(sender.encode(Pid(Life("x", number, number), 1)))
    assert sum(map(len, (codec._lives._by_payload, sender._lives._payloads))) <= 2 << 14
    assert codec.decode(sender.encode(HOME)) is HOME


# The runtime's own classes


class Handle:
    def __init__(self, number: int) -> None:
        self.number = number


class SpecialHandle(Handle):
    pass


def test_classes_of_the_runtime_and_their_subclasses():
    codec, other = Codec(), Codec()
    codec.register_extension(Handle, 3, lambda handle: (handle.number,), lambda term: Handle(*term))
    for handle in (Handle(1), SpecialHandle(2)):
        arrived = codec.decode(codec.encode({"reply to": [handle]}))["reply to"][0]
        assert type(arrived) is Handle
        assert arrived.number == handle.number
        with pytest.raises(NotSendable):
            other.encode(handle)
    with pytest.raises(DecodeError, match="unknown extension type 3"):
        other.decode(codec.encode(Handle(1)))
    with pytest.raises(DecodeError, match="the decoder of extension type 3 raised TypeError"):
        codec.decode(codec.encode(Handle(1)).replace(b"\x92\x01\x01", b"\x91\x01", 1))
    for cls, code in ((Handle, 4), (Unmarked, 3), (Unmarked, 256), (Unmarked, -1), (Pid, 4)):
        with pytest.raises(ValueError):
            codec.register_extension(cls, code, id, id)


# Entered again


class Envelope:
    def __init__(self, inner: Any) -> None:
        self.inner = inner


def test_an_encoder_and_a_decoder_may_use_the_codec():
    registry = MessageTypes()
    codec = Codec(HOME, registry=registry)
    registry.add_type(
        Envelope, lambda envelope: codec.encode(envelope.inner), lambda term: Envelope(codec.decode(term))
    )
    term = ["a", Envelope(("b", Envelope({"c": Pid(HOME, 1)}), b"d" * 20_000)), "e"]
    arrived = codec.decode(codec.encode(term))
    assert arrived[0::2] == ["a", "e"]
    assert arrived[1].inner[1].inner == {"c": Pid(HOME, 1)}


def test_the_packer_may_be_entered_again(monkeypatch):
    """While a pid is packed a finalizer or another thread may run, and send."""
    codec = Codec(HOME)
    inner: list[bytes] = []
    encode_pid = codec._encoders[Pid]

    def encode_and_send(pid: Pid) -> Any:
        if not inner:
            inner.append(b"")
            inner.append(codec.encode(("inner", Pid(OTHER, 5))))
        return encode_pid(pid)

    monkeypatch.setitem(codec._encoders, Pid, encode_and_send)
    assert codec.decode(codec.encode(("outer", Pid(HOME, 1), "end"))) == ("outer", Pid(HOME, 1), "end")
    assert [codec.decode(data) for data in inner if data] == [("inner", Pid(OTHER, 5))]


def test_errors_of_encoders_and_decoders_are_told():
    registry = MessageTypes()
    codec = Codec(registry=registry)
    registry.add_type(Envelope, lambda envelope: 1 // envelope.inner, lambda term: 1 // (term - 1), name="envelope")
    with pytest.raises(NotSendable, match=r"^message\[0\]: the encoder of Envelope raised ZeroDivisionError") as caught:
        codec.encode([Envelope(0)])
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    with pytest.raises(DecodeError, match=r"^the decoder of envelope raised ZeroDivisionError$"):
        codec.decode(codec.encode([Envelope(1)]))
    registry.add_type(Envelope, lambda envelope: envelope, id)
    with pytest.raises(NotSendable, match=r"^message\.<encoded>: it contains itself"):
        codec.encode(Envelope(0))


def test_a_hash_that_raises_is_a_decode_error():
    class Spiteful(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    class Unhashable:
        def __hash__(self) -> int:
            raise Spiteful

    registry = MessageTypes()
    registry.add_type(Unhashable, id, lambda term: Unhashable(), name="unhashable")
    with pytest.raises(DecodeError, match="Spiteful"):
        Codec(registry=registry).decode(b"\x92\x93\x01\xaaunhashable\x06\x03")


# Enumerations that nobody marked


def test_an_enumeration_is_looked_up_without_importing():
    lazy = types.ModuleType("lazy_shop")
    lazy.__getattr__ = lambda name: pytest.fail("read an attribute")
    sys.modules["lazy_shop"] = lazy
    codec = Codec()
    try:
        for name in (
            "lazy_shop:Color",
            "lazy_shop:Color.Inner",
            "antigravity:Color",
            "os:path",
            "os:path.join",
            "",
            ":",
        ):
            with pytest.raises(DecodeError, match="unknown class"):
                codec.decode(msgpack.packb(msgpack.ExtType(10, f"{name}\0RED".encode())))
    finally:
        del sys.modules["lazy_shop"]
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize("member", ["BLUE", "", "mro", "\0", "\0008", "\0-1", "\0x", "\0" + "1" * 600])
def test_a_member_that_there_is_not(codec, member):
    for cls in (Color, Access):
        data = msgpack.packb(msgpack.ExtType(10, f"{__name__}:{cls.__name__}\0{member}".encode()))
        with pytest.raises(DecodeError):
            codec.decode(data)


@pytest.mark.parametrize("cls", sorted(SENDABLE_UNMARKED, key=str))
def test_what_is_sendable_anyway_is_registered_for_nothing(cls):
    with pytest.raises(ValueError, match="can be sent"):
        MessageTypes().add_type(cls, id, id)
