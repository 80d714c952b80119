"""Partition keys as numbers: equal keys are one key, on every node and in every run."""

from __future__ import annotations

import enum
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Hashable
from datetime import UTC, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partisan_actors.errors import NotSendable
from partisan_actors.processes.identity import Life, Pid
from partisan_actors.wire.codec import Codec
from partisan_actors.wire.message_types import message
from partisan_actors.wire.partition import partition_number

encode = Codec().encode


def number(key: Any) -> int:
    return partition_number(key, encode)


class Colour(enum.Enum):
    RED = 1
    GREEN = 2


class Level(enum.IntEnum):
    LOW = 1


class Word(enum.StrEnum):
    YES = "yes"


class Point(NamedTuple):
    x: int
    y: int


@message(frozen=True)
class User:
    name: str
    number: float


@message(frozen=True)
class Order:
    user: User
    items: frozenset[object]


EAST = timezone(timedelta(hours=5, minutes=30), "east")


@pytest.mark.parametrize(
    "equal",
    [
        (1, 1.0, True, Decimal(1), Decimal("1.000"), Level.LOW),
        (0, 0.0, -0.0, False, Decimal("-0")),
        (0.5, Decimal("0.5"), Decimal("0.50")),
        (10**30, Decimal(10**30), Decimal("1e30")),
        (2**100, float(2**100), Decimal(2**100)),
        (float("inf"), Decimal("Infinity")),
        (float("-inf"), Decimal("-Infinity")),
        ("yes", Word.YES),
        ((1, 2), (1.0, Decimal(2)), Point(1, 2)),
        (frozenset({1, "a", b"b"}), frozenset({b"b", True, "a"})),
        (frozenset(range(100)), frozenset(map(float, reversed(range(100))))),
        (User("a", 1), User("a", 1.0)),
        (Order(User("a", 1), frozenset({1})), Order(User("a", True), frozenset({1.0}))),
        (datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, 5, 30, tzinfo=EAST)),
        (datetime(1, 1, 1, tzinfo=EAST), datetime(1, 1, 1, tzinfo=EAST)),
        (datetime(9999, 12, 31, 23, 59, tzinfo=timezone(-timedelta(hours=3))),) * 2,
        (time(12, 0, tzinfo=UTC), time(17, 30, tzinfo=EAST)),
        (timedelta(days=1), timedelta(hours=24)),
        (10**5000, Decimal(10**5000)),
    ],
)
def test_keys_that_are_equal_are_one_key(equal: tuple[Hashable, ...]) -> None:
    assert all(key == equal[0] and hash(key) == hash(equal[0]) for key in equal)
    assert len({number(key) for key in equal}) == 1
    assert len({number((key, "nested")) for key in equal}) == 1


def test_keys_that_differ_have_other_numbers() -> None:
    keys = [
        *(1, 2, 1.5, -1, 0, "1", b"1", "", b"", (), (1,), ((1,),), (1, 2), ((1, 2),), ("1", "2"), ("12",), ("", "12")),
        *(frozenset(), frozenset({1}), frozenset({(1, 2)}), frozenset({1, 2}), (frozenset({1}), 2)),
        *(Colour.RED, Colour.GREEN, "RED", User("a", 1), User("a", 2), User("b", 1), ("User", "a", 1)),
        *(None, datetime(2020, 1, 1), datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=EAST)),
        *(timedelta(1), UUID(int=1), UUID(int=2), Pid(Life("a", 1, 1), 1), Pid(Life("a", 1, 1), 2)),
        *(float("inf"), float("-inf"), 10**5000, 10**5000 + 1, "\ud800", Decimal("0.1"), 0.1),
    ]
    assert len({number(key) for key in keys}) == len(keys)


leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-3, 3),
    st.floats(allow_nan=False),
    st.decimals(allow_nan=False, min_value=-1000, max_value=1000, places=3),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.sampled_from([Colour.RED, Colour.GREEN, Level.LOW, Word.YES]),
    st.uuids(),
    st.timedeltas(),
    st.datetimes(min_value=datetime(1900, 1, 1), timezones=st.sampled_from([None, UTC, EAST])),
    st.builds(User, st.text(max_size=3), st.floats(allow_nan=False)),
)
keys = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(tuple),
        st.frozensets(inner, max_size=4),
        st.builds(Order, st.builds(User, st.text(max_size=3), st.integers()), st.frozensets(inner, max_size=3)),
    ),
    max_leaves=8,
)


