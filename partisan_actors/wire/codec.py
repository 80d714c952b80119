"""Terms to bytes and back, equal and of the same exact types, within limits.

Promises: whatever `encode` accepts, `decode` gives back on any node that knows the classes in
it; anything else is a `NotSendable` with the path to it, before a byte is written. `decode`
raises `DecodeError` and nothing else for whatever bytes, imports no module that a message names,
and takes memory and time in proportion to the bytes, not to what they claim. Of a `@message`
class it runs nothing but default factories of missing fields, and its hash where an object is a
key. It does not promise that equal terms have equal bytes: a set has no order of its own. A time
zone is looked up by zoneinfo, which reads its data file, or its data package `tzdata`.

The format, for ever. A message is one msgpack item:

    None, bool, int of 64 bits, float, str, bytes    msgpack's own
    a container                                      an array: its items, then its mark, an int
    any other value                                  an extension, of a code below

    mark                        items before it
    0 list, 1 tuple             the elements
    3 set, 4 frozenset          the elements, in any order
    2 dict                      key, value, key, value...
    5 message class, an object  its field values, then its signature: "module:Name field field..."
    6 register_type             a term, then the name of the class
    7 register_extension        a term, then the code of the class
    8 Remote                    name, node
    9 Global                    name
    10 Via                      registry, key

    code                        payload; numbers are big-endian
    1 int beyond 64 bits        two's complement
    2 str with lone surrogates  UTF-8, surrogates encoded as other characters are
    3 bytearray                 its bytes
    4 Decimal                   its str, ASCII
    5 datetime                  year u16, month, day, hour, minute, second u8, microsecond u32, fold u8, zone
    6 date                      year u16, month, day u8
    7 time                      hour, minute, second u8, microsecond u32, fold u8, zone
    8 timedelta                 days i32, seconds u32, microseconds u32
    9 UUID                      16 bytes
    10 Enum                     name of the class, NUL, name of the member; a combination of flags that has no
                                name: name of the class, NUL, NUL, its value in decimal
    11 Pid, 12 Ref              serial u64, then as Life
    13 Life                     epoch u64, bits u64, name of the node

    zone                        nothing: naive. "u": UTC. "o" and i64: offset in microseconds, "n" and i64 and text: the
                                same with a name. "z" and text: a key of zoneinfo

The mark stands last since a list gives up its last element for nothing, and it is an int since
msgpack reads one without a call into Python: a flat tuple costs no hook. msgpack's maps are not
used: its unpacker interns each str key, some versions of CPython for good.

A container counts in its depth and elements the same on both sides, so what one node may send
another with the same limits can read. The codec needs no lock and may be entered again from an
encoder, a finalizer or another thread: what is in use is taken out of its place for that time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgpack import Packer, unpackb
from msgpack.exceptions import ExtraData, FormatError, OutOfData, StackError

from partisan_actors.errors import NotSendable
from partisan_actors.processes.identity import Life, Pid, Ref
from partisan_actors.wire.building import NESTED, Builder
from partisan_actors.wire.limits import Limits, check_claims, check_count
from partisan_actors.wire.lives import Lives
from partisan_actors.wire.message_types import KNOWN_TYPES, SENDABLE_UNMARKED, MessageTypes
from partisan_actors.wire.shaping import SIMPLE, TUPLE, Shaper
from partisan_actors.wire.terms import ENUM, LIFE, PID, REF, SCALAR_DECODERS, SCALAR_ENCODERS, DecodeError

__all__ = ["Codec", "DecodeError", "Limits"]

_HEADS_OF_BYTES = tuple(bytes((0xC4, length)) for length in range(256))
# Bytes of this length and more stay where they are.
_LONG_BYTES = 16 << 10
# A packer's buffer never shrinks, so one that held more than this is not used again.
_KEPT_BUFFER = 2 << 20
# Arrays up to this length, with the mark, are packed without counting and unpacked without a look ahead: what arrays of
# arrays claim in vain is at most msgpack's depth of 1024, times this, times 8 bytes.
_SHORT_ARRAY = 256


class Codec:
    """Encodes and decodes messages for one node.

    `home` is the node's life: pids and refs of it come out of `decode` with that very object. `registry` has the
    classes of users, by default those of the program.

    >>> codec = Codec()
    >>> codec.decode(codec.encode(("add", [1, 2.5], {"to": b"x"})))
    ('add', [1, 2.5], {'to': b'x'})
    >>> codec.encode({"jobs": [print]})
    Traceback (most recent call last):
    ...
    partisan_actors.errors.NotSendable: message["jobs"][0]: a function cannot be sent; send its dotted name, \
