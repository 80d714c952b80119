"""What is new in a cluster view: when it goes, and to whom."""

from __future__ import annotations

import pytest

from partisan_actors.cluster.records import Member, RecordLimits, Records, Status
from partisan_actors.cluster.suspicion import LocalHealth, SuspicionParameters
from partisan_actors.cluster.view_events import SendView
from partisan_actors.cluster.view_messages import SuspicionOf, entry_of
from partisan_actors.cluster.view_news import NEWS, News
from partisan_actors.distribution.machine import SetTimer

DELAY, LONGEST = 0.02, 0.3


def member(name: str) -> Member:
    return Member(name, 1, 1, (), False, 1, Status.ALIVE)


class Line:
    """News on their way to two neighbours, in virtual time."""

    def __init__(self) -> None:
        self.health = LocalHealth(SuspicionParameters())
        self.news = News(self.health, DELAY, LONGEST)
        self.records = Records(member("own@h"), RecordLimits())
        self.now = 100.0
        self.due: float | None = None
        self.late = 0.0  # seconds that the timers of this node come late
        self.sent: list[tuple[float, SendView]] = []

    def entries(self) -> list[list[str]]:
        """Whom each of what was sent is about."""
        payloads = [sent.payload for _, sent in self.sent]
        told = [payload[1] for payload in payloads if isinstance(payload, tuple)]
        return [[entry[0] for entry in entries] for entries in told if isinstance(entries, tuple)]

    def look(self) -> None:
        for effect in self.news.due(self.now, lambda: ("p@h", "q@h"), self.records, lambda one: entry_of(one, None)):
            if isinstance(effect, SetTimer):
                assert effect.key == NEWS
                self.due = self.now + effect.seconds
            else:
                self.sent.append((self.now, effect))

    def until(self, when: float) -> None:
        while self.due is not None and self.due + self.late <= when:
            self.now, self.due = self.due + self.late, None
            self.health.late = self.late
            self.news.timer_fired()
            self.look()
        self.now = when

    def newcomer(self, name: str, source: str = "p@h") -> None:
        self.records.merge(member(name))
        self.news.newcomer(name, (source,))
        self.look()

    def crowd(self, first: int, last: int) -> None:
        """So many newcomers, twenty in a second."""
        for index in range(first, last):
            self.until(100.0 + index * 0.05)
            self.newcomer(f"n{index}@h")

    def gaps(self) -> list[float]:
        """Seconds from each of what was sent to the next."""
        return [after - before for (before, _), (after, _) in zip(self.sent, self.sent[1:], strict=False)]

    def word_after_a_crowd(self) -> tuple[float, SendView]:
        """What is sent next once somebody is suspected, and after how many seconds."""
        self.crowd(0, 100)
        self.sent.clear()
        began = self.now
        self.suspicion()
        self.until(began + 1.0)
        when, sent = self.sent[0]
        return when - began, sent

    def suspicion(self, source: str = "p@h") -> None:
        self.news.suspicion(SuspicionOf("x@h", 1, 1, 1, "s@h", False), source)
        self.look()


@pytest.fixture
def line() -> Line:
    return Line()


def test_the_first_goes_at_once_and_not_to_who_told_it(line: Line):
    line.newcomer("a@h")
    ((when, sent),) = line.sent
    assert (when, sent.nodes) == (100.0, ("q@h",))


def test_newcomers_that_keep_coming_go_together_more_and_more_of_them(line: Line):
    line.crowd(0, 100)
    line.until(120.0)
    told = [len(names) for names in line.entries()]
    assert sum(told) == 100
    assert told[-2] == 6
    gaps = line.gaps()
    assert gaps[0] < 0.1
    assert max(gaps) == pytest.approx(LONGEST)


def test_after_a_while_without_any_the_next_goes_at_once_again(line: Line):
    test_newcomers_that_keep_coming_go_together_more_and_more_of_them(line)
    line.until(125.0)
    line.newcomer("late@h")
    assert line.sent[-1][0] == 125.0
    line.newcomer("later@h")
    line.until(130.0)
    assert line.sent[-1][0] == pytest.approx(125.0 + DELAY)


def test_a_suspicion_does_not_wait_for_newcomers(line: Line):
    seconds, sent = line.word_after_a_crowd()
    assert seconds <= DELAY
    assert isinstance(sent.payload, tuple) and sent.payload[2]


def test_who_knows_some_of_it_is_sent_the_same_as_the_others(line: Line):
    line.newcomer("a@h")
    line.sent.clear()
    line.newcomer("b@h", "p@h")
    line.newcomer("c@h", "q@h")
    line.until(101.0)
    ((_, sent),) = line.sent
    assert sent.nodes == ("p@h", "q@h")
    assert line.entries() == [["b@h", "c@h"]]


def test_in_a_large_cluster_they_are_collected_for_longer(line: Line):
    for index in range(1000):
        line.records.merge(member(f"m{index}@h"))
    line.crowd(0, 200)
    assert max(line.gaps()) == pytest.approx(1001 / 250 * LONGEST, rel=0.2)


def test_a_node_that_is_late_itself_collects_for_longer_and_no_more_once_it_is_not(line: Line):
    line.late = 0.2
    line.crowd(0, 400)
    assert max(line.gaps()) == pytest.approx(10 * LONGEST, abs=line.late + 0.06)
    line.late = 0.0
    line.sent.clear()
    line.crowd(400, 600)
    line.until(200.0)
    assert line.gaps()[-5:] == pytest.approx([LONGEST * 600 / 250] * 5, rel=0.2)
    assert line.entries()[-1][-1] == "n599@h"


def test_a_suspicion_waits_a_moment_where_the_node_is_late(line: Line):
    line.late = 0.2
    seconds, _ = line.word_after_a_crowd()
    assert seconds <= LONGEST + line.late
