"""One TLS connection over a connected socket: what goes through it, in both directions, and its end.

Promises what `sockets` promises, `write` that never waits, bounded work for each event and one `closed`, and:
nothing is given to the receiver before the handshake has proved the peer's certificate; what is written before that
waits; of what is written no more is encrypted ahead than one batch that the kernel did not take, so that a large
write is not copied whole; a peer whose handshake is not over costs HANDSHAKE_LIMIT bytes at most (and whoever made
the connection owns the time limit).

The receiver is known, and counts the peer as a stranger, from the start: there is one limit for strangers, not one
for TLS and another for what comes after it.

An end without close_notify is told as "eof without close_notify": somebody on the path may have cut the connection.
What came before that is whole and delivered; frames say themselves where they end.

Races absorbed here:
- In TLS 1.3 the side that dialled is done before the other one has looked at its certificate. So the refusal, an alert,
  comes when our handshake is over and something was written already; it must get through, so a failing handshake
  closes with a flush.
- A callback closes the connection in whose event it is called: looked for after each callback.
"""

from __future__ import annotations

import hashlib
import os
import ssl
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from partisan_actors.processes.clock import Clock, Timer
from partisan_actors.transport.callbacks import report_callback_failure
from partisan_actors.transport.ports import TLS_FAILED, TLS_REFUSED, Receiver
from partisan_actors.transport.sockets import (
    FLUSH_SECONDS,
    WRITE_BUDGET,
    SendQueue,
    SocketConnection,
)
from partisan_actors.transport.tls import Credentials, describe_tls_error, naming_objection

__all__ = ["TlsConnection"]

# Bytes that are encrypted at once, and encrypted bytes that are read at once; a stranger's come in smaller pieces.
# Writes of 1 MiB over loopback, both ends in one process on a busy machine, medians of 7 runs: plain 2.6 GB/s; TLS 0.37
# to 0.41 with batches of 64 KiB to 1 MiB, and 0.39 to 0.43 with reads of 32 to 512 KiB, so the sizes make no difference
# that can be told from noise, and are small for the sake of memory, and of a small write behind a large one.
# OpenSSL alone, AES-256-GCM in records of 16 KiB, encrypts 1.7 GB/s and decrypts 1.4 there, so at most 0.75 together.
# A message of 100 bytes there and back takes 66 µs, plain 32; a new connection 11 ms, plain 8.
BATCH = 128 * 1024
READ_SIZE = 64 * 1024
STRANGER_READ_SIZE = 4 * 1024
HANDSHAKE_LIMIT = 64 * 1024  # bytes of a peer's handshake; a chain of four RSA certificates of 4,096 bits takes 8 KiB
JOINED = 16 * 1024  # buffers below a record's size are encrypted together

_HANDSHAKE_RECORD = 0x16
_ALERT_RECORD = 0x15
# Fatal, protocol_version: says to a node without TLS whom it reached. Several, as it waits for a whole frame header.
_NO_TLS_ALERTS = b"\x15\x03\x03\x00\x02\x02\x46" * 4


