"""How often it is written that a node sends nonsense."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from partisan_actors.distribution.bad_input import BadInputLog
from tests.distribution.virtual_time import VirtualClock


@pytest.fixture
def logs() -> Iterator[list[Any]]:
    with capture_logs() as entries:
        yield entries


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


def tell(log: BadInputLog, peer: str = "b@h", reason: str = "shape", **more: Any) -> None:
    log.tell("records_refused", peer, reason, advice="mend it", **more)


def test_the_first_has_a_line_at_once_and_says_what_to_do(clock: VirtualClock, logs: list[Any]):
    tell(BadInputLog("a@h", clock), about={"count": 3})
    assert logs == [
        {
            "event": "records_refused",
            "log_level": "warning",
            "node": "a@h",
            "peer": "b@h",
            "reason": "shape",
            "advice": "mend it",
            "times": 1,
            "count": 3,
        }
    ]


def test_those_that_follow_are_one_line_when_the_time_is_over(clock: VirtualClock, logs: list[Any]):
    log = BadInputLog("a@h", clock, seconds=60.0)
    for _ in range(5):
        tell(log)
        clock.run(1.0)
    assert len(logs) == 1
    clock.run(60.0)
    tell(log)
    assert [line["times"] for line in logs] == [1, 5]


def test_each_node_event_and_reason_has_its_own(clock: VirtualClock, logs: list[Any]):
    log = BadInputLog("a@h", clock)
    for peer in ("b@h", "c@h"):
        for reason in ("shape", "name"):
            tell(log, peer, reason)
            log.tell("names_refused", peer, reason, advice="mend it")
    assert len(logs) == 8


def test_a_reason_with_other_numbers_is_the_same(clock: VirtualClock, logs: list[Any]):
    log = BadInputLog("a@h", clock)
    for number in range(50):
        tell(log, reason=f"a relay of {number} bytes")
    assert [line["reason"] for line in logs] == ["a relay of 0 bytes"]


def test_a_peer_that_makes_up_reasons_fills_nothing(clock: VirtualClock, logs: list[Any]):
    log = BadInputLog("a@h", clock, reasons=3)
    for letter in "abcdefghij":
        tell(log, reason=letter)
    assert [line["reason"] for line in logs] == ["a", "b", "c", "d"]
    assert len(next(iter(log._told.values()))) == 4
    clock.run(60.0)
    tell(log, reason="k")
    assert logs[-1]["reason"] == "k", "there is room again for one of its own"


def test_a_peer_that_makes_up_names_fills_nothing(clock: VirtualClock, logs: list[Any]):
    log = BadInputLog("a@h", clock, lines=5)
    for number in range(20):
        tell(log, f"ghost-{number}@h")
    log.tell("names_refused", "b@h", "shape", advice="mend it")
    assert [line["event"] for line in logs] == ["records_refused"] * 5 + ["names_refused"]
    clock.run(60.0)
    for number in range(20):
        tell(log, f"ghost-{number}@h")
    assert len(logs) == 11


def test_peers_are_forgotten(clock: VirtualClock, logs: list[Any]):
    log = BadInputLog("a@h", clock, remembered=2)
    for peer in ("b@h", "c@h", "d@h", "b@h"):
        tell(log, peer)
    assert len(logs) == 4 and len(log._told) == 2


def test_what_is_nobodys_fault_is_for_debugging(clock: VirtualClock, logs: list[Any]):
    tell(BadInputLog("a@h", clock), level="debug")
    assert [line["log_level"] for line in logs] == ["debug"]
