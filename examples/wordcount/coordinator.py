"""The server that deals out the work and puts the results together.

Each file is counted exactly once, whatever happens to the workers: a piece of it either waits, or is in flight to one
worker, or is merged. When a worker is lost its pieces wait again; an answer that comes after that finds no flight.
"""

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from examples.wordcount.corpus import cut, read_files
from partisan_actors import Down, NoConnection, NoProcess, Pid, ServerExit, monitor, send
from partisan_actors.behaviours import GenServer, check_response, send_request
from partisan_actors.behaviours.gen_server import NO_RESPONSE, RequestId

IN_FLIGHT = 4  # pieces at most with one worker: enough that it never has to wait, few that have to be counted again


@dataclass
class File:
    """A file that is being counted."""

    path: str
    missing: set[int]  # numbers of the pieces that are not merged
    words: Counter[str] = field(default_factory=Counter)


class Piece(NamedTuple):
    """A part of a file, small enough for a message."""

    file: File
    number: int
    content: bytes


class Flight(NamedTuple):
    """A piece that a worker is counting."""

    request: RequestId
    worker: Pid
    piece: Piece


class Coordinator(GenServer):
    """Gives pieces of the files to workers, and tells `observer` what happens, in tuples:

    ("placed", worker, node), ("lost", worker, node, pieces to count again), ("counted", path, words, worker),
    ("skipped", path, reason), and at the end ("finished", counts of all words).
    """

    def init(self, paths: list[str], observer: Pid) -> None:
        self.observer = observer
        self.files_left = len(paths)
        self.unread = self.read_pieces(paths)
        self.waiting: deque[Piece] = deque()  # those that lost workers had
        self.workers: dict[Pid, str] = {}
        self.flights: list[Flight] = []
        self.total: Counter[str] = Counter()
        if not paths:
            send(observer, ("finished", self.total))

    def read_pieces(self, paths: list[str]) -> Iterator[Piece]:
        """The pieces of all files. A file is read when its turn comes, so only what is in flight is in memory."""
        for path, content in read_files(paths, self.skip):
            parts = cut(content)
            file = File(path, set(range(len(parts))))
            yield from (Piece(file, number, part) for number, part in enumerate(parts))

    def handle_cast(self, request: Any) -> None:
        match request:
            case ("ready", worker, pid):
                self.workers[pid] = worker
                monitor(pid)
                send(self.observer, ("placed", worker, pid.node))
        self.deal()

    def handle_info(self, message: Any) -> None:
        match message:
            case Down(_, Pid() as worker, _):
                self.lose(worker)
            case _:
                self.answered(message)
        self.deal()

    def deal(self) -> None:
        """Give every worker as much as it may have."""
        for worker in self.workers:
            while sum(flight.worker == worker for flight in self.flights) < IN_FLIGHT:
                piece = self.waiting.popleft() if self.waiting else next(self.unread, None)
                if piece is None:
                    return
                self.flights.append(Flight(send_request(worker, piece.content), worker, piece))

    def answered(self, message: Any) -> None:
        """Merge the answer to one of the requests in flight; one that failed tells that its worker is lost."""
        for flight in self.flights:
            try:
                words = check_response(message, flight.request)
            except (NoConnection, NoProcess, ServerExit):
                return self.lose(flight.worker)
            if words is not NO_RESPONSE:
                self.flights.remove(flight)
                return self.merge(flight, words)
        return None

    def merge(self, flight: Flight, words: dict[str, int]) -> None:
        file = flight.piece.file
        file.missing.remove(flight.piece.number)  # were it merged already: a KeyError, and the end of this server
        file.words.update(words)
        if not file.missing:
            self.total.update(file.words)
            send(self.observer, ("counted", file.path, file.words.total(), self.workers[flight.worker]))
            self.file_done()

    def skip(self, path: str, reason: str) -> None:
        send(self.observer, ("skipped", path, reason))
        self.file_done()

    def file_done(self) -> None:
        self.files_left -= 1
        if self.files_left == 0:
            send(self.observer, ("finished", self.total))

    def lose(self, worker: Pid) -> None:
        """Count again what a worker had. Its monitor and its requests all tell of its end; the first one counts."""
        if worker not in self.workers:
            return
        again = [flight.piece for flight in self.flights if flight.worker == worker]
        self.flights = [flight for flight in self.flights if flight.worker != worker]
        self.waiting.extend(again)
        send(self.observer, ("lost", self.workers.pop(worker), worker.node, len(again)))
