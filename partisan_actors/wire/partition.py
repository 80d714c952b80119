"""Partition keys as numbers: the same key gives the same one on every node, in every run.

Keys that are equal in Python are one key here: 1, 1.0 and True; frozensets whatever the order they were made in.
Pure; `hash()` is another one in each run.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable
from datetime import datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zlib import crc32

__all__ = ["partition_number"]

_FEW = 1 << 31


def partition_number(key: Any, encode: Callable[[Any], bytes]) -> int:
    """The number of a partition key, 32 bits.

    Args:
        key: any hashable value that can be sent.
        encode: gives the bytes of a value that stands for itself.

    Raises:
        TypeError: the key is not hashable.
        NotSendable: it cannot be sent.

    >>> partition_number(1, repr) == partition_number(1.0, repr) == partition_number(Decimal(1), repr)
    True
    """
    hash(key)  # what is no key of a dict is none of a partition: lists that change, and so on
    if isinstance(key, int | float | Decimal) and (whole := _few(key)) is not None:
        # Numbers in a row are spread more evenly as they are (see `cluster.ways`): 0 to 15 use 15 of 16 streams, by
        # their checksums 11. Away from the numbers of pids, which are no keys.
        return whole + _FEW
    return crc32(_canonical(key, encode))


def _few(key: int | float | Decimal) -> int | None:
    """The whole number that it is, if that is no large one."""
    try:
        whole = int(key)
    except (ValueError, OverflowError):
        return None  # an infinity, or no number
    return whole if whole == key and -_FEW < whole < _FEW else None


def _canonical(key: Any, encode: Callable[[Any], bytes]) -> bytes:
    if isinstance(key, str):
        return b"s" + _length(key.encode("utf-8", "surrogatepass"))
    if isinstance(key, bytes):
        return b"b" + _length(key)
    if isinstance(key, int | float | Decimal):
        return b"n" + _length(_number(key))
    if isinstance(key, tuple):
        return b"t" + _length(b"".join(_canonical(item, encode) for item in key))
    if isinstance(key, frozenset):
        return b"f" + _length(b"".join(sorted(_canonical(item, encode) for item in key)))
    return _other(key, encode)


def _other(key: Any, encode: Callable[[Any], bytes]) -> bytes:
    if isinstance(key, datetime | time) and (offset := key.utcoffset()) is not None:
        # Two that are the same moment are equal, whatever their time zones.
        return b"d" + _length(_moment(key, offset))
    if dataclasses.is_dataclass(key) and not isinstance(key, type | enum.Enum):
        encode(key)  # one that cannot be sent is no key
        fields = tuple(getattr(key, field.name) for field in dataclasses.fields(key) if field.compare)
        return b"m" + _length(_canonical((type(key).__qualname__, *fields), encode))
    return b"e" + _length(bytes(encode(key)))


def _moment(key: datetime | time, offset: timedelta) -> bytes:
    # Not by astimezone: the moment may be none that UTC has a year for.
    day = key.toordinal() if isinstance(key, datetime) else 0
    moment = timedelta(day, key.second, key.microsecond, 0, key.minute, key.hour) - offset
    return b"%d/%d/%d" % (moment.days, moment.seconds, moment.microseconds) + b"t" * isinstance(key, time)


def _number(key: int | float | Decimal) -> bytes:
    try:
        top, bottom = key.as_integer_ratio()
    except (ValueError, OverflowError):
        return repr(float(key)).encode()  # an infinity, or no number
    return b"%x/%x" % (top, bottom)  # in decimal there is a limit of 4300 digits


def _length(data: bytes) -> bytes:
    """With its length, so that no two keys can run into the same bytes."""
    return len(data).to_bytes(4, "big") + data
