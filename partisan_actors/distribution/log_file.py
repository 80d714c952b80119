"""The file of a disk log: an sqlite3 database that one node has to itself. Every function here blocks.

Promised:

- what `commit` returned for survives SIGKILL of the process, and a power failure as far as the disk keeps what it has
  confirmed: the journal is a write-ahead log, synced at each commit (synchronous=FULL). NORMAL would do for SIGKILL,
  and would be some milliseconds faster; but a power failure could then take back the last commits, and with them
  *numbers* that a receiver has seen: the next messages would get them again, and be dropped as duplicates there;
- a batch is committed as a whole or not at all;
- a file that another process has open is `LogInUse`, one that is damaged or no log `LogDamaged`. Neither is touched;
- the lock goes with the process, however it ends.

An identity is in the file and nowhere else. A *copy* of a file is the same outbox as far as receivers can tell, if
its node has the same name; do not restore one.

Not known here: threads. The caller sees to it that there is one call at a time.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from struct import Struct
from typing import NamedTuple

from partisan_actors.distribution.log_batches import Batch, LogRecord
from partisan_actors.errors import ActorError
from partisan_actors.processes.identity import Life

__all__ = ["DiskLogError", "LogContents", "LogDamaged", "LogFile", "LogInUse"]

_APPLICATION = 0x50414F42  # "PAOB"
_VERSION = 1
_FORGOTTEN = ""
_LIFE = Struct(">QQ")
_U64 = Struct(">Q")

KEPT_DESTINATIONS = 8192
"""Nodes that are remembered. Beyond these the oldest that have no messages are removed, down to half of them."""

_Execute = Callable[..., sqlite3.Cursor]

_SCHEMA = (
    "CREATE TABLE outbox (identity BLOB NOT NULL)",
    # `number` is the last one given. It stays when the messages are gone.
    # The one without a name stands for those that were removed: none of them was given a higher number.
    "CREATE TABLE destinations (id INTEGER PRIMARY KEY, node TEXT NOT NULL UNIQUE, number INTEGER NOT NULL)",
    "CREATE TABLE messages (destination INTEGER NOT NULL, number INTEGER NOT NULL, accepted REAL NOT NULL, life BLOB,"
    " kind INTEGER NOT NULL, receiver BLOB NOT NULL, name BLOB, payload BLOB NOT NULL,"
    " PRIMARY KEY (destination, number))",
)


class DiskLogError(ActorError):
    """The disk log cannot be opened or written."""


class LogInUse(DiskLogError):
    """Another node has it open."""


class LogDamaged(DiskLogError):
    """The file is damaged, or no disk log of this version. It was left as it is."""


class LogContents(NamedTuple):
    """What a log holds when it is opened."""

    identity: int  # of the outbox, 64 bits
    numbers: dict[str, int]  # by node: the last number given
    forgotten: int  # the highest number that was given to nodes which are not in `numbers` any more
    records: list[LogRecord]  # that were not forgotten; by node, in the order of numbers


class LogFile:
    """The log of one outbox. Made by `open`."""

    def __init__(self, path: str, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._destinations: dict[str, int] = {}

    @classmethod
    def open(cls, path: str, new_identity: int) -> tuple[LogFile, LogContents]:
        """Open the log at `path`, or make one.

        Args:
            path: of the file; its folder must exist, on a file system of this machine.
            new_identity: 64 random bits, for a log that is made.

        Raises:
            LogInUse: another process, or another node of this one, has it open.
            LogDamaged: it is no log, or a damaged one.
            DiskLogError: for anything else.
        """
        path = os.path.abspath(path)  # else ":memory:" would be none
        try:
            # Messages are nobody else's. Only when it is made: to open and close it would let go of the locks of
            # another node in this process.
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except FileExistsError:
            pass
        except OSError as error:
            raise DiskLogError(f"cannot make the disk log {path}: {error}") from error
        with _explained(path):
            connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            log = cls(path, connection)
            with _explained(path):
                log._lock()
                log._prepare(new_identity)
                return log, log._read()
        except BaseException:
            connection.close()
            raise

    def _lock(self) -> None:
        execute = self._connection.execute
        execute("PRAGMA locking_mode = EXCLUSIVE")
        # The first thing that asks for the lock; from here on nobody else gets at the file.
        execute("BEGIN EXCLUSIVE")
        execute("COMMIT")
        execute("PRAGMA trusted_schema = OFF")

    def _prepare(self, new_identity: int) -> None:
        (application,) = self._connection.execute("PRAGMA application_id").fetchone()
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        (tables,) = self._connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        new = not application and not version and not tables
        if not new and application != _APPLICATION:
            raise LogDamaged(f"{self.path} is a database of something else, not a disk log")
        if not new and version != _VERSION:
            raise LogDamaged(f"the disk log {self.path} is of version {version}; this is version {_VERSION}")
        # Only now that it is known to be ours is anything written to it.
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        if new:
            self._make(new_identity)
        (verdict,) = self._connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise LogDamaged(f"the disk log {self.path} is damaged: {verdict}")

    def _make(self, new_identity: int) -> None:
        with self._transaction() as execute:
            for statement in _SCHEMA:
                execute(statement)
            execute("INSERT INTO outbox VALUES (?)", (_U64.pack(new_identity),))
            execute(f"PRAGMA application_id = {_APPLICATION}")
            execute(f"PRAGMA user_version = {_VERSION}")

    def _read(self) -> LogContents:
        execute = self._connection.execute
        rows = execute("SELECT identity FROM outbox").fetchall()
        if len(rows) != 1 or len(rows[0][0]) != _U64.size:
            raise LogDamaged(f"the disk log {self.path} has no identity")
        numbers: dict[str, int] = {}
        for key, node, number in execute("SELECT id, node, number FROM destinations"):
            self._destinations[node] = key
            numbers[node] = number
        forgotten = numbers.pop(_FORGOTTEN, 0)
        nodes = {key: node for node, key in self._destinations.items()}
        records = [
            _record_of(nodes[row[0]], row)
            for row in execute(
                "SELECT destination, number, accepted, life, kind, receiver, name, payload FROM messages"
                " ORDER BY destination, number"
            )
        ]
        return LogContents(_U64.unpack(rows[0][0])[0], numbers, forgotten, records)

    def commit(self, batch: Batch) -> None:
        """Write a batch, and return when it is safe. Raises DiskLogError; nothing of the batch is in the log then."""
        with _explained(self.path):
            if len(self._destinations) > KEPT_DESTINATIONS:
                self._remove_destinations()
            new = self._write(batch)
        # Only now: a transaction that failed took them back.
        self._destinations.update(new)

    def _remove_destinations(self) -> None:
        idle = "id NOT IN (SELECT destination FROM messages) AND node != ? ORDER BY id LIMIT ?"
        with self._transaction() as execute:
            parameters = (_FORGOTTEN, len(self._destinations) - KEPT_DESTINATIONS // 2)
            removed = execute(f"SELECT id, node, number FROM destinations WHERE {idle}", parameters).fetchall()
            execute(
                "INSERT INTO destinations (node, number) VALUES (?, ?)"
                " ON CONFLICT (node) DO UPDATE SET number = max(number, excluded.number)",
                (_FORGOTTEN, max((number for _, _, number in removed), default=0)),
            )
            self._connection.executemany("DELETE FROM destinations WHERE id = ?", [(key,) for key, _, _ in removed])
        for _, node, _ in removed:
            del self._destinations[node]

    def _write(self, batch: Batch) -> dict[str, int]:
        with self._transaction() as execute:
            new: dict[str, int] = {}
            for node, number in batch.last_numbers().items():
                key = self._destinations.get(node)
                if key is None:
                    cursor = execute("INSERT INTO destinations (node, number) VALUES (?, ?)", (node, number))
                    assert cursor.lastrowid is not None
                    new[node] = cursor.lastrowid
                else:
                    execute("UPDATE destinations SET number = max(number, ?) WHERE id = ?", (number, key))
            keys = self._destinations | new if new else self._destinations
            self._connection.executemany(
                "INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [_row_of(keys[record.node], record) for record in batch.records],
            )
            self._connection.executemany(
                "DELETE FROM messages WHERE destination = ? AND number = ?",
                [(keys[node], number) for node, number in batch.forgotten if node in keys],
            )
            return new

    @contextmanager
    def _transaction(self) -> Iterator[_Execute]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection.execute
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                try:
                    self._connection.execute("ROLLBACK")
                except sqlite3.Error:
                    pass  # what went wrong before is what counts
            raise

    def close(self) -> None:
        """Close it; another node may have it then."""
        self._connection.close()


def _row_of(destination: int, record: LogRecord) -> tuple[object, ...]:
    _, number, accepted, life, kind, to, name, payload = record
    return (
        destination,
        number,
        accepted,
        None if life is None else _LIFE.pack(life.epoch, life.bits),
        kind,
        _U64.pack(to),
        None if name is None else name.encode("utf-8", "surrogatepass"),
        payload,
    )


def _record_of(node: str, row: tuple[int, int, float, bytes | None, int, bytes, bytes | None, bytes]) -> LogRecord:
    _, number, accepted, life, kind, receiver, name, payload = row
    return LogRecord(
        node,
        number,
        accepted,
        None if life is None else Life(node, *_LIFE.unpack(life)),
        kind,
        _U64.unpack(receiver)[0],
        None if name is None else name.decode("utf-8", "surrogatepass"),
        payload,
    )


@contextmanager
def _explained(path: str) -> Iterator[None]:
    try:
        yield
    except DiskLogError:
        raise
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise LogInUse(f"the disk log {path} is in use by another node") from error
        raise DiskLogError(f"the disk log {path} cannot be used: {error}") from error
    except sqlite3.DatabaseError as error:
        raise LogDamaged(f"the disk log {path} is damaged: {error}") from error
    except (sqlite3.Error, ValueError, KeyError, LookupError, TypeError, ArithmeticError) as error:
        raise LogDamaged(f"the disk log {path} holds what no disk log holds: {error!r}") from error