def twin(key: Any) -> Any:
    """An equal key, of other types and in another order where there are such."""
    match key:
        case enum.Enum():
            return key.value if isinstance(key, int | str) else key
        case bool():
            return float(key)
        case int():
            return Decimal(key)
        case float():
            return int(key) if key.is_integer() else Decimal(key)
        case Decimal():
            return key.normalize() if key else -key
        case datetime() if key.tzinfo is not None:
            return key.astimezone(timezone(timedelta(hours=-7)))
        case tuple():
            return tuple(map(twin, key))
        case frozenset():
            return frozenset(map(twin, sorted(key, key=repr, reverse=True)))
        case User(name, of):
            return User(name, twin(of))
        case Order(user, items):
            return Order(twin(user), twin(items))
    return key


@given(keys)
def test_an_equal_key_of_other_types_has_the_same_number(key: Any) -> None:
    other = twin(key)
    assert key == other
    assert 0 <= number(key) == number(other) <= 0xFFFFFFFF


PROGRAM = """
import json
from decimal import Decimal
from tests.wire.test_partition import number, Colour, Order, User
items = frozenset({"a", "b", "c", b"d", 5, Decimal("0.5"), None, Colour.RED, (1, "x"), User("u", 2.5)})
keys = ["key", b"key", 12, 1.25, (1, items), items, frozenset({items, "other"}), Order(User("u", 1), items)]
print(json.dumps([number(key) for key in keys]))
"""


def test_another_run_with_other_hashes_has_the_same_numbers() -> None:
    command = [sys.executable, "-c", PROGRAM]
    runs = [
        subprocess.Popen(command, env={**os.environ, "PYTHONHASHSEED": seed}, stdout=subprocess.PIPE, text=True)
        for seed in ("1", "2")
    ]
    found = [json.loads(run.communicate(timeout=30)[0]) for run in runs]
    assert found[0] == found[1]
    assert len(set(found[0])) == 8


def test_whole_numbers_in_a_row_stay_in_a_row() -> None:
    numbers = [number(key) for key in range(-3, 13)]
    assert numbers == list(range(numbers[0], numbers[0] + 16))


@pytest.mark.parametrize("key", [1 << 31, -(1 << 31), (1 << 31) - 1, 1 - (1 << 31), 1e300, 0.5, float("-inf")])
def test_the_largest_whole_numbers_have_one_of_32_bits_too(key: float) -> None:
    assert 0 <= number(key) <= 0xFFFFFFFF


def test_the_numbers_stay() -> None:
    """Nodes of two versions send the flows of one key on streams of the same number."""
    assert [number(key) for key in ("key", b"key", 1, (1, "a"), frozenset({1, 2}), None)] == [
        *(546935887, 2424874490, 2147483649, 3015444745, 1880986651, 1803865275)
    ]


@pytest.mark.parametrize("key", [[], {}, set(), bytearray(b"x"), (1, [2]), ((), {"a": 1}), Decimal("sNaN")])
def test_what_cannot_be_hashed_is_no_key(key: Any) -> None:
    with pytest.raises(TypeError):
        number(key)


class Unknown:
    """Hashable, and not a message."""


@pytest.mark.parametrize(
    "key",
    [Unknown(), (1, Unknown()), frozenset({Unknown()}), print, Unknown, object(), User("a", Unknown())],  # type: ignore[arg-type]
)
def test_what_cannot_be_sent_is_no_key(key: Any) -> None:
    with pytest.raises(NotSendable):
        number(key)


def test_no_number_is_a_key_all_the_same() -> None:
    assert number(float("nan")) == number(float("nan")) == number(Decimal("nan"))


@pytest.mark.parametrize(
    "make",
    [
        lambda at: at,
        lambda at: f"user-{at}",
        lambda at: ("user", at),
        lambda at: at * 1024,
        lambda at: at / 8,
        lambda at: UUID(int=at),
        lambda at: User("u", at),
    ],
)
@pytest.mark.parametrize("streams", [4, 16])
def test_keys_in_a_row_are_spread_over_the_streams(make: Any, streams: int) -> None:
    from partisan_actors.cluster.ways import _MASK, _SPREAD

    count = 4000
    indexes = Counter(((number(make(at)) * _SPREAD & _MASK) * streams) >> 32 for at in range(count))
    assert len(indexes) == streams
    assert max(indexes.values()) < 1.5 * count / streams
    assert min(indexes.values()) > 0.5 * count / streams
