"""Puts it together: `python -m examples.wordcount [FOLDER]`."""

import argparse
import secrets
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.table import Table

from examples.wordcount.cluster import child_nodes, log_to, run_child_node
from examples.wordcount.corpus import count_words, find_files, read_files, standard_library
from examples.wordcount.progress import Board, readable
from examples.wordcount.tree import FIRST, LEFT, PLACES, RIGHT, Job
from partisan_actors import ActorError, Node, ProcessExit, receive, self_pid


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="wordcount", description="Count the words of .py files on three nodes.")
    parser.add_argument("folder", nargs="?", type=Path, default=standard_library(), help="if not the standard library")
    parser.add_argument("--kill-at", type=int, default=50, metavar="PERCENT", help="of the files done: kill a node")
    parser.add_argument("--node", help=argparse.SUPPRESS)  # what the command runs as its child processes
    options = parser.parse_args()
    if not options.folder.is_dir():
        parser.error(f"{options.folder} is not a folder")
    return options


def count_on_three_nodes(board: Board, paths: list[str], kill_at: int, log: TextIO) -> None:
    """Have the files counted, and kill a node when so many per cent of them are done."""
    cookie = secrets.token_hex(32)
    with child_nodes([LEFT, RIGHT], cookie, log) as children, Node(FIRST, cookie=cookie) as node:
        for child in children.values():
            address = child.address()
            node.join(address)
            board.say(f"{child.name} is process {child.process.pid} and listens on {address}")
        with board.showing():
            Job.start_link(paths, self_pid())
            while not board.complete:
                if LEFT not in board.killed and board.done * 100 >= board.files * kill_at:
                    children[LEFT].kill()
                    board.node_killed(LEFT)
                board.note(receive(timeout=0.1, default=None))
                board.refresh()


def count_in_one_process(paths: list[str]) -> tuple[Counter[str], set[str]]:
    """The counts that must come out, and the files that cannot be read."""
    total: Counter[str] = Counter()
    skipped: set[str] = set()
    for _, content in read_files(paths, lambda path, _: skipped.add(path)):
        total.update(count_words(content))
    return total, skipped


def differences(counted: Counter[str], expected: Counter[str]) -> list[str]:
    """A line for every word that was not counted as often as it should."""
    return [
        f"{word}: {counted[word]} on three nodes, {expected[word]} in one process"
        for word in sorted(counted.keys() | expected.keys())
        if counted[word] != expected[word]
    ]


def report(board: Board, paths: list[str]) -> int:
    """Print the result, and whether it is right; the exit status."""
    counted, seconds = board.total or Counter(), board.seconds
    table = Table("word", "times", title="The commonest words")
    for word, times in sorted(counted.items(), key=lambda item: (-item[1], item[0]))[:20]:
        table.add_row(word, f"{times:,}")
    board.console.print(table)
    words = counted.total()
    board.say(f"{words:,} words of {len(board.counted)} files in {seconds:.1f} s: {words / seconds:,.0f} words/s")
    started = time.monotonic()
    expected, skipped = count_in_one_process(paths)
    board.say(f"One process, without any of this, takes {time.monotonic() - started:.1f} s.")
    wrong = differences(counted, expected)
    wrong += [f"{readable(path)}: read by one of the two only" for path in sorted(skipped ^ board.skipped.keys())]
    for line in wrong[:20]:
        board.say(line, "red")
    if wrong:
        board.say(f"Error: {len(wrong)} differences to the counts of one process", "bold red")
        return 1
    board.say(f"All {len(expected):,} counts are those of one process. Skipped files: {len(skipped)}", "bold green")
    return 0


def main() -> int:
    """The command; its exit status is 1 for an error or a difference, 2 for wrong arguments."""
    options = parse_arguments()
    if options.node:
        run_child_node(options.node)
        return 0
    # Not deleted: whatever goes wrong on a node, tracebacks and all, is in there.
    with Path(tempfile.mkdtemp(prefix="wordcount-"), "nodes.log").open("a") as log:
        log_to(log)
        paths = find_files(options.folder)
        board = Board(Console(highlight=False), len(paths), PLACES)
        board.say(f"{len(paths)} files in {readable(str(options.folder))}; the log of the nodes is {log.name}")
        try:
            count_on_three_nodes(board, paths, options.kill_at, log)
            return report(board, paths)
        except KeyboardInterrupt:
            board.say("Interrupted")
            return 130
        except (ActorError, RuntimeError, ProcessExit) as error:
            board.say(f"Error: {error!r}; see {log.name}", "bold red")
            return 1


if __name__ == "__main__":
    sys.exit(main())
