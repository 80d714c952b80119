"""Nodes with one causal label, the links between them, and an oracle that knows what happened before what.

A link loses nothing by itself, but delivers when it is told to: in order, or out of it. What is not taken stays on it.
Each observer hears of each node's ups and downs when it is told to. The oracle keeps for each node, as a set of
messages in an int, what happened before; every delivery is checked at once, and the end by `quiet`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from partisan_actors.distribution.causal import Abandon, CausalOrder, CausalParameters, Deliver, Sent, Tell
from partisan_actors.distribution.causal_label import CausalLabel
from partisan_actors.distribution.causal_stamps import incarnation_of

OPERATIONS = "send send send multicast broadcast arrive arrive arrive arrive arrive late again lost doubted flood"
UPHEAVALS = "crash restart suspect observe observe observe observe"


@dataclass(eq=False)
class Packet:
    item: tuple[Any, ...]
    message: Any  # its number; None for what the machines say to each other
    life: int  # the receiver's
    origin: int  # the sender's


@dataclass
class Node:
    machine: CausalOrder
    life: int
    past: int = 0  # messages that happened before what this node does next
    overtaken: int = 0  # messages that happened before one that was delivered here
    delivered: set[int] = field(default_factory=set)
    taken: set[int] = field(default_factory=set)
    up: dict[int, int] = field(default_factory=dict)  # lives, as this node's cluster view has them


class World:
    """All of it."""

    def __init__(
        self, size: int, parameters: CausalParameters | None = None, *, connected: bool = True, epoch: int = 0
    ) -> None:
        self.names = [f"n{place:03}@host" for place in range(size)]
        self.label = CausalLabel("label", tuple(self.names))
        self.parameters = parameters
        self.lives = 0
        self.epoch = epoch  # before the first life
        self.nodes: list[Node | None] = []
        self.links: dict[tuple[int, int], list[Packet]] = {(a, b): [] for a in range(size) for b in range(size)}
        self.pasts: list[int] = []  # by message, what happened before it
        self.excused: set[tuple[int, int]] = set()  # message and receiver: given up or abandoned
        self.sent: list[tuple[int, int, Node | None, Node]] = []  # message, receiver, both nodes
        self.log: list[tuple[int, int]] = []  # deliveries: receiver and message
        for place in range(size):
            self.nodes.append(self._start(place))
        if connected:
            self.observe_all()
            self.arrive_all()

    def _start(self, place: int) -> Node:
        self.lives += 1
        machine = CausalOrder(
            self.label, self.names[place], incarnation_of(self.epoch + self.lives, 7), self.parameters
        )
        return Node(machine, self.lives)

    # What may happen

    def send(self, place: int, *receivers: int) -> int:
        """Send a message; its number."""
        node = self.nodes[place]
        return self.put(place, node.machine.send([self.names[receiver] for receiver in receivers]))

    def put(self, place: int, sent: Sent) -> int:
        node = self.nodes[place]
        number = len(self.pasts)
        self.pasts.append(node.past)
        node.past |= 1 << number
        for name, stamp in sent.stamps:
            receiver = self.names.index(name)
            self._travel(place, receiver, stamp, number)
            other = self.nodes[receiver]
            if other is not None and other.life == node.up[receiver]:
                self.sent.append((number, receiver, node, other))
        return number

    def _travel(self, place: int, receiver: int, item: tuple[Any, ...], message: int | None) -> None:
        node = self.nodes[place]
        assert receiver in node.up, "nothing is sent to who is not up"
        self.links[place, receiver].append(Packet(item, message, node.up[receiver], node.life))

    def perform(self, place: int, effects: list[Any]) -> None:
        for effect in effects:
            match effect:
                case Tell(member, item):
                    self._travel(place, self.names.index(member), item, None)
                case Abandon(member):
                    receiver = self.names.index(member)
                    for packet in self.links[place, receiver]:
                        if packet.message is not None:
                            self.excused.add((packet.message, receiver))
                    self.links[place, receiver].clear()
                case Deliver(_, message):
                    self._delivered(place, message)

    def _delivered(self, place: int, message: int) -> None:
        node = self.nodes[place]
        assert message not in node.delivered, f"message {message} was delivered twice at {place}"
        assert not node.overtaken >> message & 1, f"message {message} came too late at {place}"
        node.delivered.add(message)
        node.overtaken |= self.pasts[message]
        node.past |= self.pasts[message] | 1 << message
        self.log.append((place, message))

    def arrive(self, sender: int, receiver: int, index: int = 0, *, again: bool = False) -> bool:
        """Let what is on a link at that index arrive; whether anything was taken or dropped."""
        link = self.links[sender, receiver]
        if index >= len(link):
            return False
        packet, node = link[index], self.nodes[receiver]
        if node is None or node.life != packet.life:
            del link[index]
            return True
        life = incarnation_of(self.epoch + packet.origin, 7)
        outcome = node.machine.receive(self.names[sender], packet.item, packet.message, 10, life)
        origin = self.nodes[sender]
        if not outcome.taken and (origin is None or origin.life != packet.origin):
            # Whoever would try again is dead.
            link.remove(packet)
        if outcome.taken and not again:
            # By identity: what the effects put on links, this one too, comes behind it.
            link.remove(packet)
        if outcome.taken and packet.message is not None and (packet.message, receiver) not in self.excused:
            # Of one that was given up, what comes first counts: the message, or that it is gone.
            node.taken.add(packet.message)
        self.perform(receiver, outcome.effects)
        return outcome.taken

    def give_up(self, sender: int, receiver: int, index: int, *, doubted: bool = False) -> None:
        """The sender gives that message up; `doubted`: it is on the link still."""
        packet = self.links[sender, receiver][index]
        node = self.nodes[sender]
        self.excused.add((packet.message, receiver))
        if not doubted:
            del self.links[sender, receiver][index]
        self.perform(sender, node.machine.gave_up(self.names[receiver], packet.item))

    def crash(self, place: int, kept: int) -> None:
        """End a node; of what it has on each link so much may arrive yet."""
        self.nodes[place] = None
        for (sender, _), link in self.links.items():
            if sender == place:
                del link[kept:]

    def restart(self, place: int) -> None:
        self.nodes[place] = self._start(place)

    def observe(self, observer: int, place: int) -> bool:
        """The observer's view becomes true of that node; whether it was not."""
        node, other = self.nodes[observer], self.nodes[place]
        if node is None or observer == place:
            return False
        known, life = node.up.get(place), other.life if other is not None else None
        if known == life:
            return False
        if known is not None:
            self.suspect(observer, place)
        if life is not None:
            node.up[place] = life
            self.perform(observer, node.machine.up(self.names[place], incarnation_of(self.epoch + life, 7)))
        return True

    def suspect(self, observer: int, place: int) -> None:
        """The observer's view says that the node is down, true or not."""
        node = self.nodes[observer]
        life = node.up.pop(place)
        self.perform(observer, node.machine.down(self.names[place], incarnation_of(self.epoch + life, 7)))

    # Together

    def observe_all(self) -> bool:
        places = range(len(self.nodes))
        return sum(self.observe(a, b) for a in places for b in places) > 0

    def arrive_all(self) -> bool:
        """Everything that is on links, and what comes of it; whether that was anything."""
        anything, idle = False, 0
        for _ in range(200):
            progress = False
            for sender, receiver in self.links:
                index = 0
                while index < len(self.links[sender, receiver]):
                    if self.arrive(sender, receiver, index):
                        progress = True
                    else:
                        index += 1
            anything = anything or progress
            # What is not taken may bring news, too, and be answered on a link that was looked at before.
            idle = 0 if progress else idle + 1
            if idle == 2:
                return anything
        raise AssertionError("they never stop telling each other")

    def quiet(self) -> None:
        """Nothing new happens; then nobody waits any more, and everybody has what could be had."""
        for _ in range(30):
            if not (self.observe_all() | self.arrive_all() | self.doubt_hearsay()):
                break
        else:
            raise AssertionError("it does not become quiet")
        self.check_waiting()
        for number, receiver, origin, other in self.sent:
            if self.nodes[receiver] is not other:
                continue
            sender_lives = any(origin is present for present in self.nodes)
            due = number in other.taken or (sender_lives and (number, receiver) not in self.excused)
            assert not due or number in other.delivered, f"message {number} was never delivered at {receiver}"
        for place, node in enumerate(self.nodes):
            if node is not None:
                self.perform(place, node.machine.report())
        self.arrive_all()
        for node in self.nodes:
            assert node is None or node.machine.dependencies == 0

    def doubt_hearsay(self) -> bool:
        """Who is known by hearsay only, though everybody's view is true, is down; whether there was one."""
        anything = False
        for place, node in enumerate(self.nodes):
            for member, incarnation in node.machine.hearsay() if node is not None else ():
                self.perform(place, node.machine.down(member, incarnation))
                anything = True
        return anything

    def check_waiting(self) -> None:
        for node in self.nodes:
            if node is not None:
                machine = node.machine
                assert machine.unsettled == []
                assert (machine.buffered, machine.buffered_bytes) == (0, 0)
                assert not machine._waiting

    # One step of a random run

    def do(self, operation: str, a: int, b: int, c: int) -> None:
        size = len(self.nodes)
        sender, receiver = a % size, b % size
        node = self.nodes[sender]
        match operation:
            case "send" if node is not None and sender != receiver:
                self.send(sender, receiver)
            case "multicast" if node is not None:
                self.send(sender, *(place for place in range(size) if (b * 7 + c) >> place & 1))
            case "broadcast" if node is not None:
                self.send(sender, *range(size))
            case "flood" if node is not None and sender != receiver:
                for _ in range(c % 5):
                    self.send(sender, receiver)
            case "arrive" | "late" | "again" | "lost" | "doubted":
                self._on_a_link(operation, a, b, c)
            case "crash" if node is not None:
                self.crash(sender, c % 8)
            case "restart" if node is None:
                self.restart(sender)
            case "suspect" if node is not None and receiver in node.up:
                self.suspect(sender, receiver)
            case "observe":
                self.observe(sender, receiver)

    def _on_a_link(self, operation: str, a: int, b: int, c: int) -> None:
        busy = [ends for ends, link in self.links.items() if link]
        if not busy:
            return
        sender, receiver = busy[(a + 16 * b) % len(busy)]
        link = self.links[sender, receiver]
        index = c % len(link)
        match operation:
            case "arrive":
                for number in range(len(link)):
                    if self.arrive(sender, receiver, number):
                        break
            case "late":
                self.arrive(sender, receiver, index)
            case "again":
                self.arrive(sender, receiver, index, again=True)
            case _ if link[index].message is not None and self.nodes[sender] is not None:
                self.give_up(sender, receiver, index, doubted=operation == "doubted")