and look it up on the other node
    """

    __slots__ = (
        "_builder",
        "_encoders",
        "_flat",
        "_lives",
        "_packers",
        "_read_extension",
        "_shaper",
        "_unchecked",
        "limits",
    )

    def __init__(
        self, home: Life | None = None, limits: Limits | None = None, registry: MessageTypes = KNOWN_TYPES
    ) -> None:
        self.limits = limits = Limits() if limits is None else limits
        # A message that is not longer has no more elements either: each takes a byte at least.
        self._unchecked = min(limits.max_elements, limits.max_bytes)
        # A tuple of so many elements is within the limits, its own and its mark's counted.
        self._flat = min(_SHORT_ARRAY - 1, limits.max_elements - 2)
        self._lives = lives = Lives(home)
        self._encoders = SCALAR_ENCODERS | {Pid: lives.encode_pid, Ref: lives.encode_ref, Life: lives.encode_life}
        self._shaper = Shaper(registry, self._encoders, limits)
        self._builder = Builder(registry, limits.max_depth)
        own = {ENUM: self._builder.enum, PID: lives.decode_pid, REF: lives.decode_ref, LIFE: lives.decode_life}
        self._read_extension = _extension_reader(SCALAR_DECODERS | own)
        # Packers that nobody uses now.
        self._packers: list[Packer] = []

    @property
    def home(self) -> Life | None:
        """The life of the node that this codec is for."""
        return self._lives.home

    def encode(self, term: Any) -> bytes:
        """The message for `term`. Raises NotSendable, with the path to what cannot be sent."""
        kind = type(term)
        if kind is tuple and len(term) <= self._flat and SIMPLE.issuperset(map(type, term)):
            raw: Any = [*term, TUPLE]
        elif kind not in SIMPLE:
            raw = self._shaper.shape(term)
        elif kind is bytes:
            # hot path: 0.15 us in place of 0.35, and long ones are copied once: the packer copies them twice.
            return self._head_of_bytes(term) + term  # type: ignore[no-any-return]
        else:
            raw = term
        try:
            packer = self._packers.pop()
        except IndexError:
            packer = self._new_packer()
        try:
            encoded: bytes = packer.pack(raw)
        except Exception:
            encoded = self._new_packer().pack(self._shaper.shape(term, carefully=True))
        if len(encoded) <= _KEPT_BUFFER:
            self._packers.append(packer)
        if len(encoded) > self._unchecked:
            self._check_length(len(encoded))
        return encoded

    def encode_buffers(self, term: Any) -> bytes | tuple[bytes, bytes]:
        """As `encode`, in two buffers where that saves a copy: a long bytes object stays as it is, behind its head."""
        if type(term) is bytes and len(term) >= _LONG_BYTES:
            return self._head_of_bytes(term), term
        return self.encode(term)

    def decode(self, buffer: bytes | memoryview) -> Any:
        """The term that `buffer` is the message of. Raises DecodeError when it is none, or over a limit."""
        try:
            if len(buffer) > self._unchecked:
                self._check_size(buffer)
            if len(buffer) > 1 and buffer[0] == 0xC4 and buffer[1] == len(buffer) - 2:
                # hot path: a short bytes object, 0.15 us in place of 0.5.
                return bytes(buffer[2:])
            try:
                raw = unpackb(buffer, ext_hook=self._read_extension, max_array_len=_SHORT_ARRAY, max_map_len=0)
            except ValueError:
                if len(buffer) <= _SHORT_ARRAY:
                    raise
                raw = self._unpack_long(buffer)
            return self._builder.build(raw, 1) if type(raw) in NESTED else raw
        except DecodeError:
            raise
        except Exception as error:
            raise DecodeError(_reason(error, self.limits)) from error

    def check(self, term: Any) -> None:
        """Raise NotSendable where `encode` would; costs what `encode` costs."""
        self.encode(term)

    def intern(self, life: Life) -> Life:
        """The object that stands for this life in what `decode` gives, so that lives can be compared by identity."""
        return self._lives.intern(life)

    def register_extension(
        self, cls: type, code: int, encode: Callable[[Any], Any], decode: Callable[[Any], Any]
    ) -> None:
        """Let objects of `cls` and its subclasses cross, for this codec only: what the runtime itself sends.

        `encode(object)` gives a term, `decode(term)` an object; `code`, 0 to 255, says which class it is and has to be
        the same on every node. Raises ValueError for a code or a class that is taken.
        """
        if not 0 <= code <= 255 or code in self._builder.extensions:
            raise ValueError(f"extension code {code} is taken, or not from 0 to 255")
        if cls in self._shaper.extensions or cls in SENDABLE_UNMARKED:
            raise ValueError(f"{cls.__qualname__} can be sent already")
        self._shaper.extensions[cls] = (code, encode)
        self._builder.extensions[code] = decode

    def _new_packer(self) -> Packer:
        return Packer(default=self._encode_simple, strict_types=True, buf_size=4096)

    def _encode_simple(self, value: Any) -> Any:
        return self._encoders[type(value)](value)

    def _head_of_bytes(self, value: bytes) -> bytes:
        """What stands before a bytes object, as the packer would write it."""
        length = len(value)
        if length <= 0xFF:
            head = _HEADS_OF_BYTES[length]
        else:
            head = b"\xc6" + length.to_bytes(4, "big") if length > 0xFFFF else b"\xc5" + length.to_bytes(2, "big")
        if length > self._unchecked - len(head):
            self._check_length(len(head) + length)
        return head

    def _check_length(self, length: int) -> None:
        if length > self.limits.max_bytes:
            raise NotSendable(f"message: {length} bytes, more than {self.limits.max_bytes}")

    def _check_size(self, buffer: bytes | memoryview) -> None:
        if len(buffer) > self.limits.max_bytes:
            raise DecodeError(f"{len(buffer)} bytes, more than {self.limits.max_bytes}")
        check_count(buffer, self.limits.max_elements)

    def _unpack_long(self, buffer: bytes | memoryview) -> Any:
        """Unpack what failed at the first try: it is broken, or it has a long array."""
        check_claims(buffer)
        return unpackb(buffer, ext_hook=self._read_extension, max_array_len=self.limits.max_elements, max_map_len=0)


def _extension_reader(decoders: dict[int, Callable[[bytes], Any]]) -> Callable[[int, bytes], Any]:
    """The hook that the unpacker calls for each extension."""

    def read(code: int, payload: bytes) -> Any:
        decode = decoders.get(code)
        if decode is None:
            raise DecodeError(f"unknown extension type {code}")
        return decode(payload)

    return read


def _reason(error: Exception, limits: Limits) -> str:
    if isinstance(error, ExtraData):
        return "trailing bytes"
    # Hashing may run code of users, and so may the text of what that raised.
    text = str(error) if type(error).__module__ == "builtins" else ""
    if "exceeds max_map_len" in text:
        return "a msgpack map"
    # A length that is more than a limit, which is as long as the message: more than there can be.
    if isinstance(error, OutOfData) or "incomplete input" in text or "exceeds max_" in text:
        return "truncated"
    if isinstance(error, StackError):
        return f"nested deeper than {limits.max_depth}"
    if isinstance(error, FormatError):
        return "not msgpack"
    if isinstance(error, UnicodeDecodeError):
        return "text that is not UTF-8"
    return f"{type(error).__name__}: {text}"[:200]
