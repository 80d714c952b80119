"""What a cluster view makes of its records and suspicions, and how it says so: the lower half of `membership`.

Promised: NodeUp and NodeDown follow from records alone, NodeDown once for each NodeUp; nobody is found down while there
is a link to it, nor before a suspicion of it is due.

Not known here: what is told by others, and when a record is news. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from random import Random

from partisan_actors.cluster import view_events as view
from partisan_actors.cluster import view_messages as messages
from partisan_actors.cluster.islands import Islands
from partisan_actors.cluster.member_table import Known, MemberTable
from partisan_actors.cluster.probing import Probing
from partisan_actors.cluster.records import Member, Status
from partisan_actors.cluster.suspicion import LocalHealth, Suspicion
from partisan_actors.cluster.view_news import News
from partisan_actors.cluster.view_parameters import MembershipParameters
from partisan_actors.distribution.machine import CancelTimer, SetTimer
from partisan_actors.processes.lateness import LATE

__all__ = ["DOWN", "Verdicts"]

DOWN = "down"
"""Why a node is down by the word of others."""

_DISPUTED = "does not refute"


class Verdicts:
    """The state of the view of one life of one node, its verdicts, and what it sends; see the module.

    Args:
        own: the record to begin with.
        gossip: which of the nodes that there is a link to news go to; all by default.
    """

    def __init__(
        self,
        own: Member,
        parameters: MembershipParameters | None = None,
        gossip: Callable[[Sequence[str]], Sequence[str]] | None = None,
    ) -> None:
        self.parameters = parameters if parameters is not None else MembershipParameters()
        self.left = False  # from view.Leave to view.Join
        self.refused: dict[str, int] = {}  # what was not taken in, by reason
        self.health = LocalHealth(self.parameters.suspicion)
        self.table = MemberTable(own, self.parameters.limits)
        self._records = self.table.records
        self._probing = Probing(self.health, self.parameters.rejoin_first, self.parameters.rejoin_longest)
        self._islands = Islands(self.table)
        self._gossip = gossip if gossip is not None else list
        self._news = News(self.health, self.parameters.news_delay, self.parameters.news_longest)
        self._suspects = 0  # members that anybody suspects
        self._suspecting: dict[str, None] = {}  # those that this node suspects itself
        self._now = 0.0
        self._random: Random
        self._effects: list[view.Effect]

    # Suspicion

    def _tell_suspicions(self, node: str) -> None:
        """Those of this node, which may not have got to the suspects: there may have been no link to go over."""
        if self._suspecting:
            suspects = map(self.table.make, self._suspecting)
            words = tuple(tuple(self._word(known, self._records.own.node, False)) for known in suspects)
            self._send(node, ("news", (), words))

    def _tell_suspect(self, known: Known, suspicion: Suspicion) -> None:
        """It is here, and may not have heard of the suspicion that others have of it."""
        word = self._word(known, min(suspicion.suspectors), suspicion.refused)
        self._send(known.node, ("news", (), (tuple(word),)))

    def _word(self, known: Known, by: str, refused: bool) -> messages.SuspicionOf:
        node, epoch, bits, _, _, version, *_ = self.table.record_of(known)
        return messages.SuspicionOf(node, epoch, bits, version, by, refused)

    def _suspect(self, known: Known, by: str, reason: str, source: str = "") -> None:
        """Somebody cannot reach a member."""
        record = self.table.record_of(known)
        if record.status is not Status.ALIVE:
            return
        suspicion = known.suspicion
        if suspicion is None:
            self._suspects += 1
            self._effects.append(view.Suspected(known.node))
        if suspicion is None or suspicion.version != record.version:
            suspicion = known.suspicion = Suspicion(record.version, self._now, self.parameters.suspicion)
            suspicion.reason = reason
        if by == self._records.own.node:
            suspicion.reason = reason  # rather than what others heard
        refused = reason == view.REFUSED
        news = suspicion.add(by, refused)
        if by in suspicion.suspectors and by == self._records.own.node:
            self._suspecting[known.node] = None
        if news:
            self._news.suspicion(self._word(known, by, refused), source)
        # Also where that is no news: while there was a link to it nobody judged it here, and no timer runs.
        if news or by == self._records.own.node:
            self._judge(known, suspicion)
        if news and known.linked is not None and known.node not in self._gossip(self.table.links):
            # What is news goes elsewhere; and where there is a link no timer runs, so it would be a suspect for good.
            self._tell_suspect(known, suspicion)
        if news and known.suspicion is not None and len(suspicion.suspectors) == 1:
            self._look_for_a_way(known, by)

    def _look_for_a_way(self, known: Known, by: str) -> None:
        """There is a new suspicion: see whether the suspect can hear of it, and its refutation be heard."""
        indirect = self.parameters.indirect
        if by == self._records.own.node:
            if not self.table.links:  # nobody hears of it, and nothing would be heard
                self._look_around(indirect)
        elif known.linked is None and self._random.random() * self.table.ups < indirect:
            record = self.table.record_of(known)
            # A suspect is not looked up: that no way is known to one that cannot be dialled says nothing.
            self._effects += self._probing.probe(record) if record.can_be_dialled else ()

    def _is_way(self, known: Known) -> bool:
        """Whether a link to this member, which answers, would be one for what suspicions say."""
        return known.suspicion is not None or (bool(self._suspecting) and not self.table.links)

    def _judge(self, known: Known, suspicion: Suspicion) -> None:
        """See when it is down; never while there is a link to it."""
        if known.linked is not None:
            return
        suspicion.due = suspicion.when_down(self.table.ups - 1, self.health.score, self._suspects)
        if suspicion.due - self._now > 1e-6:
            self._effects.append(SetTimer(("suspicion", known.node), suspicion.due - self._now))
        else:
            self._declare_down(known, suspicion)

    def _declare_down(self, known: Known, suspicion: Suspicion) -> None:
        record = self.table.record_of(known)
        if record.status is not Status.ALIVE or record.version != suspicion.version or known.linked is not None:
            return
        self._records.merge(record._replace(status=Status.DOWN))
        self._news.record(known.node)
        self._settle(known, suspicion.reason)
        if self._records.own.node in suspicion.suspectors:
            others = self.table.without_link()
            self._look_after(self._probing.around(others, self.parameters.look_around, self._random))

    def _end_suspicion(self, known: Known) -> None:
        if known.suspicion is not None:
            known.suspicion = None
            self._suspects -= 1
            self._suspecting.pop(known.node, None)
            self._effects.append(CancelTimer(("suspicion", known.node)))
            # Also where others say that it is down, and it is there and may refute that: else nothing would say so.
            if known.up is not None:
                self._effects.append(view.Trusted(known.node))

    def _suspicion_due(self, known: Known) -> None:
        suspicion = known.suspicion
        if suspicion is None:
            return
        late = self._now - suspicion.due
        stopped = late > self.parameters.stall
        if stopped:
            self.health.worse()
        # It may be we who were stopped: what refutes it may be waiting to be read.
        if not (stopped and suspicion.wait_once_more(self._now)) and late > LATE:
            suspicion.postpone(self._now, 2 * late)  # the same, of one that has too much to do
        self._judge(known, suspicion)

    # What follows from a record

    def _settle(self, known: Known, reason: str) -> None:
        record = self.table.record_of(known)
        alive = record.status is Status.ALIVE
        if not alive and self._may_refute(known, record) and reason != _DISPUTED:
            # It is there. It may take that back; and if it does not, something is wrong with it indeed.
            self._send_records((known.node,), [record])
            self._effects.append(SetTimer(("disputed", known.node), self.parameters.suspicion.longest))
            return
        if known.up is not None and (not alive or known.up != record.bits):
            self.table.ups -= 1
            if reason == DOWN and known.suspicion is not None:
                reason = known.suspicion.reason  # others were quicker to say so; this is what is known of it here
            why = view.NEWER_LIFE if alive else view.LEAVE if record.status is Status.LEFT else reason
            self._effects.append(view.NodeDown(known.node, known.up, why))
            known.up = None
        if known.linked is not None and (not alive or known.linked != record.bits):
            self.table.unlink(known.node, known.linked)
            self._effects.append(view.Forget(known.node))
        if not alive:
            if known.gone_since is None:
                known.gone_since = self._now
            self._end_suspicion(known)
            if record.status is Status.DOWN:
                self._effects.append(self._probing.went_down(known.node, self._random))
        elif known.up is None:
            self.table.ups += 1
            known.up, known.gone_since = record.bits, None
            self._islands.appeared(known.node)
            self._effects.append(view.NodeUp(known.node, record.epoch, record.bits))
            self._set_round()
        else:
            self._effects.append(view.Moved(known.node))

    def _may_refute(self, known: Known, record: Member) -> bool:
        """Whether one that is gone by its record may yet say that it is not.

        That it left is its own word. But it may have been before it joined again: its hello says so, and others, who
        have not heard of it, may be quicker.
        """
        return known.linked == record.bits and (record.status is Status.DOWN or known.root is None)

    def _dispute(self, node: str) -> None:
        """It has had time to take back that it is gone."""
        known = self.table.get(node)
        if known is None or self.table.record_of(known).status is Status.ALIVE:
            return
        # Also where the link has ended meanwhile: if that was somebody's will, nothing else says that it is down.
        if known.linked is not None or known.up is not None:
            self._settle(known, _DISPUTED)

    # Looking after others

    def _look_around(self, most: int) -> None:
        """See whether so many members, chosen by chance, answer, of those that nothing would be heard of otherwise."""
        if not most:
            return
        others = self.table.without_link()
        self._look_after(self._random.sample(others, min(most, len(others))))

    def _look_after(self, nodes: Iterable[str]) -> None:
        for node in nodes:
            self._effects += self._probing.probe(self._records.get(node))

    def _set_round(self) -> None:
        if self.table:
            self._effects += self._probing.set_round(self.parameters.digest_interval, self._now, self._random)

    # What is sent

    def _hello(self, node: str) -> view.SendView:
        return view.SendView((node,), ("hello", self._entry(self._records.own), self._records.root, len(self._records)))

    def _send_records(self, nodes: Sequence[str], records: Iterable[Member]) -> None:
        if nodes:
            self._effects.append(view.SendView(tuple(nodes), ("news", tuple(map(self._entry, records)), ())))

    def _send(self, node: str, payload: tuple[object, ...]) -> None:
        self._effects.append(view.SendView((node,), payload))

    def _entry(self, record: Member) -> tuple[object, ...]:
        # hot path: as it was told us, where it was.
        term = self.table.terms.get(record.node)
        if term is not None and term[:-1] == record:
            return term
        return messages.entry_of(record, self.table.gone_for(record, self._now))

    def _refuse(self, node: str, faults: list[str]) -> None:
        for fault in faults:
            self.refused[fault] = self.refused.get(fault, 0) + 1
        if faults:
            self._effects.append(view.Refused(node, faults[0], len(faults)))
