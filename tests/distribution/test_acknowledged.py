"""Acknowledged delivery from end to end, over everything that can go wrong (see outbox_world)."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.distribution.outbox_world import INBOX, NODE, OUTBOX, World

LIMIT = OUTBOX.time_limit
HOURS = 4 * 3600.0
PLACES = st.integers(0, 30)


class Delivery(RuleBasedStateMachine):
    """Sessions as they are."""

    hostile = False
    durable = False

    def __init__(self) -> None:
        super().__init__()
        self.world: World
        self.crowded = False

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        self.world = World(seed, self.durable)

    # What processes do.

    @rule(which=st.sampled_from(["name", "pid", "old pid", "dead"]), size=st.integers(4, 70), count=st.integers(1, 4))
    def send(self, which: str, size: int, count: int) -> None:
        world = self.world
        box = world.sender.boxes.of(NODE)
        life = {"pid": world.receiver.life, "old pid": box.life}.get(which)
        for _ in range(count):
            if not box.congested:
                world.send(life, which == "dead", size)

    # What the network does.

    @rule()
    def connect(self) -> None:
        self.world.connect()

    @rule()
    def end_at_sender(self) -> None:
        self.world.end_at_sender()

    @rule()
    def end_at_receiver(self) -> None:
        self.world.end_at_receiver()

    @rule(count=st.integers(1, 9), place=PLACES)
    def carry_out(self, count: int, place: int) -> None:
        for _ in range(count):
            self.world.carry_out(place if self.hostile else 0)

    @rule(count=st.integers(1, 3), place=PLACES)
    def carry_back(self, count: int, place: int) -> None:
        for _ in range(count):
            self.world.carry_back(place if self.hostile else 0)

    @precondition(lambda self: self.hostile)
    @rule(place=PLACES, back=st.booleans(), again=st.booleans())
    def lose_or_double(self, place: int, back: bool, again: bool) -> None:
        queue = self.world.line.back if back else self.world.line.out
        if queue:
            one = queue.pop(place % len(queue))
            if again:
                queue.extend((one, one))

    # What time and fate do.

    @rule(seconds=st.sampled_from([0.01, 0.1, 1.0, 6.0, 20.0, LIMIT, LIMIT + INBOX.margin, HOURS]))
    def advance(self, seconds: float) -> None:
        self.world.advance(seconds)

    @rule()
    def restart_receiver(self) -> None:
        self.world.restart_receiver()

    @rule()
    def hear_of_the_receivers_life(self) -> None:
        world = self.world
        world.sender.perform(world.sender.boxes.of(NODE).life_changed(world.receiver.life, world.now))

    @rule(committed=st.booleans(), jump=st.sampled_from([0.0, 1.0, LIMIT, HOURS, -HOURS, -1e12, 1e12]))
    def restart_sender(self, committed: bool, jump: float) -> None:
        self.world.restart_sender(committed, self.world.wall + jump)

    @precondition(lambda self: self.durable)
    @rule()
    def commit(self) -> None:
        self.world.sender.commit()

    @rule(count=st.integers(1, 4))
    def crowd(self, count: int) -> None:
        self.crowded = True
        self.world.receiver.crowd(count)

    # What has to hold. That nothing is delivered twice is asserted by the receiver.

    @invariant()
    def everything_ends_once_and_in_time(self) -> None:
        world = self.world
        for message in world.messages:
            assert len(message.failed) <= 1, message
            assert not (message.gone and message.failed), message
        box = world.sender.boxes.of(NODE)
        for entry in box._open.values():
            assert entry.deadline > world.now - 1e-6
            assert entry.deadline <= world.message_of(box.identity, entry.number).deadline + 1e-6
        assert box.size == sum(entry.size for entry in box._open.values())
        assert box._flying == sum(entry.size for entry in box._open.values() if entry.flying)

    @invariant()
    def the_order_is_that_of_sending(self) -> None:
        order = self.world.receiver.order
        assert self.hostile or order == sorted(order)

    @invariant()
    def memory_is_bounded(self) -> None:
        inboxes = self.world.receiver.inboxes
        assert len(inboxes) <= INBOX.identities + 1
        assert inboxes.numbers <= (INBOX.fading + 1) * (INBOX.above + INBOX.refusals)

    def teardown(self) -> None:
        world = self.world
        world.come_to_rest()
        for message in world.messages:
            self.settled(message)
        world.end_at_sender()
        world.end_at_receiver()
        world.advance(HOURS)
        world.sender.commit() if self.durable else None
        self.quiet()

    def settled(self, message) -> None:
        """One that was accepted was delivered, or its sender knows that it may not have been."""
        if message.gone or not message.accepted:
            return
        assert message.failed or message.delivered or message.told, message
        if message.dead:
            assert (message.failed or message.told) and not message.delivered
        elif not self.hostile and not self.crowded and not any(other.refused for other in self.world.messages):
            assert message.failed in ([], ["noproc"], ["noconnection"], ["timeout"]), message
            assert message.failed != ["noproc"] or message.life is not None

    def quiet(self) -> None:
        """Nothing is left in memory or on the disk but numbers."""
        world = self.world
        assert world.sender.timers.due == {} and world.receiver.timers.due == {}
        assert world.receiver.inboxes.numbers == 0 and not world.receiver.inboxes.timed
        assert len(world.sender.boxes.of(NODE)) == 0
        assert world.disk is None or world.disk.records == {}
        box = world.sender.boxes.of(NODE)
        world.sender.boxes.drop_if_quiet(NODE)
        assert len(world.sender.boxes) == 0 and world.sender.boxes.of(NODE).number == box.number


class HostileDelivery(Delivery):
    hostile = True


class LoggedDelivery(Delivery):
    durable = True


class HostileLoggedDelivery(Delivery):
    hostile = durable = True


SETTINGS = settings(stateful_step_count=50)

TestDelivery = Delivery.TestCase
TestDelivery.settings = SETTINGS
TestHostileDelivery = HostileDelivery.TestCase
TestHostileDelivery.settings = SETTINGS
TestLoggedDelivery = LoggedDelivery.TestCase
TestLoggedDelivery.settings = SETTINGS
TestHostileLoggedDelivery = HostileLoggedDelivery.TestCase
TestHostileLoggedDelivery.settings = SETTINGS


@pytest.mark.parametrize("machine", [HostileDelivery, HostileLoggedDelivery])
@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("gap", [False, True])
def test_an_answer_that_passes_another_or_comes_without_it_hides_no_refusal(machine, lost, gap):
    steps = machine()
    steps.begin(seed=0)
    steps.send(count=3 if gap else 2, size=4, which="dead")
    if machine.durable:
        steps.commit()
    steps.connect()
    steps.carry_out(count=1, place=1 if gap else 0)
    steps.carry_out(count=2, place=0)
    if lost:
        steps.lose_or_double(place=0, back=True, again=False)
    steps.carry_back(count=1, place=1)
    steps.teardown()
    assert all(message.failed == ["noproc"] for message in steps.world.messages)


def test_a_refusal_that_a_killed_sender_had_heard_of_is_no_delivery_to_the_next_one():
    steps = LoggedDelivery()
    steps.begin(seed=0)
    steps.send(count=1, size=70, which="dead")
    steps.send(count=1, size=4, which="name")
    steps.commit()
    steps.connect()
    steps.carry_out(count=1, place=0)
    steps.carry_back(count=1, place=0)
    assert steps.world.messages[0].failed == ["noproc"] and 1 in steps.world.disk.records
    steps.carry_out(count=1, place=0)  # says that the first one is closed
    steps.restart_sender(committed=False, jump=0.0)
    steps.teardown()
    assert [message.failed for message in steps.world.messages] == [["expired"], []]


@pytest.mark.parametrize("seed", range(40))
def test_a_log_brings_every_accepted_message_once_to_a_receiver_that_stays_up(seed):
    world = World(seed, durable=True)
    random = world.random
    for _ in range(60):
        match random.randrange(7):
            case 0 | 1:
                if not world.sender.boxes.of(NODE).congested:
                    world.send(random.choice((None, world.receiver.life)), False, random.randrange(4, 70))
            case 2:
                world.sender.commit()
            case 3:
                world.connect()
            case 4:
                for _ in range(random.randrange(8)):
                    world.carry_out()
            case 5:
                world.carry_back()
                world.advance(random.choice((0.0, 0.02, 0.5)))
            case 6:
                jump = random.choice((0.0, LIMIT, 1e10, -1e10))
                world.restart_sender(random.random() < 0.5, world.wall + jump)
    world.come_to_rest()
    accepted = [message for message in world.messages if message.accepted]
    assert len(accepted) > 3
    assert [message for message in accepted if len(message.delivered) != 1 or message.failed] == []
    assert world.receiver.order == sorted(world.receiver.order)


@pytest.mark.parametrize("block", range(5))
def test_whatever_is_forgotten_nothing_is_delivered_twice_and_no_refusal_is_lost(block):
    """Mostly what the machines above reach too rarely: answers that are lost, and inboxes that are crowded out."""
    for seed in range(block * 60, block * 60 + 60):
        world = World(seed, durable=True)
        random = world.random
        for _ in range(60):
            match random.randrange(8):
                case 0 | 1:
                    if not world.sender.boxes.of(NODE).congested:
                        world.send(None, random.random() < 0.3, random.randrange(4, 30))
                        world.sender.commit()
                case 2 | 3:
                    world.connect()
                case 4:
                    for _ in range(random.randrange(8)):
                        world.carry_out(random.randrange(3))
                case 5:
                    world.line.back.clear()  # as with a session that ends at the sender first
                    world.end_at_receiver()
                    world.receiver.crowd(random.choice((0, 1, 4)))
                case 6:
                    world.advance(random.choice((0.1, 6.0, 20.0, LIMIT / 2, LIMIT + INBOX.margin)))
                case 7:
                    world.restart_sender(committed=True, wall=world.wall)
        world.come_to_rest()
        for message in world.messages:
            assert message.gone or message.failed or message.delivered or message.told, message
            assert message.gone or not message.dead or message.failed or message.told, message
