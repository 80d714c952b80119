"""Values that cross as one msgpack extension each: what they look like as bytes.

Owns the extension codes and the payload layouts of the standard library's value types;
`codec` has the whole picture of the format. Pure functions: no table, no state. Knows
nothing of containers, of classes of users or of nodes.

Promises that a payload built here is read back equal and of the same exact type, and that
a payload from anywhere gives a value or raises an ordinary exception, which the codec turns
into a `DecodeError`. Constructors check the parts: nothing is built through the pickle doors
of `datetime`, which believe what they are given.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from msgpack import ExtType

from partisan_actors.wire.refusals import Refused

__all__ = [
    "BIG_INTEGER",
    "BYTEARRAY",
    "ENUM",
    "LIFE",
    "PID",
    "REF",
    "SCALAR_DECODERS",
    "SCALAR_ENCODERS",
    "SURROGATES",
    "DecodeError",
    "extension",
]

# The codes are the wire format: never changed, never used again for something else.
BIG_INTEGER = 1
SURROGATES = 2
BYTEARRAY = 3
DECIMAL = 4
DATETIME = 5
DATE = 6
TIME = 7
TIMEDELTA = 8
UUID_CODE = 9
ENUM = 10
PID = 11
REF = 12
LIFE = 13

_DATETIME = struct.Struct(">HBBBBBIB")
_DATE = struct.Struct(">HBB")
_TIME = struct.Struct(">BBBIB")
_TIMEDELTA = struct.Struct(">iII")
# A million digits are parsed in 5 ms; what a program then does with them may be quadratic.
_MAX_DECIMAL = 1 << 20
_MICROSECOND = timedelta(microseconds=1)

# zoneinfo looks a key up below the time zone folders, and in the data package `tzdata`. It refuses to leave
# them by itself; the pattern keeps everything that is no plain name from reaching the file system at all.
_ZONE_KEY = re.compile(r"[A-Za-z0-9_+\-]{1,32}(/[A-Za-z0-9_+\-]{1,32}){0,3}")


class DecodeError(Exception):
    """Bytes that are no message of this codec; `reason` says in what way."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def extension(code: int, payload: bytes | bytearray) -> Any:
    """One msgpack extension. Not by `ExtType(...)`: its checks, in Python, take three times as long."""
    return tuple.__new__(ExtType, (code, payload))


def _encode_integer(value: int) -> Any:
    return extension(BIG_INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def _decode_integer(payload: bytes) -> int:
    return int.from_bytes(payload, "big", signed=True)


def _encode_decimal(value: Decimal) -> Any:
    payload = str(value).encode("ascii")
    if len(payload) > _MAX_DECIMAL:
        raise Refused(value, f"a Decimal of {len(payload)} characters; {_MAX_DECIMAL} are allowed")
    return extension(DECIMAL, payload)


def _decode_decimal(payload: bytes) -> Decimal:
    if len(payload) > _MAX_DECIMAL:
        raise DecodeError(f"a Decimal of {len(payload)} characters")
    return Decimal(payload.decode("ascii"))


def _encode_zone(zone: tzinfo | None) -> bytes:
    if zone is None:
        return b""
    if zone is UTC:
        return b"u"
    if type(zone) is timezone:
        offset, *name = zone.__getinitargs__()  # type: ignore[attr-defined]
        head = b"n" if name else b"o"
        return head + struct.pack(">q", offset // _MICROSECOND) + "".join(name).encode("utf-8", "surrogatepass")
    if type(zone) is ZoneInfo and zone.key is not None and _ZONE_KEY.fullmatch(zone.key):
        return b"z" + zone.key.encode("ascii")
    raise Refused(zone, f"its time zone, a {type(zone).__name__}, cannot be sent; use timezone, or ZoneInfo with a key")


def _decode_zone(data: bytes) -> tzinfo | None:
    head, rest = data[:1], data[1:]
    if not head:
        return None
    if head == b"u" and not rest:
        return UTC
    if head == b"z":
        key = rest.decode("ascii")
        if not _ZONE_KEY.fullmatch(key):
            raise DecodeError("a time zone key that is no name")
        try:
            return ZoneInfo(key)
        except (KeyError, OSError, ValueError) as error:
            raise DecodeError(f"unknown time zone {key}") from error
    if head not in (b"o", b"n"):
        raise DecodeError("an unknown kind of time zone")
    offset = struct.unpack(">q", rest[:8])[0] * _MICROSECOND
    if head == b"n":
        return timezone(offset, rest[8:].decode("utf-8", "surrogatepass"))
    return timezone(offset)


def _encode_datetime(value: datetime) -> Any:
    fields = _DATETIME.pack(
        value.year, value.month, value.day, value.hour, value.minute, value.second, value.microsecond, value.fold
    )
    return extension(DATETIME, fields + _encode_zone(value.tzinfo))


def _decode_datetime(payload: bytes) -> datetime:
    year, month, day, hour, minute, second, microsecond, fold = _DATETIME.unpack_from(payload)
    zone = _decode_zone(payload[_DATETIME.size :])
    return datetime(year, month, day, hour, minute, second, microsecond, zone, fold=fold)


def _encode_date(value: date) -> Any:
    return extension(DATE, _DATE.pack(value.year, value.month, value.day))


def _decode_date(payload: bytes) -> date:
    return date(*_DATE.unpack(payload))


def _encode_time(value: time) -> Any:
    fields = _TIME.pack(value.hour, value.minute, value.second, value.microsecond, value.fold)
    return extension(TIME, fields + _encode_zone(value.tzinfo))


def _decode_time(payload: bytes) -> time:
    hour, minute, second, microsecond, fold = _TIME.unpack_from(payload)
    return time(hour, minute, second, microsecond, _decode_zone(payload[_TIME.size :]), fold=fold)


def _encode_timedelta(value: timedelta) -> Any:
    return extension(TIMEDELTA, _TIMEDELTA.pack(value.days, value.seconds, value.microseconds))


def _decode_timedelta(payload: bytes) -> timedelta:
    return timedelta(*_TIMEDELTA.unpack(payload))


def _encode_uuid(value: UUID) -> Any:
    return extension(UUID_CODE, value.bytes)


def _decode_uuid(payload: bytes) -> UUID:
    return UUID(bytes=payload)


def _decode_surrogates(payload: bytes) -> str:
    return payload.decode("utf-8", "surrogatepass")


# By exact type: a subclass would arrive as its base.
SCALAR_ENCODERS: dict[type, Callable[[Any], Any]] = {
    int: _encode_integer,
    Decimal: _encode_decimal,
    datetime: _encode_datetime,
    date: _encode_date,
    time: _encode_time,
    timedelta: _encode_timedelta,
    UUID: _encode_uuid,
}

SCALAR_DECODERS: dict[int, Callable[[bytes], Any]] = {
    BIG_INTEGER: _decode_integer,
    SURROGATES: _decode_surrogates,
    BYTEARRAY: bytearray,
    DECIMAL: _decode_decimal,
    DATETIME: _decode_datetime,
    DATE: _decode_date,
    TIME: _decode_time,
    TIMEDELTA: _decode_timedelta,
    UUID_CODE: _decode_uuid,
}
