"""What strangers may cost: the counting."""

from __future__ import annotations

import pytest

from partisan_actors.distribution.machine import SetTimer, TimerFired
from partisan_actors.distribution.strangers import Line, RefusalLog, StrangerParameters, Strangers, host_of

PARAMETERS = StrangerParameters(pending=6, pending_from_one=2, lines=3, seconds=10.0, remembered=4)


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("127.0.0.1:4711", "127.0.0.1"),
        ("[::1]:4711", "[::1]"),
        ("unix:uid=0,pid=17", "unix:uid=0"),
        ("unix:/run/node", "unix:/run/node"),
        ("memory", "memory"),
    ],
)
def test_strangers_are_told_apart_by_what_they_cannot_change(address: str, host: str):
    assert host_of(address) == host


def test_so_many_from_one_address():
    strangers = Strangers(PARAMETERS)
    assert [strangers.admit("x") for _ in range(3)] == [None, None, "too many unproven connections from this address"]
    assert strangers.admit("y") is None
    strangers.leave("x")
    assert strangers.admit("x") is None


def test_so_many_in_all():
    strangers = Strangers(PARAMETERS)
    assert [strangers.admit(f"{number}") for number in range(7)] == [*[None] * 6, "too many unproven connections"]
    strangers.leave("3")
    assert strangers.admit("another") is None
    assert strangers.pending == 6


def test_nothing_is_kept_of_those_that_are_gone():
    strangers = Strangers(PARAMETERS)
    for number in range(1000):
        assert strangers.admit(f"{number}") is None
        strangers.leave(f"{number}")
    assert strangers.pending == 0 and not strangers._from


def test_the_first_lines_are_written_and_the_rest_counted():
    log = RefusalLog(PARAMETERS)
    effects = [effect for port in range(10) for effect in log.refused(f"h:{port}", "cookie", "why")]
    assert effects[0] == SetTimer("summary", 10.0)
    assert effects[1:] == [Line("h", "cookie", f"h:{port}", "why") for port in range(3)]
    assert log.step(TimerFired("summary")) == [Line("h", "cookie", "h", "more of the same", 7)]
    assert [type(effect) for effect in log.refused("h:99", "cookie")] == [SetTimer, Line]


def test_addresses_and_reasons_have_lines_of_their_own():
    log = RefusalLog(PARAMETERS)
    for host, reason in [("h", "cookie"), ("h", "name"), ("g", "cookie")]:
        for _ in range(4):
            log.refused(f"{host}:1", reason)
    assert {(line.host, line.reason, line.times) for line in log.step(TimerFired("summary"))} == {
        ("h", "cookie", 1),
        ("h", "name", 1),
        ("g", "cookie", 1),
    }


def test_a_flood_from_many_addresses_is_bounded_too():
    log = RefusalLog(PARAMETERS)
    lines = [
        effect for host in range(1000) for effect in log.refused(f"{host}:1", "cookie") if isinstance(effect, Line)
    ]
    assert len(lines) == 4 + 3
    assert len(log.step(TimerFired("summary"))) == 1
    assert log.finish() == []


@pytest.mark.parametrize(
    "wrong",
    [{"pending_from_one": 7}, {"pending_from_one": 0}, {"prove_within": 0}, {"seconds": 0}, {"lines": 0}],
)
def test_parameters_are_checked(wrong: dict[str, int]):
    with pytest.raises(ValueError):
        StrangerParameters(**({"pending": 6} | wrong))  # type: ignore[arg-type]
