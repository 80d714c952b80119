"""Children for supervisors to keep, and what happened to them, in order."""

from __future__ import annotations

from typing import Any

from partisan_actors.behaviours import ChildSpec, GenServer, Supervisor, cast
from partisan_actors.behaviours.gen_server import Ignore, Stop
from partisan_actors.processes.identity import Pid
from partisan_actors.processes.messages import Down
from partisan_actors.processes.primitives import monitor, receive, sleep, spawn_link, trap_exits

__all__ = ["Diary", "Kept", "child", "end", "linked_function", "pids", "running"]


class Diary(list[tuple[Any, ...]]):
    """What the children of a test did: ("started", id) and ("ended", id, reason)."""

    def __init__(self) -> None:
        super().__init__()
        self.failing: dict[Any, Any] = {}  # by id: what the next starts do instead, a list or one thing for ever

    def take(self) -> list[tuple[Any, ...]]:
        """What has been noted since the last time."""
        noted = list(self)
        self.clear()
        return noted

    def outcome(self, id: Any) -> Any:
        """What the next start of this child is to do."""
        planned = self.failing.get(id)
        if isinstance(planned, list):
            return planned.pop(0) if planned else None
        return planned


class Kept(GenServer):
    """A child that writes into a diary, and ends as it is told to."""

    def init(self, diary: Diary, id: Any, *, trapping: bool = True, last: Any = None) -> Any:
        self.diary, self.id, self.last = diary, id, last
        trap_exits(trapping)
        outcome = diary.outcome(id)
        if outcome == "ignore":
            return Ignore()
        if isinstance(outcome, Exception):
            raise outcome
        if outcome is not None:
            return Stop(outcome)
        diary.append(("started", id))
        return None

    def handle_cast(self, request: Any) -> Any:
        _, reason = request
        return Stop(reason)

    def terminate(self, reason: Any) -> Any:
        if self.last is not None:
            self.last(reason)
        self.diary.append(("ended", self.id, reason))


def child(diary: Diary, id: Any, *, start: dict[str, Any] | None = None, **fields: Any) -> ChildSpec:
    """The spec of a Kept; `start` are keyword arguments for its init."""
    return ChildSpec(id, (Kept, diary, id), kwargs=start or {}, **fields)


def pids(supervisor: Any) -> dict[Any, Pid | None]:
    """The children's pids by id, in their order."""
    return {info.id: info.pid for info in Supervisor.which_children(supervisor)}


def running(supervisor: Any) -> list[Any]:
    """The ids of the children that run."""
    return [id for id, pid in pids(supervisor).items() if pid is not None]


def end(supervisor: Any, id: Any, reason: Any = "oops") -> None:
    """End a child of its own accord, and wait until it has; its supervisor deals with that before the next question."""
    pid = pids(supervisor)[id]
    assert pid is not None
    ref = monitor(pid)
    cast(pid, ("stop", reason))
    receive(lambda message: isinstance(message, Down) and message.ref == ref, timeout=5)


def linked_function(diary: Diary, id: Any) -> Pid:
    """A start function: a plain process, linked."""

    def run() -> None:
        diary.append(("started", id))
        sleep(3600)

    return spawn_link(run)
