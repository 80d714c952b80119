"""The disk log: its groups, its file, its driver, and a program that is killed while it writes."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from random import Random

import gevent
import pytest
from gevent.fileobject import FileObjectPosix
from hypothesis import given
from hypothesis import strategies as st

from partisan_actors.distribution import disk_log, log_file
from partisan_actors.distribution.disk_log import DiskLog, NativeThread
from partisan_actors.distribution.log_batches import Batch, BatchLimits, LogBatches, LogRecord, time_left
from partisan_actors.distribution.log_file import DiskLogError, LogContents, LogDamaged, LogFile, LogInUse
from partisan_actors.processes.clock import GeventClock
from partisan_actors.processes.identity import Life
from tests.conditions import wait_until
from tests.forking import Forked

ROOT = Path(__file__).parent.parent.parent
FIRST = Life("b@h", 5, (1 << 64) - 1)


def record(number, node="b@h", payload=b"payload", **more):
    fields = {"accepted": 1000.0, "life": None, "kind": 1, "to": 3, "name": None} | more
    return LogRecord(node, number, payload=payload, **fields)


def numbers_of(contents: LogContents):
    return [(one.node, one.number) for one in contents.records]


# Groups.


def test_what_waits_is_taken_together_and_one_group_at_a_time():
    batches = LogBatches()
    assert batches.take() is None
    batches.append(record(1))
    batches.append(record(2, "c@h"))
    batches.append(record(3))
    batches.forget("b@h", [1])
    batch = batches.take()
    assert batch == Batch([record(1), record(2, "c@h"), record(3)], [("b@h", 1)])
    assert batch.last_numbers() == {"b@h": 3, "c@h": 2}
    batches.append(record(4))
    assert batches.take() is None
    batches.done(batch, failed=False)
    assert batches.take() == Batch([record(4)], [])


def test_a_group_is_bounded():
    batches = LogBatches(BatchLimits(messages=3, size=100, forgotten=2))
    for number, size in enumerate((40, 60, 1, 500, 1, 1, 1, 1), 1):
        batches.append(record(number, payload=bytes(size)))
    batches.forget("c@h", [1, 2, 3])
    groups = []
    while (batch := batches.take()) is not None:
        groups.append(([one.number for one in batch.records], len(batch.forgotten)))
        batches.done(batch, failed=False)
    assert groups == [([1, 2], 2), ([3], 1), ([4], 0), ([5, 6, 7], 0), ([8], 0)]


def test_nothing_is_forgotten_before_it_is_written():
    batches = LogBatches(BatchLimits(messages=1))
    batches.append(record(1))
    batches.append(record(2))
    batches.forget("b@h", [1, 2])
    groups = []
    while (batch := batches.take()) is not None:
        groups.append(([one.number for one in batch.records], batch.forgotten))
        batches.done(batch, failed=False)
    assert groups == [([1], [("b@h", 1)]), ([2], [("b@h", 2)])]


def test_after_a_failure_only_what_is_forgotten_waits_again():
    batches = LogBatches()
    batches.append(record(1))
    batches.forget("b@h", [7, 8])
    batch = batches.take()
    batches.forget("b@h", [9])
    batches.done(batch, failed=True)
    assert batches.take() == Batch([], [("b@h", 7), ("b@h", 8), ("b@h", 9)])


def test_time_left_over_a_restart():
    assert time_left(1000.0, 1010.0, 60.0) == 50.0
    assert time_left(1000.0, 1000.0 + 1e9, 60.0) == 30.0, "the clock jumped forward, or the node was down for long"
    assert time_left(1000.0, 0.0, 60.0) == 60.0, "the clock jumped back"


@given(st.floats(), st.floats())
def test_no_clock_makes_a_message_last_for_ever_or_expire_at_once(accepted, wall):
    assert 30.0 <= time_left(accepted, wall, 60.0) <= 60.0


# The file.


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "outbox.log")


def open_file(path, identity=42):
    return LogFile.open(path, identity)


def test_a_log_gives_back_what_was_committed(path):
    log, contents = open_file(path, (1 << 64) - 1)
    assert contents == ((1 << 64) - 1, {}, 0, [])
    kept = [
        record(1, life=FIRST, to=(1 << 64) - 1),
        record(2, name="nämé \ud800", payload=b""),
        record(7, "c@h", bytes(100_000), kind=2),
    ]
    log.commit(Batch(kept, []))
    log.commit(Batch([record(3)], [("b@h", 2), ("b@h", 99), ("unknown@h", 1)]))
    log.close()
    log, contents = open_file(path, 7)
    assert contents.identity == (1 << 64) - 1
    assert contents.numbers == {"b@h": 3, "c@h": 7}
    assert contents.records == [kept[0], record(3), kept[2]]
    assert contents.records[0].life.epoch == 5
    log.close()


def test_nodes_that_nothing_is_open_for_are_forgotten_and_no_number_is_given_twice(path, monkeypatch):
    monkeypatch.setattr(log_file, "KEPT_DESTINATIONS", 20)
    last = {}
    for _ in range(3):
        log, contents = open_file(path)
        for number in range(50):
            node = f"n{number}@h"
            given = contents.numbers.get(node, contents.forgotten) + 1
            assert given > last.get(node, 0)
            last[node] = given
            log.commit(Batch([record(given, node)], [] if number == 7 else [(node, given)]))
            assert len(log._destinations) <= 22
        log.close()
    log, contents = open_file(path)
    assert len(contents.numbers) <= 22
    assert [one.node for one in contents.records] == ["n7@h"] * 3
    assert contents.numbers["n7@h"] == last["n7@h"]
    assert all(contents.numbers.get(node, contents.forgotten) >= number for node, number in last.items())
    log.close()


def test_numbers_go_on_when_nothing_is_open_any_more(path):
    log, _ = open_file(path)
    log.commit(Batch([record(1), record(2)], []))
    log.commit(Batch([], [("b@h", 1), ("b@h", 2)]))
    log.close()
    log, contents = open_file(path)
    assert (contents.numbers, contents.records) == ({"b@h": 2}, [])
    log.commit(Batch([record(3)], []))
    log.close()


def test_a_batch_is_written_whole_or_not_at_all(path):
    log, _ = open_file(path)
    log.commit(Batch([record(1)], []))
    with pytest.raises(LogDamaged):
        log.commit(Batch([record(2), record(2, "new@h"), record(1)], [("b@h", 1)]))
    log.commit(Batch([record(2), record(5, "new@h")], []))
    log.close()
    log, contents = open_file(path)
    assert numbers_of(contents) == [("b@h", 1), ("b@h", 2), ("new@h", 5)]
    log.close()


def test_a_full_disk_fails_the_batch_and_leaves_the_log_usable(path):
    log, _ = open_file(path)
    log._connection.execute("PRAGMA max_page_count = 20")
    with pytest.raises(DiskLogError, match="full"):
        log.commit(Batch([record(1, payload=bytes(1 << 20))], []))
    log.commit(Batch([record(2)], []))
    log.close()
    log, contents = open_file(path)
    assert numbers_of(contents) == [("b@h", 2)]
    log.close()


def test_the_file_is_nobody_elses(path):
    log, _ = open_file(path)
    assert os.stat(path).st_mode & 0o777 == 0o600
    log.close()


def test_every_commit_is_synced(path):
    log, _ = open_file(path)
    assert log._connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert log._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    log.close()


def test_a_log_that_is_in_use_is_not_opened_again(path):
    log, _ = open_file(path)
    with pytest.raises(LogInUse, match="in use"):
        open_file(path)
    program = "import sys; from partisan_actors.distribution.log_file import *; LogFile.open(sys.argv[1], 1)"
    ended = subprocess.run([sys.executable, "-c", program, path], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 1 and "LogInUse" in ended.stderr
    log.commit(Batch([record(1)], []))
    log.close()
    log, contents = open_file(path)
    assert numbers_of(contents) == [("b@h", 1)]
    log.close()


def damaged(path, change):
    """What the file holds after `change(bytes)`."""
    log, _ = open_file(path)
    log.commit(Batch([record(number, payload=bytes([number]) * 3000) for number in range(1, 20)], []))
    log.close()
    data = change(bytearray(Path(path).read_bytes()))
    Path(path).write_bytes(data)
    return bytes(data)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:5000],
        lambda data: b"something else" + data[14:],
        lambda data: data[:4096] + bytes(len(data) - 4096),
        lambda data: b"no database at all, but long enough for a header" * 10,
    ],
    ids=["cut", "header", "zeros", "text"],
)
def test_a_damaged_file_is_an_error_that_keeps_the_file(path, change):
    data = damaged(path, change)
    for _ in range(2):
        with pytest.raises(LogDamaged, match=r"outbox\.log"):
            open_file(path)
        assert Path(path).read_bytes() == data


def test_a_database_of_something_else_is_left_alone(path):
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE letters (letter)")
    other.commit()
    other.close()
    data = Path(path).read_bytes()
    with pytest.raises(LogDamaged, match="something else"):
        open_file(path)
    assert Path(path).read_bytes() == data


def test_a_log_of_a_later_version_is_left_alone(path):
    open_file(path)[0].close()
    later = sqlite3.connect(path)
    later.execute("PRAGMA user_version = 2")
    later.close()
    with pytest.raises(LogDamaged, match="version 2"):
        open_file(path)


def test_a_log_that_cannot_be_made_says_why(tmp_path):
    with pytest.raises(DiskLogError, match="no such folder"):
        open_file(str(tmp_path / "no such folder" / "outbox.log"))
    with pytest.raises(DiskLogError):
        open_file(str(tmp_path))


def test_a_name_that_sqlite_takes_for_none_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    open_file(":memory:")[0].close()
    assert (tmp_path / ":memory:").stat().st_size > 0


# The driver.


class Committed:
    """What `committed` was told."""

    def __init__(self):
        self.batches: list[list[int]] = []
        self.errors: list[DiskLogError | None] = []
        self.threads = set()

    def __call__(self, batch, error):
        self.batches.append([one.number for one in batch.records])
        self.errors.append(error)
        self.threads.add(threading.get_ident())


@pytest.fixture
def committed():
    return Committed()


@pytest.fixture
def log(path, committed):
    log, _ = DiskLog.open(path, GeventClock(1), committed)
    yield log
    log.close()


def contents_of(path):
    log, contents = open_file(path)
    log.close()
    return contents


def test_what_is_appended_in_one_turn_is_committed_together(log, committed, path):
    for number in (1, 2, 3):
        log.append(record(number))
    assert committed.batches == [] and log.waiting == 3
    wait_until(lambda: committed.batches == [[1, 2, 3]])
    log.append(record(4))
    wait_until(lambda: len(committed.batches) == 2)
    assert committed.errors == [None, None] and log.commits == 2
    assert committed.threads == {threading.get_ident()}
    log.close()
    assert numbers_of(contents_of(path)) == [("b@h", number) for number in (1, 2, 3, 4)]


def test_what_comes_during_a_commit_is_committed_together_after_it(path, committed):
    class Slow(NativeThread):
        def start(self, function, done):
            super().start(function, lambda *outcome: held.append((done, outcome)) if holding else done(*outcome))

    held, holding = [], False
    log, _ = DiskLog.open(path, GeventClock(1), committed, Slow())
    holding = True
    log.append(record(1))
    wait_until(lambda: held)
    for number in range(2, 50):
        log.append(record(number))
        gevent.sleep(0)
    holding = False
    for done, outcome in held:
        done(*outcome)
    wait_until(lambda: len(committed.batches) == 2)
    assert committed.batches[1] == list(range(2, 50))
    log.close()


def test_the_hub_goes_on_while_the_disk_is_slow(path, committed):
    release = threading.Event()
    log, _ = DiskLog.open(path, GeventClock(1), committed)
    commit = log._file.commit

    def slow_commit(batch):
        assert release.wait(30.0)
        commit(batch)

    log._file.commit = slow_commit
    log.append(record(1))
    turns = []
    wait_until(lambda: turns.append(1) or len(turns) > 20)
    assert committed.batches == []
    release.set()
    wait_until(lambda: committed.batches == [[1]])
    log.close()


def test_a_failed_commit_is_told_and_the_log_goes_on(log, committed, path):
    log.append(record(1))
    wait_until(lambda: committed.batches)
    log.append(record(1))
    wait_until(lambda: len(committed.batches) == 2)
    assert isinstance(committed.errors[1], DiskLogError) and log.failed == 1
    log.append(record(2))
    wait_until(lambda: len(committed.batches) == 3)
    assert committed.errors[2] is None
    log.close()
    assert numbers_of(contents_of(path)) == [("b@h", 1), ("b@h", 2)]


def test_what_is_forgotten_goes_along_with_what_is_committed_next(log, committed, path):
    log.append(record(1))
    wait_until(lambda: committed.batches)
    log.forget("b@h", [1])
    log.append(record(2))
    wait_until(lambda: len(committed.batches) == 2)
    log.close()
    assert log.commits == 2
    assert numbers_of(contents_of(path)) == [("b@h", 2)]


def test_what_is_forgotten_does_not_wait_for_ever(log, committed, monkeypatch):
    monkeypatch.setattr(disk_log, "FORGET_AFTER", 0.001)
    log.append(record(1))
    wait_until(lambda: committed.batches)
    log.forget("b@h", [1])
    wait_until(lambda: log.commits == 2)
    assert len(committed.batches) == 1, "there is nobody to tell"


def test_closing_commits_what_waits(log, committed, path):
    log.append(record(1))
    log.append(record(2))
    log.forget("b@h", [1])
    log.close()
    assert committed.batches == [[1, 2]]
    with pytest.raises(DiskLogError, match="closed"):
        log.append(record(3))
    log.forget("b@h", [2])
    log.close()
    assert numbers_of(contents_of(path)) == [("b@h", 2)]


def test_closing_ends_though_the_disk_fails(path, committed):
    log, _ = DiskLog.open(path, GeventClock(1), committed)

    def fail(batch):
        raise OSError("no disk")

    log._file.commit = fail
    log.append(record(1))
    log.forget("b@h", [1])
    log.close()
    assert [str(error) for error in committed.errors] == ["the disk log failed: OSError('no disk')"]


def test_two_logs_of_one_process_do_not_share_a_file(log, path):
    with pytest.raises(LogInUse):
        DiskLog.open(path, GeventClock(2), lambda batch, error: None)


# A program that is killed.


def run_and_kill(path, size, lines, patched):
    """What a program that fills the log said until it was killed, after so many lines from its first commit on."""
    early = ("patched",) * patched
    errors = tempfile.TemporaryFile("w+b")  # noqa: SIM115
    program = Forked("tests.distribution.log_program", path, str(size), early=early, stderr=errors)
    program.stdin.close()
    output = FileObjectPosix(program.stdout.fileno(), "rb", close=False)
    said = []
    try:
        for line in output:
            said.append(line)
            lines -= line.startswith((b"committed", b"forget"))
            if lines <= 0:
                break
        program.send_signal(signal.SIGKILL)
        said.extend(output)
    finally:
        program.kill()
        program.wait()
        program.stdout.close()
        errors.seek(0)
        said_wrong = errors.read().decode()
        errors.close()
    assert program.returncode == -signal.SIGKILL, said_wrong
    words = [line.decode().split() for line in said]
    return [(word, int(number)) for word, number in words]


@pytest.mark.parametrize(("size", "patched"), [(64, False), (4096, True)], ids=["small", "large, patched"])
def test_what_was_committed_survives_a_kill_exactly_once(path, size, patched):
    random = Random(size)
    committed: set[int] = set()
    for _ in range(10):
        said = run_and_kill(path, size, random.randrange(1, 300), patched)
        ((_, last),) = [pair for pair in said if pair[0] == "open"]
        had = [number for word, number in said if word == "had"]
        assert had == sorted(set(had)), "once, and in order"
        assert last >= max(committed, default=0), "a number would be given twice"
        # The program forgets those that three divides, lazily.
        assert {number for number in committed if number % 3} <= set(had), "lost"
        new = [number for word, number in said if word == "committed"]
        assert new == list(range(last + 1, last + 1 + len(new))), "the order is that of the appends"
        committed |= set(had) | set(new)
    assert len(committed) > 500
    kept = {one.number for one in contents_of(path).records}
    assert len({number for number in committed if number % 3 == 0} - kept) > 50, "some were forgotten"
