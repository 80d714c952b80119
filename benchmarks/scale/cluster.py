"""A large cluster as its driver sees it: the OS processes that host it, asked one by one or all at once."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

__all__ = ["HostProcess", "LargeCluster"]


class HostProcess:
    """One OS process that hosts nodes."""

    def __init__(self, names: list[str]) -> None:
        self.names = names
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.scale.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, do: str, **words: Any) -> dict[str, Any]:
        """Let it do something; its answer."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps({"do": do, **words}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the host of {self.names[0]} and others ended")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()


class LargeCluster:
    """All of them; a context manager that kills what is left.

    Args:
        names: the nodes.
        processes: how many OS processes host them.
        doomed: the share of the nodes that the last of the processes host, to be killed; at least one of them does.
    """

    def __init__(self, names: list[str], processes: int, doomed: float) -> None:
        self._victims = max(1, round(doomed * processes))
        staying = len(names) - round(doomed * len(names))
        shares = _dealt(names[:staying], processes - self._victims) + _dealt(names[staying:], self._victims)
        self.hosts = [HostProcess(share) for share in shares]
        self._threads = ThreadPoolExecutor(processes)

    def __enter__(self) -> LargeCluster:
        return self

    def __exit__(self, *_: object) -> None:
        for host in self.hosts:
            host.kill()

    def names(self) -> list[str]:
        """The nodes that live."""
        return sorted(name for host in self.hosts for name in host.names)

    def host_of(self, name: str) -> HostProcess:
        """Where a node lives."""
        return next(host for host in self.hosts if name in host.names)

    def ask_all(self, do: str, **words: Any) -> list[dict[str, Any]]:
        """All at once; their answers, in order."""
        return list(self._threads.map(lambda host: host.ask(do, **words), self.hosts))

    def each(self, questions: Iterable[Callable[[], dict[str, Any]]]) -> list[dict[str, Any]]:
        """These at once, each of another host."""
        return list(self._threads.map(lambda question: question(), questions))

    def start(self, topology_of: Callable[[HostProcess], tuple[str, dict[str, Any]]]) -> list[dict[str, Any]]:
        """Start all nodes: those of the first host, and then the others through one of its."""
        first, *others = self.hosts

        def started(host: HostProcess, contact: str | None) -> dict[str, Any]:
            topology, parameters = topology_of(host)
            return host.ask("start", names=host.names, topology=topology, parameters=parameters, contact=contact)

        answers = [started(first, None)]
        contact = answers[0]["address"]
        return answers + self.each([lambda host=host: started(host, contact) for host in others])

    def spent(self) -> float:
        """Seconds of processor time of all of them so far."""
        return float(sum(answer["cpu_s"] for answer in self.ask_all("spent")))

    def state(self) -> list[dict[str, Any]]:
        """That of each host."""
        return self.ask_all("state")

    def kill(self) -> list[str]:
        """Kill at once the hosts of those that are to die; which nodes that were."""
        victims, self.hosts = self.hosts[-self._victims :], self.hosts[: -self._victims]
        for host in victims:
            host.process.kill()
        for host in victims:
            host.process.wait()
        return [name for host in victims for name in host.names]

    def wait(self, holds: Callable[[list[dict[str, Any]]], bool], limit: float) -> float | None:
        """Seconds until the states satisfy `holds`; None when that is not within `limit`."""
        began = time.perf_counter()
        while time.perf_counter() - began < limit:
            if holds(self.state()):
                return time.perf_counter() - began
            time.sleep(0.5)
        return None

    def members_agree(self, limit: float) -> float | None:
        """Seconds until every node knows exactly those that live."""
        count = len(self.names())
        return self.wait(lambda states: all(set(state["members"]) == {str(count)} for state in states), limit)

    def reach_of(self, source: str, text: str, limit: float) -> dict[str, Any]:
        """Broadcast, and see how many nodes got it how often, and after how long all had."""
        self.host_of(source).ask("broadcast", source=source, text=text)
        began, count = time.perf_counter(), len(self.names())
        while True:
            times: Counter[str] = Counter()
            for answer in self.ask_all("reached", text=text):
                times.update(answer["times"])
            seconds = time.perf_counter() - began
            if times["1"] == count or seconds > limit:
                return {"reached": times["1"], "of": count, "seconds": seconds, "times": dict(times)}
            time.sleep(0.1)


def _dealt(names: list[str], hosts: int) -> list[list[str]]:
    """The share of each of so many hosts."""
    return [names[index::hosts] for index in range(hosts)]
