"""A network that does anything to bytes: it splits, delays, resets, doubles whole chunks and changes single bytes.

Under TLS every change ends the connection that it was on, and nothing else: all that was promised is kept. Without it
TCP's own checks are all there is, and a byte that they let through may become part of a message or break an envelope;
then it is the two nodes' own trouble, for a while, and nobody else's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any, NamedTuple

from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from partisan_actors import Node, send_exit
from tests.certificates import Authority
from tests.conditions import wait_until
from tests.faults.network import RESET, BadNetwork, bad_network
from tests.faults.traffic import CHANNELS, Residue, Traffic, warm_up
from tests.nodes import connected, running_nodes, session_between

# Each takes a second or more, so there are few, and a failure is told as it is.
few = settings(
    max_examples=3,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


class Act(NamedTuple):
    """What is done to one chunk, after so many others were let through; `at` is a place in it, of 65,536."""

    after: int
    what: str
    at: int = 0
    bits: int = 1

    def done_to(self, data: bytes) -> Iterable[Any]:
        """What becomes of it."""
        place = self.at * len(data) >> 16
        head, tail = data[:place], data[place:]
        match self.what:
            case "split":
                return [part for part in (head, tail[:1], tail[1:]) if part]
            case "delay":
                return (head, self.at / 65_536 / 20, tail) if head else (self.at / 65_536 / 20, tail)
            case "reset":
                return (head, RESET) if head else (RESET,)
            case "double":
                return (data, data)
            case "change":
                return (head + bytes([tail[0] ^ self.bits]) + tail[1:],)
        raise AssertionError(self.what)


class Adversary:
    """Does one act after the other to what passes, in whatever direction."""

    def __init__(self, acts: list[Act]) -> None:
        self._acts = deque(acts)
        self._passed = 0

    def __call__(self, data: bytes) -> Iterable[Any]:
        if not self._acts or self._passed < self._acts[0].after:
            self._passed += 1
            return (data,)
        self._passed = 0
        return self._acts.popleft().done_to(data)

    @property
    def done(self) -> bool:
        """Whether it has done all."""
        return not self._acts


def acts(*what: str) -> st.SearchStrategy[list[Act]]:
    one = st.builds(Act, st.integers(0, 25), st.sampled_from(what), st.integers(0, 65_535), st.integers(1, 255))
    return st.lists(one, min_size=3, max_size=14)


def do_worst(network: BadNetwork, plan: list[Act]) -> None:
    adversary = Adversary(plan)
    network.change(adversary)
    wait_until(lambda: adversary.done, 15, what="all of it is done")
    network.change()


@few
@given(plan=acts("split", "delay", "reset"))
def test_bytes_split_delayed_and_reset(plan: list[Act]):
    with capture_logs() as logs, running_nodes() as nodes, bad_network(nodes) as network:
        keep_all_promises(network, plan)
    assert_no_errors(logs)


@few
@given(plan=acts("split", "delay", "reset", "double", "change", "change"))
@example(plan=[Act(20, "change", at, 128) for at in range(0, 65_536, 8192)])
@example(plan=[Act(20, "double") for _ in range(8)])
def test_bytes_doubled_and_changed_under_tls(authority: Authority, plan: list[Act]):
    options = {"tls": authority.tls("127.0.0.1")}
    with capture_logs() as logs, running_nodes() as nodes, bad_network(nodes, lambda: options) as network:
        keep_all_promises(network, plan)
    assert_no_errors(logs)


def keep_all_promises(network: BadNetwork, plan: list[Act]) -> None:
    warm_up(*network.both)
    residue = Residue(network.both)
    number = session_between(*network.both).number
    traffic = Traffic(*network.both)
    do_worst(network, plan)
    traffic.finish()
    assert session_between(*network.both).number == number
    network.wait_until_connected()
    residue.check(slack=2)


@settings(few, max_examples=2, derandomize=True)  # a wait of ten seconds for a changed length is no news
@given(plan=acts("split", "delay", "reset", "double", "change", "change"))
@example(plan=[Act(10, "change", at, 128) for at in range(0, 65_536, 4096)])
def test_bytes_doubled_and_changed_without_tls(plan: list[Act]):
    options = {"channels": CHANNELS, "ack_timeout": 1.5}
    with capture_logs() as logs, running_nodes() as nodes, bad_network(nodes, lambda: options) as network:
        third = nodes.start("third", **options)
        third_talks = ThirdTalks(network.here, third)
        warm_up(*network.both)
        residue = Residue([*network.both, third])
        third_talks.start()
        traffic = Traffic(*network.both)
        do_worst(network, plan)
        # Nobody else has noticed.
        third_talks.finish()
        forget(traffic, network)
        wait_until(lambda: connected(*network.both, third), 15, what="all are connected again")
        # And the two go on as if nothing had been.
        warm_up(*network.both)
        residue.check(slack=3)
    assert_no_errors([entry for entry in logs if entry["event"] != "process_crashed"])


class ThirdTalks:
    """Traffic between a third node, which the bad network is not in the way of, and one of the two."""

    def __init__(self, here: Node, third: Node) -> None:
        here.join(third.address)  # type: ignore[arg-type]
        wait_until(lambda: third.name in here.members() and here.name in third.members())
        self._here, self._third = here, third
        self._over = False
        third.run(warm_up, third, here)

    def start(self) -> None:
        """Begin."""
        self._results: list[BaseException | None] = []
        self._third.spawn(self._talk)

    def finish(self) -> None:
        """All of it came."""
        self._over = True
        (result,) = wait_until(lambda: self._results, 15, what="the third is through")
        if result is not None:
            raise result

    def _talk(self) -> None:
        try:
            traffic = Traffic(self._third, self._here)
            wait_until(lambda: self._over, 30)
            traffic.finish()
        except Exception as error:
            self._results.append(error)
        else:
            self._results.append(None)


def forget(traffic: Traffic, network: BadNetwork) -> None:
    """End all that takes part in it, each on its own node: what they know of each other may be wrong by now."""
    for direction in traffic.directions:
        for pid in (direction.sink, direction.watched, *direction.talkers.values()):
            home = network.here if pid.node == network.here.name else network.other
            home.run(send_exit, pid, "kill")
    traffic.directions = []


def assert_no_errors(logs: list[Any]) -> None:
    errors = [entry for entry in logs if entry["log_level"] in ("error", "critical")]
    assert not errors, "\n".join(map(repr, errors[:3]))
