"""The cluster view: what a node knows of every node, and the only truth about who is in the cluster.

The *records* (`records`) are what members say of themselves, and what was found out of those that say nothing any
more; they merge alike everywhere, and NodeUp and NodeDown follow from them. A link is no record: the view does not
need one to a member to know it, and knows all of them over any overlay.

Promised:

- NodeUp comes with the first word of a member, NodeDown once for each NodeUp, and that of an earlier life before the
  NodeUp of the next;
- members that reach each other, if only through others, come to hold the same records: at once while links last, and
  within a few rounds of `digest_interval` whatever was lost;
- a member is down when it said that it leaves, or when somebody could not reach it, said so to everybody, and it did
  not refute that in time (SWIM); what it says of itself later takes that back, on every node. So one cut link between
  two members that others reach is no NodeDown;
- a member that is down is remembered for `forget_after`, by newcomers too, and tried again and again: parts of a
  cluster that meet again are one without anybody's doing, whoever is left of them;
- parts of the overlay that no link joins, though all know all, are found within some minute, and joined (`islands`);
- a change costs a node a bounded number of messages. Nothing of the cluster's size is sent while nothing changes.

How news travel: over the links that the overlay gives for it (`gossip`), each node passes on once what is new to it.
The failure detectors of a node are its neighbours, whose links break; and each round every node looks whether one
member, chosen by chance, answers, in case that all its neighbours died with it.

One that was not reached for want of time is excused for a while (`doubts`), and a node that is late itself looks after
others more rarely.

A node that has a link to a member takes nobody's word for its being down before that member has had time to refute it.

Expected of the driver: LinkUp and then LinkDown or Closed for each link, and before LinkUp nothing of it. Not known:
sockets, routes, how a silent peer is found out, what an overlay wants. Pure.

Its events and effects are in `view_events`, its messages in `view_messages`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from partisan_actors.cluster import view_events as view
from partisan_actors.cluster import view_messages as messages
from partisan_actors.cluster.doubts import DOUBTED, Doubts
from partisan_actors.cluster.member_table import Known
from partisan_actors.cluster.probing import REJOIN, ROUND
from partisan_actors.cluster.records import MalformedRecord, Member, Status
from partisan_actors.cluster.verdicts import DOWN, Verdicts
from partisan_actors.cluster.view_parameters import MembershipParameters
from partisan_actors.distribution.machine import CancelTimer, SetTimer, TimerFired

__all__ = ["Membership", "MembershipParameters"]

_YOUNG = 0.9  # of `forget_after`
_PUT_OFF = 3  # rounds


class Membership(Verdicts):
    """The view of one life of one node; see the module. Arguments: those of `Verdicts`."""

    def __init__(
        self,
        own: Member,
        parameters: MembershipParameters | None = None,
        gossip: Callable[[Sequence[str]], Sequence[str]] | None = None,
    ) -> None:
        super().__init__(own, parameters, gossip)
        self._doubts = Doubts(self.health)
        self._digest = 0  # of the members, in the last round
        self._put_off = 0  # rounds in which nothing was compared
        self._conflict = own.life  # the latest life of the own name

    def step(self, event: view.Event, now: float, random: Random) -> list[view.Effect]:
        """Take one event in; what is to be done, in order. `now` in seconds, monotonic."""
        self._now, self._random = now, random
        effects = self._effects = []
        match event:
            case view.ViewReceived(node, payload):
                self._received(node, payload)
            case TimerFired(key):
                self._timer_fired(key)
            case view.LinkUp():
                self._link_up(event)
            case view.Met():
                self._met(event)
            case view.LinkDown(node, bits, reason):
                self._link_down(node, bits, reason)
            case view.Closed(node, bits):
                self.table.unlink(node, bits)
                self._judge_unlinked(node)
            case view.Unreachable(node, reason):
                self._unreachable(node, reason)
            case view.Probed():
                self._probed(event)
            case view.Written(tag, topology):
                self._write(self._records.own._replace(tag=tag, topology=topology))
            case view.Leave():
                self._leave()
            case view.Join() if self.left:
                self.left = False
                self._write(self._records.own._replace(status=Status.ALIVE))
        effects += self._news.due(now, lambda: self._gossip(self.table.links), self._records, self._entry)
        return effects

    def news_for(self, node: str) -> Sequence[view.SendView]:
        """What waits to be told, for this node at once: what it is sent next may name whom it does not know yet."""
        known = self.table.get(node)
        if self.left or known is None or known.linked is None:
            return ()
        return tuple(self._news.ahead(node, self._records, self._entry))

    # Links

    def _link_up(self, event: view.LinkUp) -> None:
        node = event.node
        if self.left:
            # A former member that has not heard of our leave. It takes a view.Join to let anybody in.
            self._send_records((node,), [self._records.own])
        known = None if self.left else self._meet(event)
        record = None if known is None else self.table.record_of(known)
        if known is None or record is None or record.bits != event.bits:
            # Or the news of a later life were faster than the end of this one.
            self._effects.append(view.Forget(node))
            return
        self.table.link(known, event.bits)
        known.said = record.version
        known.excused_until = self._now
        suspicion = known.suspicion
        self._end_suspicion(known)
        self._doubts.settled(node)
        self._effects.append(self._hello(node))
        if suspicion is not None:
            self._tell_suspect(known, suspicion)  # others have heard of it, and perhaps no more than that
        self._tell_suspicions(node)
        if record.status is Status.LEFT:
            self._send_records((node,), [record])  # its hello says whether it is back
        elif known.up != record.bits or record.status is Status.DOWN:
            self._settle(known, view.NEWER_LIFE)
        self._set_round()

    def _meet(self, event: view.LinkUp | view.Met) -> Known | None:
        """Know a life that has proved itself; None when there is no place for it."""
        node = event.node
        addresses = tuple(event.addresses)[: self.parameters.limits.max_addresses]
        try:
            # Of version 0, below all that it says itself: its hello follows, and that is what others are told.
            self._learn(Member(node, event.epoch, event.bits, addresses, bool(addresses), 0, Status.ALIVE))
        except MalformedRecord as fault:
            self._refuse(node, [str(fault)])
            return None
        return self.table.get(node)

    def _met(self, event: view.Met) -> None:
        known = None if self.left else self._meet(event)
        if known is not None:
            record = self.table.record_of(known)
            if record.status is Status.ALIVE and known.up != record.bits:
                self._settle(known, view.NEWER_LIFE)

    def _link_down(self, node: str, bits: int, reason: str) -> None:
        known = self.table.get(node)
        had_it = self.table.unlink(node, bits)
        record = None if known is None else self.table.record_of(known)
        if known is None or record is None or record.bits != bits:
            return
        if record.status is not Status.ALIVE:
            self._settle(known, reason)
        elif reason == view.LEAVE and record.version > known.said:
            # Others have heard more of it than we, who were stopped perhaps: it may be back, and then refutes this.
            self._suspect(known, self._records.own.node, view.LEAVE)
        elif reason == view.LEAVE:
            # Its own news of that may not have got through. If this is wrong, it will refute it.
            self._records.merge(record._replace(status=Status.LEFT))
            self._news.record(node, (node,))
            self._settle(known, view.LEAVE)
        elif had_it and not self._excuse(known, reason):
            self._suspect(known, self._records.own.node, reason)

    def _unreachable(self, node: str, reason: str) -> None:
        known = self.table.get(node)
        # That there is no link to one that has to make it is nothing against it.
        if known is not None and self.table.record_of(known).dialable:
            self._out_of_reach(known, reason)

    def _out_of_reach(self, known: Known, reason: str) -> None:
        if known.linked is None and self._now >= known.excused_until and not self._excuse(known, reason):
            self._suspect(known, self._records.own.node, reason)

    def _excuse(self, known: Known, reason: str) -> bool:
        """Whether it may be there all the same, and is to be looked after again rather than suspected."""
        if not self._doubts.excuses(known.node, reason, self._now):
            self._doubts.settled(known.node)
            return False
        self._effects.append(SetTimer((DOUBTED, known.node), self.parameters.digest_interval))
        return True

    def _look_again(self, node: str) -> None:
        known = self.table.get(node)
        if known is not None and known.linked is None and self.table.record_of(known).status is Status.ALIVE:
            self._look_after([node])
        else:
            self._doubts.settled(node)

    def _probed(self, event: view.Probed) -> None:
        node, bits, reason, left, digest = event
        answers = bits is not None or self._doubts.may_be_there(reason)
        self._look_after(self._probing.looked(node, answers, self.table.without_link, self._random))
        known = self.table.get(node)
        if known is None or known.linked is not None:
            return
        record = self.table.record_of(known)
        if record.status is Status.ALIVE:
            if bits == record.bits:
                known.excused_until = self._now
                self._doubts.settled(node)
                self._probing.answered()
                # Nobody may have heard that it left: all its neighbours have died, say.
                needed = left or self._is_way(known)
                if record.dialable and (needed or self._differs(digest)):
                    self._effects.append(view.Contact(node, record.addresses, briefly=not needed))
            else:  # if anybody answers, it is another life in its place
                self._out_of_reach(known, reason if bits is None else view.REFUSED)
        elif bits is not None and record.status is Status.DOWN:
            self._effects.append(view.Contact(node, record.addresses))

    def _differs(self, digest: int | None) -> bool:
        """Whether a member knows of others than this node, which has heard no news lately that may be on their way.

        Two islands may know of different members, each of its own speaker; nothing else would say so.
        """
        own = self._records.root
        return digest is not None and digest != own and own == self._digest

    # Suspicion

    def _judge_unlinked(self, node: str) -> None:
        """There is no link to it any more: what others suspect has no timer here, which is not for those with one."""
        known = self.table.get(node)
        if known is not None and known.suspicion is not None:
            # From now on: while there was a link nobody asked it to refute that, and that the link ended says nothing.
            known.suspicion.not_before = self._now + self.parameters.suspicion.longest
            self._judge(known, known.suspicion)

    def _heard_of_suspicion(self, source: str, word: messages.SuspicionOf) -> None:
        """Somebody else suspects a member, or this node."""
        own = self._records.own
        if word.node == own.node:
            if word.bits == own.bits and word.version >= own.version and not self.left:
                self.health.worse()
                self._write(own._replace(version=word.version))
                self._tell_source(source)
            return
        known = self.table.get(word.node)
        if known is None:
            return
        record = self.table.record_of(known)
        if (record.epoch, record.bits, record.version) == word[1:4]:
            self._suspect(known, word.suspector, view.REFUSED if word.refused else DOWN, source)

    # Records

    def _received(self, node: str, payload: object) -> None:
        known = self.table.get(node)
        if known is None or known.linked is None:
            if not self.left:
                self._refuse(node, [view.NO_LINK])
            return
        limit = self.parameters.limits.max_members
        try:
            match payload if isinstance(payload, tuple) else None:
                case ("news" | "view" | "digests" | "records", *parts) if any(
                    type(part) is tuple and len(part) > limit for part in parts
                ):
                    self._refuse(node, ["oversized"])
                case ("news", tuple(entries)):
                    self._take(node, "news", entries)
                case ("news", tuple(entries), tuple(words)):
                    self._take(node, "news", entries)
                    for word in words:
                        self._heard_of_suspicion(node, messages.suspicion_from_term(word, self.parameters.limits))
                case ("beacon", *term):
                    beacon = messages.beacon_from_term(tuple(term), self.parameters.limits)
                    self._effects += self._islands.heard(beacon, node, self._now, self._random)
                case ("hello", tuple(entry), int(root), *rest) if entry[:1] == (node,) and len(rest) <= 1:
                    if entry[2:3] != (known.linked,):
                        self._refuse(node, ["another life"])  # an earlier one of its name, say: nobody speaks for that
                        return
                    known.root = root
                    self._take(node, "hello", (entry,))
                    self._answer_hello(known, root, rest[0] if rest else 0)
                case ("view", tuple(entries)):
                    self._take(node, "view", entries)
                    self._effects.append(view.Synchronised(node))
                case ("branches", tuple(digests)):
                    self._send(node, messages.answer_branches(self._records, digests))
                case ("leaves", tuple(digests)):
                    self._send(node, messages.answer_leaves(self._records, digests))
                case ("digests", tuple(leaves), tuple(digests)):
                    self._send(node, messages.answer_digests(self._records, leaves, digests, self._entry))
                case ("records", tuple(wanted), tuple(entries)):
                    self._take(node, "view", entries)
                    self._send(node, messages.answer_records(self._records, wanted, self._entry))
                    self._effects.append(view.Synchronised(node))
                case _:
                    self._refuse(node, ["payload"])
        except MalformedRecord as fault:
            self._refuse(node, [str(fault)])

    def _answer_hello(self, known: Known, root: int, count: object) -> None:
        small = self.parameters.small
        self._send(known.node, messages.answer_hello(self._records, root, count, small, self._entry))
        if self.table.record_of(known).status is Status.LEFT:
            # It does not say that it is back, and has been told that it left.
            self._settle(known, view.LEAVE)

    def _take(self, source: str, kind: str, entries: tuple[Any, ...]) -> None:
        """Merge what `source` sent. An entry that is not right costs that entry only."""
        faults: list[str] = []
        own, terms = self._records.own, self.table.terms
        # Those who knew the same as `source` need not be told: a newcomer's neighbours, who have all that it learns.
        informed = self.table.as_informed_as(source) if kind == "view" else (source,)
        for entry, term in messages.read_entries(entries, self.parameters.limits, terms.get, faults):
            try:
                known = self._learn(entry.member, entry.down_for)
            except MalformedRecord as fault:
                faults.append(str(fault))
                continue
            if known is not None:
                if entry.member.status is Status.ALIVE and len(term) == messages.ENTRY_FIELDS:
                    terms[known.node] = term
                is_newcomer = known.up is None and known.gone_since is None
                (self._news.newcomer if is_newcomer else self._news.record)(known.node, informed)
                if known.node == source:
                    known.said = entry.member.version
                if kind == "news":
                    self._effects.append(view.Heard(known.node, source))
                self._settle(known, DOWN)
        if self._records.own is not own:
            self._tell_source(source)
        self._refuse(source, faults)

    def _tell_source(self, source: str) -> None:
        """Answer at once, and to whom it is that said so: what is for everybody may go another way."""
        self._send_records((source,), [self._records.own])
        self._news.record(self._records.own.node, (source,))

    def _learn(self, member: Member, down_for: int = -1) -> Known | None:
        """Merge one record; what is known of its node, or None if it was no news. Raises MalformedRecord."""
        node = member.node
        if node == self._records.own.node:
            self._heard_of_oneself(member)
            return None
        before = self._records.get(node)
        if before is None and down_for >= 0:
            # Of a live member: by a peer of before suspicions, which has lost it. The age of one that is down is still
            # well below that at which all forget it, or two who do so at their own times would tell it to and fro.
            young = down_for < self.parameters.forget_after * _YOUNG
            if not young or not self._records.remember(member):
                return None
        elif not self._records.merge(member):
            return None
        known = self.table.make(node)
        if member.status is not Status.ALIVE:
            known.gone_since = self._now - max(down_for, 0)
        elif known.suspicion is not None:
            # It takes back what was said of it.
            if known.linked is None and self._records.own.node in known.suspicion.suspectors:
                known.excused_until = self._now + self.parameters.excuse
                self._probing.was_wrong()
            self._end_suspicion(known)
        if before is not None and before.life != member.life:
            known.excused_until = self._now
        return known

    def _heard_of_oneself(self, member: Member) -> None:
        if member.life > self._conflict:
            self._conflict = member.life
            self._effects.append(view.NameConflict(member))
        if not self.left and self._records.refute(member):
            self.health.worse()

    def _write(self, own: Member) -> None:
        """Say something new of oneself."""
        self._records.write(own._replace(version=own.version + 1))
        self._news.record(own.node)

    # Time, and the own will

    def _timer_fired(self, key: object) -> None:
        match key:
            case ("news", _):
                self._news.timer_fired()
            case ("round", _):
                self._round()
            case ("beacon", _):
                self._effects += self._islands.pass_on(self._gossip(self.table.links))
            case ("rejoin", _):
                self._effects += self._probing.rejoin(self._records, self._random)
            case ("suspicion", str(node)) if (known := self.table.get(node)) is not None:
                self._suspicion_due(known)
            case (name, str(node)) if name == DOUBTED:
                self._look_again(node)
            case ("disputed", str(node)):
                self._dispute(node)

    def _round(self) -> None:
        stopped = self._probing.round_came(self._now) > self.parameters.stall
        if stopped:
            self.health.worse()
        else:
            self.health.better()
        self.table.forget(self._now - self.parameters.forget_after)
        self._compare()
        self._look_around(self._probing.in_this_round(self.table.ups))
        self._look_for_islands(stopped)
        self._set_round()

    def _compare(self) -> None:
        """Say hello to one, for comparing; some rounds later where there are news, which are on their way, too."""
        changes = self._records.root != self._digest and len(self._records) > self.parameters.small
        self._digest = self._records.root
        self._put_off = self._put_off + 1 if changes and self._put_off < _PUT_OFF else 0
        if self.table.links and not self._put_off:
            self._effects.append(self._hello(self._random.choice(self.table.links)))

    def _look_for_islands(self, stopped: bool) -> None:
        self._effects += self._islands.speak(lambda: self._gossip(self.table.links))
        speaker = self._islands.beyond(self._now, self.parameters.silent_after, stopped=stopped)
        if speaker is not None:
            self._effects.append(view.Contact(speaker.node, speaker.addresses, True))

    def _leave(self) -> None:
        if self.left:
            return
        self.left = True
        self._news.clear()
        self._records.write(self._records.own._replace(status=Status.LEFT))
        self._send_records(self.table.links, [self._records.own])
        for known in sorted(self.table, key=lambda known: known.node):
            self._end_suspicion(known)
            if known.up is not None:
                self._effects.append(view.NodeDown(known.node, known.up, view.LEAVE))
            if known.linked is not None:
                self._effects.append(view.Forget(known.node))
        self.table.clear()
        self._probing.forget()
        self._effects += (CancelTimer(ROUND), CancelTimer(REJOIN))