class TlsConnection:
    """A connection under TLS and its receiver; a `Connection`, and the `Receiver` and `Security` of one."""

    __slots__ = (
        "_clock",
        "_credentials",
        "_deadline",
        "_dialled",
        "_handshake_bytes",
        "_incoming",
        "_inner",
        "_open",
        "_outgoing",
        "_peer_digest",
        "_peer_ended",
        "_peer_names",
        "_process",
        "_pump_is_due",
        "_queue",
        "_ready",
        "_reason",
        "_receiver",
        "_space",
        "_tls",
        "peer_address",
    )

    def __init__(self, inner: SocketConnection, credentials: Credentials, dialled: bool, clock: Clock) -> None:
        self.peer_address = inner.peer_address
        self._inner = inner
        self._credentials = credentials
        self._dialled = dialled
        self._clock = clock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = credentials.client if dialled else credentials.server
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=not dialled)
        self._queue = SendQueue()  # not encrypted yet
        self._space = memoryview(bytearray(STRANGER_READ_SIZE))
        self._handshake_bytes = 0  # received before it was over
        self._ready = False  # the handshake is over
        # Kept when it is: OpenSSL forgets them with a broken record, and what came before that is still delivered.
        self._peer_digest = b""
        self._peer_names: dict[str, Any] = {}
        self._receiver: Receiver | None = None  # None before `start` and after `closed`
        self._open = True  # False from `close`, or the first sign of the end on
        self._reason = ""  # what `closed` will say, once it is not open
        self._peer_ended = False  # by close_notify
        self._pump_is_due = False
        self._process = os.getpid()
        self._deadline: Timer | None = None  # ends a flush

    def start(self, receiver: Receiver | None) -> None:
        """Shake hands, and deliver to `receiver`; end the connection if there is none."""
        self._receiver = receiver
        if receiver is None and self._open:
            self.close("refused")
        self._inner.start(self)
        if self._dialled and self._goes_on():
            self._shake()

    @property
    def unsent(self) -> int:
        """Bytes that wait to be encrypted, and encrypted ones that the kernel did not take."""
        return self._queue.size + self._inner.unsent

    # `Security`

    @property
    def security(self) -> TlsConnection:
        """This."""
        return self

    @property
    def channel_binding(self) -> bytes:
        """SHA-256 of the leaf certificates of who dialled and of who was dialled; the handshake has to be over."""
        if not self._ready:
            raise ValueError("the peer's certificate is not known before the TLS handshake is over")
        mine, theirs = self._credentials.fingerprint, self._peer_digest
        return mine + theirs if self._dialled else theirs + mine

    def objection(self, node: str) -> str | None:
        """Why the peer is not `node`; None when its certificate names it."""
        return naming_objection(self._peer_names, node)

    # Writing

    def write(self, buffers: Sequence[bytes | memoryview]) -> None:
        """Encrypt and send what the kernel takes at once, and queue the rest."""
        if not self._open:
            return
        total = sum(map(len, buffers))
        if not total:
            return
        if self._ready and total <= BATCH and not self._queue.size and not self._inner.unsent:
            self._encrypt(buffers)
            return
        waits = self._queue.size or not self._ready
        self._queue.append(buffers)
        if not waits:
            self._pump()

    def _encrypt(self, buffers: Sequence[bytes | memoryview]) -> None:
        encrypt = self._tls.write
        try:
            for buffer in _joined(buffers):
                size = encrypt(buffer)
                if size < len(buffer):
                    # It takes one record at a time, of 16 KiB.
                    rest = memoryview(buffer)[size:]
                    while rest:
                        rest = rest[encrypt(rest) :]
        except ssl.SSLError as error:
            self._clock.call_soon(self._fail, _failure(error))
        self._send()

    def _send(self) -> None:
        if self._outgoing.pending:
            self._inner.write([self._outgoing.read()])

    def _pump(self) -> None:
        """Encrypt what waits while the kernel takes it, up to WRITE_BUDGET bytes."""
        room = WRITE_BUDGET
        while self._queue.size and room > 0 and not self._inner.unsent:
            batch, size = self._queue.batch(BATCH)
            self._encrypt(batch)
            self._queue.forget(size)
            room -= size
        if self._queue.size and not self._inner.unsent and not self._pump_is_due:
            self._pump_is_due = True
            self._clock.call_soon(self._pump_on)

    def _pump_on(self) -> None:
        self._pump_is_due = False
        try:
            self.writable()
        except BaseException as error:
            self._inner.close("callback failed")
            report_callback_failure(error, "writable", self.peer_address)

    def writable(self) -> None:
        """Go on with what waits; there is room."""
        if not self._ready or (not self._queue.size and self._inner.unsent):
            return
        self._pump()
        if self._queue.size or self._inner.unsent:
            return
        if not self._open:
            self._end_output(flush=True)
        elif self._receiver is not None:
            self._receiver.writable()

    # Reading

    def buffer(self) -> memoryview:
        """Where encrypted bytes go."""
        return self._space

    def received(self, count: int) -> None:
        """Take encrypted bytes."""
        if self._ready and not self._open:
            # We are closing and say our last words; what comes now is nobody's.
            return
        self._incoming.write(self._space[:count])
        if not self._ready:
            if not self._handshake_bytes and self._space[0] not in (_HANDSHAKE_RECORD, _ALERT_RECORD):
                self._refuse_plain()
                return
            self._handshake_bytes += count
            self._shake()
        if self._ready and self._open:
            self._deliver()

    def _shake(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._send()
            if self._handshake_bytes > HANDSHAKE_LIMIT:
                self._fail(f"{TLS_FAILED}a handshake of more than {HANDSHAKE_LIMIT} bytes")
            return
        except ssl.SSLError as error:
            self._fail(_failure(error))
            return
        self._send()
        self._peer_digest = hashlib.sha256(self._tls.getpeercert(binary_form=True) or b"").digest()
        self._peer_names = {"subjectAltName": (self._tls.getpeercert() or {}).get("subjectAltName", ())}
        self._ready = True
        self._space = memoryview(bytearray(READ_SIZE))
        if self._queue.size:
            self.writable()

    def _refuse_plain(self) -> None:
        if not self._dialled:
            self._inner.write([_NO_TLS_ALERTS])
        self._fail(f"{TLS_FAILED}the other side does not speak TLS")

    def _deliver(self) -> None:
        # Into a buffer it gives a number, though its type says bytes.
        read: Callable[[int, memoryview], int] = self._tls.read  # type: ignore[assignment]
        more = True
        while more and self._open and self._receiver is not None:
            space = self._receiver.buffer()
            size = len(space)
            if not size:
                raise ValueError("the receiver gave an empty buffer")
            filled, failure, more = 0, "", False
            try:
                # It gives one record at a time, and the receiver has more to do for each call than we have.
                while count := read(size - filled, space[filled:]):
                    filled += count
                    if filled == size:
                        more = True
                        break
                else:
                    self._peer_ended = True
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as error:
                failure = _failure(error)
            if filled:
                self._receiver.received(filled)
            if failure:
                self._fail(failure)
            elif self._peer_ended and self._open:
                self.close("eof")
        # What TLS itself had to answer.
        self._send()

    # Ending

    def close(self, reason: str, *, flush: bool = False) -> None:
        """End it; `closed(reason)` follows in a later callback."""
        if not self._open:
            if not flush:
                self._inner.close(self._reason)
            return
        self._open = False
        self._reason = reason
        if flush and self._queue.size:
            # The rest of it goes out as there is room, within the time that all of it has.
            self._deadline = self._clock.call_later(FLUSH_SECONDS, self._inner.close, reason)
            return
        self._end_output(flush)

    def _end_output(self, flush: bool) -> None:
        cut_short = self._queue.size or (self._inner.unsent and not flush)
        self._queue.clear()
        # In the child of a fork the connection is its parent's, which goes on with it: not a byte must be written.
        if self._ready and not cut_short and self._process == os.getpid():
            try:
                self._tls.unwrap()
            except ssl.SSLError:
                # It would wait for the other side's close_notify, and we do not.
                pass
            self._send()
        self._inner.close(self._reason, flush=flush)

    def _fail(self, reason: str) -> None:
        """End it for a reason of TLS's; the alert that goes with it is sent."""
        if self._open:
            self._open = False
            self._reason = reason
        self._queue.clear()
        self._send()
        self._inner.close(self._reason, flush=True)

    def closed(self, reason: str) -> None:
        """The socket is closed."""
        if self._open:
            self._open = False
            if not self._ready:
                reason = f"{reason} in the TLS handshake"
            self._reason = "eof without close_notify" if reason == "eof" else reason
        self._queue.clear()
        if self._deadline is not None:
            self._deadline.cancel()
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.closed(self._reason)

    def _goes_on(self) -> bool:
        return self._open or bool(self._queue.size)


def _joined(buffers: Sequence[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    """The same bytes, small buffers put together: each becomes a record, and a record costs more than the copy."""
    if len(buffers) == 1:
        yield buffers[0]
        return
    small: list[bytes | memoryview] = []
    size = 0
    for buffer in buffers:
        length = len(buffer)
        if small and size + length > JOINED:
            yield b"".join(small)
            small, size = [], 0
        if length >= JOINED:
            yield buffer
        elif length:
            small.append(buffer)
            size += length
    if small:
        yield b"".join(small)


def _failure(error: ssl.SSLError) -> str:
    text = describe_tls_error(error)
    return f"{TLS_REFUSED}{text}" if " alert " in f" {text} " else f"{TLS_FAILED}{text}"
