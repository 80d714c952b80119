"""The demo: right to the last count whatever is killed when, and nothing is left of it afterwards."""

from __future__ import annotations

import io
import os
import pty
import re
import select
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from examples.wordcount import corpus
from examples.wordcount.__main__ import differences, report
from examples.wordcount.cluster import ChildNode, child_nodes
from examples.wordcount.corpus import PIECE, count_words, cut, find_files, read_files
from examples.wordcount.progress import Board
from examples.wordcount.tree import FIRST, LEFT, RIGHT, Job
from partisan_actors import Node, Pid, receive, self_pid, send, send_exit, spawn, whereis
from partisan_actors.behaviours import Supervisor
from tests.conditions import wait_until
from tests.examples.programs import ROOT, is_running, run, start

DEMO = ("-m", "examples.wordcount")
COOKIE = "a cookie of this very test"


def make_files(folder: Path, number: int, size: int = 40_000) -> Path:
    """A folder of so many .py files of some `size` bytes, no two alike."""
    source = folder / "source"
    for index in range(number):
        path = source / f"package_{index % 7}" / f"module_{index}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        line = f"def Straße_{chr(97 + index % 26) * (1 + index % 3)}(self): return self or None  # {index}\n"
        path.write_text(line * (size // len(line) + index), encoding="utf-8")
    return source


def events(lines: list[str], pattern: str) -> list[Any]:
    return [match.groups() for match in (re.fullmatch(pattern, line) for line in lines) if match]


def check_moved(lines: list[str]) -> None:
    """Both workers of the killed node run on the other one."""
    assert len(events(lines, r"killed left@127\.0\.0\.1 with SIGKILL, .*")) == 1
    places = dict(events(lines, r"(\S+) runs on (\S+?)(?:, moved from \S+)?"))
    assert places == dict.fromkeys(["left-1", "left-2", "right-1", "right-2"], "right@127.0.0.1")


def check_result(lines: list[str], source: Path, skipped: int = 0) -> None:
    expected: Counter[str] = Counter()
    for path in source.rglob("*.py"):
        if path.is_file():
            expected.update(re.findall(r"[^\W\d_]+", path.read_text(encoding="utf-8").casefold()))
    assert lines[-1] == f"All {len(expected):,} counts are those of one process. Skipped files: {skipped}"
    assert any(line.startswith(f"{expected.total():,} words of ") for line in lines)
    rows = [cells for cells in (re.findall(r"[^\s│┃|]+", line) for line in lines) if len(cells) == 2]
    commonest = [(word, int(times.replace(",", ""))) for word, times in rows if times[0].isdigit()]
    assert commonest == sorted(expected.items(), key=lambda item: (-item[1], item[0]))[:20]


@pytest.mark.timeout(30)
def test_a_node_is_killed_half_way_and_every_count_is_right(tmp_path):
    source = make_files(tmp_path, 120)
    lines = run(*DEMO, str(source), folder=tmp_path)
    check_moved(lines)
    check_result(lines, source)
    assert [percent for (percent,) in events(lines, r" *(\d+) %  .* words/s")] == [
        str(ten) for ten in range(10, 101, 10)
    ]
    assert events(lines, r"killed .*, (\d+) of 120 files done") == [("60",)]
    lost = events(lines, r"(\S+) was lost on left@127\.0\.0\.1; pieces to count again: (\d+)")
    assert sorted(worker for worker, _ in lost) == ["left-1", "left-2"]
    assert sum(int(again) for _, again in lost) > 0
    assert len(events(lines, r"(left-\d) runs on right@127\.0\.0\.1, moved from left@127\.0\.0\.1")) == 2


@pytest.mark.timeout(30)
@pytest.mark.parametrize("number", [0, 1])
def test_few_files(number, tmp_path):
    source = make_files(tmp_path, number)
    source.mkdir(exist_ok=True)
    lines = run(*DEMO, str(source), folder=tmp_path)
    check_moved(lines)
    check_result(lines, source)


def kill_at_the_first_event(child: ChildNode, observer: Pid) -> None:
    """Passes on what the coordinator tells; the first is that a worker has started, and then the next one starts."""
    event = receive()
    child.kill()
    while True:
        send(observer, event)
        event = receive()


@pytest.fixture
def children(tmp_path: Path) -> Iterator[dict[str, ChildNode]]:
    """The demo's three nodes, the first of them here."""
    with (
        (tmp_path / "nodes.log").open("a") as log,
        child_nodes([LEFT, RIGHT], COOKIE, log) as children,
        Node(FIRST, cookie=COOKIE) as node,
    ):
        for child in children.values():
            node.join(child.address())
        yield children


def check_total(paths: list[str]) -> None:
    _, total = receive(lambda event: event[0] == "finished", timeout=15)
    assert total == sum((count_words(Path(path).read_bytes()) for path in paths), Counter())


@pytest.mark.timeout(30)
@pytest.mark.parametrize("started", [0, 1])
def test_a_node_may_be_killed_while_workers_start_on_it(started, children, tmp_path):
    paths = find_files(make_files(tmp_path, 20))
    observer = self_pid()
    if started:
        observer = spawn(kill_at_the_first_event, children[LEFT], observer)
    else:
        children[LEFT].kill()
    job = Job.start_link(paths, observer)
    check_total(paths)
    (workers,) = [child.pid for child in Supervisor.which_children(job) if child.id == "workers"]
    wait_until(lambda: {child.pid and child.pid.node for child in Supervisor.which_children(workers)} == {RIGHT})


@pytest.mark.timeout(30)
def test_a_coordinator_that_ends_half_way_begins_anew(children, tmp_path):
    paths = find_files(make_files(tmp_path, 20))
    Job.start_link(paths, self_pid())
    receive(lambda event: event[0] == "counted", timeout=15)
    coordinator = whereis("coordinator")
    send_exit(coordinator, "kill")
    check_total(paths)
    assert whereis("coordinator") not in (coordinator, None)


@pytest.mark.timeout(30)
def test_what_cannot_be_read_is_named(tmp_path):
    source = make_files(tmp_path, 5)
    (source / "gone.py").symlink_to(source / "nowhere.py")
    os.mkfifo(source / "pipe.py")
    (source / "folder.py").mkdir()
    (source / "big.py").write_text("word " * 200_000, encoding="utf-8")
    (source / "broken.py").write_bytes(b"caf\xe9 \xff\xfe (\x00)")
    (source / os.fsdecode(b"[red]\xff\n.py")).write_text("import antigravity")
    lines = run(*DEMO, str(source), folder=tmp_path)
    assert len(events(lines, r"skipped \S*/gone\.py: No such file or directory")) == 1
    assert len(events(lines, r"skipped \S*/pipe\.py: not a regular file")) == 1
    assert lines[-1].endswith("counts are those of one process. Skipped files: 2")


@pytest.mark.timeout(30)
def test_a_missing_folder(tmp_path):
    lines = run(*DEMO, str(tmp_path / "missing"), folder=tmp_path, status=2)
    assert lines[-1].endswith("missing is not a folder")


def started(process: subprocess.Popen[str]) -> list[int]:
    """Read up to the first worker's start; the pids of the two child nodes."""
    pids: list[int] = []
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.match(r"\S+ is process (\d+) ", line):
            pids.append(int(found[1]))
        if " runs on " in line:
            return pids
    raise AssertionError("it has ended")


@pytest.mark.timeout(30)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_the_children_end_with_their_parent(number, tmp_path):
    process = start(*DEMO, "--kill-at", "101", folder=tmp_path)
    try:
        children = started(process)
        assert [is_running(pid) for pid in children] == [True, True]
        process.send_signal(number)
        output, _ = process.communicate(timeout=15)
    finally:
        process.kill()
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    assert "Traceback" not in output
    wait_until(lambda: not any(map(is_running, children)), 10)


@pytest.mark.timeout(30)
def test_a_terminal_gets_a_live_display(tmp_path):
    source = make_files(tmp_path, 120)
    ours, theirs = pty.openpty()
    environment = os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen([sys.executable, *DEMO, str(source)], cwd=ROOT, env=environment, stdout=theirs)
    os.close(theirs)
    shown = b""
    try:
        while select.select([ours], [], [], 25)[0]:
            try:
                shown += os.read(ours, 65536)
            except OSError:  # its end, on Linux
                break
        assert process.wait(5) == 0
    finally:
        process.kill()
        os.close(ours)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    assert b"\x1b[2K" in shown  # lines are drawn anew
    assert re.search(r"━ \d+ of 120 files, [\d,]+ words, [\d,]+ words/s", text)
    assert re.search(r"left-1 +│ down ", text)
    assert re.search(r"left-1 +│ right@127\.0\.0\.1 ", text)
    assert "killed left@127.0.0.1 with SIGKILL" in text
    assert "counts are those of one process" in text


def board_of(counted: dict[str, int]) -> Board:
    board = Board(Console(file=io.StringIO(), width=100), 1, ["left-1"])
    board.note(("finished", Counter(counted)))
    return board


def test_a_difference_is_an_error(tmp_path):
    path = tmp_path / "a.py"
    path.write_text("one two two")
    board = board_of({"one": 1, "two": 1, "three": 1})
    assert report(board, [str(path)]) == 1
    assert "Error: 2 differences" in board.console.file.getvalue()
    right = board_of({"one": 1, "two": 2})
    assert report(right, [str(path)]) == 0


def test_a_file_that_only_one_of_them_read_is_an_error(tmp_path):
    board = board_of({})
    assert report(board, [str(tmp_path / "gone.py")]) == 1
    assert "gone.py: read by one of the two only" in board.console.file.getvalue()


def test_differences_name_the_word():
    assert differences(Counter(a=1, b=2, c=0), Counter(a=1, b=3, d=1)) == [
        "b: 2 on three nodes, 3 in one process",
        "d: 0 on three nodes, 1 in one process",
    ]


@given(st.text(alphabet="aßΣ.'\u0307é \n", max_size=200))
def test_pieces_count_as_the_whole_does(text):
    content = text.encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus, "PIECE", 7)
        pieces = cut(content)
    assert b"".join(pieces) == content
    assert sum((count_words(piece) for piece in pieces), Counter()) == count_words(content)


def test_a_piece_fits_a_message():
    assert max(map(len, cut(b"some words\n" * 200_000))) <= PIECE + len(b"words")


def test_of_the_standard_library_what_was_installed_is_left_out(tmp_path, monkeypatch):
    for name in ("json/decoder.py", "site-packages/rich/table.py", "README.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert [Path(path).name for path in find_files(tmp_path)] == ["decoder.py", "table.py"]
    monkeypatch.setattr(corpus, "standard_library", lambda: tmp_path)
    assert [Path(path).name for path in find_files(tmp_path)] == ["decoder.py"]


def test_a_file_that_cannot_be_read_is_told_of(tmp_path):
    (tmp_path / "a.py").write_text("a")
    skipped = {}
    paths = [str(tmp_path / "a.py"), str(tmp_path / "b.py"), str(tmp_path)]
    assert list(read_files(paths, skipped.__setitem__)) == [(paths[0], b"a")]
    assert skipped == {paths[1]: "No such file or directory", paths[2]: "not a regular file"}
