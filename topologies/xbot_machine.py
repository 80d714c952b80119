"""X-BOT (Leitão, Marques, Pereira, Rodrigues, SRDS 2009): HyParView whose links become cheap, four nodes at a time.

Two links become two others: initiator-old and candidate-disconnected go, initiator-candidate and disconnected-old
come. So every node keeps as many neighbours as it had. The messages, over links only, in the order of an exchange:

    ("xbot_optimize", nonce, old, gain)            initiator to candidate: by how much your link is cheaper than old's
    ("xbot_replace", nonce, initiator, old, gain)  candidate to disconnected: with what our link costs added
    ("xbot_switch", nonce, initiator)              disconnected to old, over their new link
    ("xbot_switched", nonce)                       old to disconnected: both have it ready
    ("xbot_replaced", nonce)                       disconnected to candidate: now both new links are there
    ("xbot_commit", nonce)                         candidate to disconnected
    ("xbot_optimized", nonce)                      candidate to initiator
    ("xbot_swapped", nonce)                        initiator and disconnected to old
    ("xbot_cancel", nonce)                         to whoever waits: it comes to nothing

Promised:

- nothing is given up before both links that replace it are there; the candidate decides, once. Whatever fails before
  that, or takes longer than `exchange_timeout`, leaves all as it was; what fails after it is a lost link, as any is;
- the sum of the costs falls with each exchange. (The paper asks both new links to be cheaper than the old ones; the
  sum gets further, as a link within a cluster pays for one that is no better than before.)
- each node keeps `unbiased` links as chance made them: neither end of a link that goes counts it among those, and both
  rank it alike, by the nonces. They hold clusters together. (Were they the costliest ones, as one reads the paper, the
  sum would not fall below 55 % on a map with 20 clusters; so it falls below 40.)
- a candidate that has room takes part in no exchange: it looks for neighbours by itself, and one that was taken without
  a fourth node would cost the old node a link;
- a node is in one exchange at a time, and in none with members of a tag that slots are reserved for.

Pure, as `hyparview_machine` is.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any, ClassVar

from partisan_actors.topologies.hyparview_machine import HyParViewOverlay
from partisan_actors.topologies.hyparview_messages import NONCE_BITS, is_nonce, names_fault
from partisan_actors.topologies.overlay import (
    CancelTimer,
    Connect,
    Event,
    Measure,
    Measured,
    Send,
    SetTimer,
    TimerFired,
)
from partisan_actors.topologies.xbot_costs import Costs
from partisan_actors.topologies.xbot_parameters import XBotParameters

__all__ = ["OPTIMISE", "XBotOverlay"]

OPTIMISE, EXCHANGE = "xbot", "xbot_exchange"  # keys of timers
_INITIATOR, _CANDIDATE, _DISCONNECTED, _OLD = "initiator", "candidate", "disconnected", "old"


class _Exchange:
    """The exchange that this node takes part in: its role, the neighbour that goes, and who comes for it.

    `asker` is who let us take part, to whom we answer; `gain` what the sum falls by, less our own new link's cost.
    """

    __slots__ = ("asked", "asker", "comes", "gain", "goes", "initiator", "nonce", "role")

    def __init__(self, role: str, nonce: int, goes: str, comes: str, asker: str, initiator: str, gain: float) -> None:
        self.role = role
        self.nonce = nonce
        self.goes = goes
        self.comes = comes
        self.asker = asker
        self.initiator = initiator
        self.gain = gain
        self.asked = False  # whether we have sent the next one our question


class XBotOverlay(HyParViewOverlay):
    """The machine of one life of one node; see the module."""

    __slots__ = ("_costs", "_exchange", "_optimising", "_scanned", "_settings")

    def __init__(self, node: str, parameters: XBotParameters) -> None:
        super().__init__(node, parameters, "xbot")
        self._settings = parameters
        self._costs = Costs(node, parameters.cost, parameters.cost_age)
        self._exchange: _Exchange | None = None
        self._scanned: list[str] = []  # the candidates of this round
        self._optimising = False  # whether the timer runs

    def wanted(self) -> list[str]:
        """All whose link is wanted: those of HyParView, and one that may come by an exchange."""
        held = self._held_link()
        wanted = super().wanted()
        return wanted if not held or held in wanted else sorted([*wanted, held])

    # What HyParView does, with a link more

    def _happened(self, event: Event) -> None:
        if not self._optimising and not self._left:
            self._optimising = True
            self._effects.append(SetTimer(OPTIMISE, self._settings.interval * self._random.uniform(0.5, 1.5)))
        match event:
            case Measured(node, seconds):
                self._measured(node, seconds)
            case TimerFired("xbot"):
                self._round()
            case TimerFired("xbot_exchange"):
                self._cancel()
            case _:
                super()._happened(event)

    def _message(self, node: str, payload: Any) -> None:
        if type(payload) is tuple and payload and type(payload[0]) is str and payload[0].startswith("xbot_"):
            self._exchange_message(node, payload)
        else:
            super()._message(node, payload)

    def _link_up(self, node: str) -> None:
        super()._link_up(node)
        exchange = self._exchange
        if exchange is not None and exchange.comes == node and not exchange.asked:
            self._ask_next(exchange)

    def _link_down(self, node: str) -> None:
        exchange = self._exchange
        if exchange is not None and node in (exchange.asker, exchange.comes):
            self._linked.discard(node)
            self._cancel()
        elif exchange is not None and node == exchange.goes and node in self._active:
            self._cancel()
        super()._link_down(node)

    def _unreachable(self, node: str) -> None:
        exchange = self._exchange
        if exchange is not None and exchange.comes == node and not exchange.asked:
            self._passive.remove(node)
            self._cancel()
        super()._unreachable(node)

    def _leave(self) -> None:
        self._cancel()
        super()._leave()
        self._optimising = False
        self._effects.append(CancelTimer(OPTIMISE))

    def _close(self, node: str) -> None:
        if node != self._held_link():
            super()._close(node)

    def _askable(self, name: str) -> bool:
        return name != self._held_link() and super()._askable(name)

    def _free(self) -> int:
        # The old node and the initiator hear of the decision by two ways. When one has dropped the other already, its
        # slot is that of who comes.
        exchange = self._exchange
        owed = exchange is not None and exchange.role in (_INITIATOR, _OLD) and exchange.goes not in self._active
        return super()._free() - owed

    # Rounds

    def _round(self) -> None:
        settings, now = self._settings, self._now
        self._effects.append(SetTimer(OPTIMISE, settings.interval * self._random.uniform(0.75, 1.25)))
        self._scanned = []
        if len(self._active) == self.parameters.active_size and self._exchange is None:
            self._scanned = [name for name in self._passive.sample(settings.scan, self._random) if self._tradable(name)]
        self._costs.forget((*self._active, *self._scanned), now)
        for node in (*self._active, *self._scanned):
            self._measure(node)
        self._consider()

    def _measure(self, node: str) -> None:
        if self._costs.to_measure(node, self._now):
            self._effects.append(Measure(node))

    def _measured(self, node: str, seconds: float) -> None:
        if not self._costs.measured(node, seconds, self._now):
            return
        exchange = self._exchange
        if exchange is not None and exchange.role == _DISCONNECTED and exchange.comes == node:
            self._judge(exchange)
        elif self._scanned:
            self._consider()

    def _cost(self, node: str) -> float | None:
        return self._costs.get(node, self._now)

    def _tradable(self, node: str) -> bool:
        return self._tags.get(node, "") == "" and node not in self._pending

    def _biased(self) -> list[tuple[float, str]]:
        """The neighbours that may go, with the costs of their links, the costliest first."""
        kept = sorted(self._active, key=self._rank)[: self._settings.unbiased]
        costs = [(self._cost(node), node) for node in self._active if node not in kept and self._tradable(node)]
        return sorted(((cost, node) for cost, node in costs if cost is not None), reverse=True)

    def _rank(self, node: str) -> tuple[bool, int]:
        """Of a link: those of least rank stay. Both ends see the same rank; those that were exchanged come last."""
        bond = self._active[node]
        return bond.mine == bond.theirs, min(bond.mine, bond.theirs)

    def _consider(self) -> None:
        """Begin an exchange, if a candidate that was scanned costs less than a neighbour."""
        if self._exchange is not None or len(self._active) < self.parameters.active_size:
            return
        biased = self._biased()
        for name in list(self._scanned):
            cost = self._cost(name)
            if cost is None:
                continue
            self._scanned.remove(name)
            if biased and cost < biased[0][0] and name in self._passive and self._tradable(name):
                dearer = [(worst, old) for worst, old in biased if worst > cost]
                worst, old = dearer[int(self._random.random() * len(dearer))]
                gain = min(worst, 1e9) - cost
                nonce = self._random.getrandbits(NONCE_BITS)
                self._begin(_Exchange(_INITIATOR, nonce, old, name, "", self._node, gain))
                self._want(name)
                return

    # The steps of an exchange

    def _begin(self, exchange: _Exchange) -> None:
        self._exchange = exchange
        self._scanned = []
        self._effects.append(SetTimer(EXCHANGE, self._settings.exchange_timeout))

    def _want(self, node: str) -> None:
        """Get the link to who comes, and ask it then."""
        self._effects.append(Connect(node))
        if node in self._linked and self._exchange is not None:
            self._ask_next(self._exchange)

    def _ask_next(self, exchange: _Exchange) -> None:
        if exchange.role == _INITIATOR:
            exchange.asked = True
            self._tell(exchange.comes, "xbot_optimize", exchange.nonce, exchange.goes, exchange.gain)
        elif exchange.role == _DISCONNECTED and exchange.gain == -inf:
            exchange.asked = True
            self._tell(exchange.comes, "xbot_switch", exchange.nonce, exchange.initiator)

    def _tell(self, node: str, *payload: Any) -> None:
        self._effects.append(Send(node, payload))

    def _held_link(self) -> str:
        """Whose link is kept for the exchange alone; "" for nobody's."""
        exchange = self._exchange
        if exchange is None or exchange.role == _CANDIDATE:
            return ""
        if exchange.role == _DISCONNECTED and exchange.gain != -inf:
            return ""  # not asked for so far
        return exchange.comes

    def _end(self) -> _Exchange | None:
        """The exchange is over; the link of who does not come is wanted no more."""
        exchange, held = self._exchange, self._held_link()
        self._exchange = None
        if exchange is not None:
            self._effects.append(CancelTimer(EXCHANGE))
            if held and held not in self._active and held not in self._pending:
                self._close(held)
        return exchange

    def _cancel(self, told: str = "") -> None:
        """Undo what there is of an exchange, and tell those that we have a link to for it."""
        exchange = self._exchange
        if exchange is None:
            return
        others = [exchange.asker, exchange.comes]
        if exchange.role == _CANDIDATE:
            others.append(exchange.goes)
        for node in dict.fromkeys(others):
            if node != told and node in self._linked:
                self._tell(node, "xbot_cancel", exchange.nonce)
        self._end()
        self._refill()

    def _exchange_message(self, node: str, payload: tuple[Any, ...]) -> None:
        match payload:
            case ("xbot_optimize", nonce, old, gain) if self._right(nonce, (old,), gain):
                self._on_optimize(node, nonce, old, gain)
            case ("xbot_replace", nonce, initiator, old, gain) if self._right(nonce, (initiator, old), gain):
                self._on_replace(node, nonce, initiator, old, gain)
            case ("xbot_switch", nonce, initiator) if self._right(nonce, (initiator,), 1.0):
                self._on_switch(node, nonce, initiator)
            case (kind, nonce) if is_nonce(nonce) and kind in self._STEPS:
                exchange = self._exchange
                if (
                    exchange is not None
                    and exchange.nonce == nonce
                    and node in (exchange.asker, exchange.comes, exchange.goes)
                ):
                    self._STEPS[kind](self, node, exchange)
                else:
                    self._too_late(node, kind, nonce)
            case _:
                self._refuse(node, "shape")

    @staticmethod
    def _right(nonce: object, names: tuple[object, ...], gain: object) -> bool:
        number = type(gain) in (int, float) and 0 < gain < inf  # type: ignore[operator]
        return is_nonce(nonce) and number and not names_fault(names, len(names))

    def _too_late(self, node: str, kind: str, nonce: int) -> None:
        """A step of an exchange that is over here. Who took a new link to us by it must hear that we did not."""
        if kind == "xbot_cancel":
            return
        self._refuse(node, "stale")
        bond = self._active.get(node)
        if kind == "xbot_optimized" or (kind == "xbot_swapped" and bond is None):
            self._disclaim(node, nonce)
        elif kind == "xbot_commit" and bond is not None:
            self._drop(node)  # it has dropped us
            self._passive.add(node, self._random, [])
            self._lost()
        elif kind in ("xbot_switched", "xbot_replaced"):
            self._tell(node, "xbot_cancel", nonce)

    def _on_optimize(self, initiator: str, nonce: int, old: str, gain: float) -> None:
        biased = [(cost, node) for cost, node in self._biased() if node not in (initiator, old)]
        full = len(self._active) == self.parameters.active_size
        mine = initiator in self._active or not self._tradable(initiator)
        if self._exchange is not None or not full or mine or old == self._node or not biased:
            self._tell(initiator, "xbot_cancel", nonce)
            return
        cost, disconnected = biased[int(self._random.random() * len(biased))]
        gain += min(cost, 1e9)
        self._begin(_Exchange(_CANDIDATE, nonce, disconnected, initiator, initiator, initiator, gain))
        self._tell(disconnected, "xbot_replace", nonce, initiator, old, gain)

    def _on_replace(self, candidate: str, nonce: int, initiator: str, old: str, gain: float) -> None:
        others = {self._node, *self._active, *self._pending}
        biased = any(node == candidate for _, node in self._biased())
        if self._exchange is not None or not biased or old in others or initiator == self._node:
            self._tell(candidate, "xbot_cancel", nonce)
            return
        exchange = _Exchange(_DISCONNECTED, nonce, candidate, old, candidate, initiator, gain)
        self._begin(exchange)
        self._measure(old)
        self._judge(exchange)

    def _judge(self, exchange: _Exchange) -> None:
        """The disconnected node knows what the last of the four links costs: go on, or not."""
        cost = self._cost(exchange.comes)
        if cost is None:
            return
        if cost >= exchange.gain or not self._tradable(exchange.comes) or exchange.comes in self._active:
            self._cancel()
            return
        exchange.gain = -inf  # it is decided
        self._want(exchange.comes)

    def _on_switch(self, disconnected: str, nonce: int, initiator: str) -> None:
        known = disconnected in self._active or not self._tradable(disconnected)
        biased = any(node == initiator for _, node in self._biased())
        if self._exchange is not None or known or not biased:
            self._tell(disconnected, "xbot_cancel", nonce)
            return
        self._begin(_Exchange(_OLD, nonce, initiator, disconnected, disconnected, initiator, 0.0))
        self._effects.append(Connect(disconnected))
        self._tell(disconnected, "xbot_switched", nonce)

    def _on_switched(self, node: str, exchange: _Exchange) -> None:
        if exchange.role == _DISCONNECTED and node == exchange.comes:
            self._tell(exchange.asker, "xbot_replaced", exchange.nonce)

    def _on_replaced(self, node: str, exchange: _Exchange) -> None:
        if exchange.role != _CANDIDATE or node != exchange.goes:
            return
        if node not in self._active or exchange.comes not in self._linked or exchange.comes in self._active:
            self._cancel()
            return
        self._tell(node, "xbot_commit", exchange.nonce)
        self._swap(exchange)
        self._tell(exchange.comes, "xbot_optimized", exchange.nonce)

    def _on_commit(self, node: str, exchange: _Exchange) -> None:
        if exchange.role == _DISCONNECTED and node == exchange.goes:
            self._tell(exchange.comes, "xbot_swapped", exchange.nonce)
            self._swap(exchange)

    def _on_optimized(self, node: str, exchange: _Exchange) -> None:
        if exchange.role == _INITIATOR and node == exchange.comes:
            if exchange.goes in self._active:
                self._part(exchange.goes)
            self._swap(exchange)

    def _on_swapped(self, node: str, exchange: _Exchange) -> None:
        if exchange.role == _OLD and node == exchange.comes:
            if exchange.goes in self._active:
                self._part(exchange.goes)
            self._swap(exchange)

    def _part(self, node: str) -> None:
        self._tell(node, "disconnect", self._active[node].theirs, (), True)

    def _on_cancel(self, node: str, exchange: _Exchange) -> None:
        self._cancel(told=node)

    def _swap(self, exchange: _Exchange) -> None:
        """Who goes goes, who comes comes."""
        goes, comes = exchange.goes, exchange.comes
        if goes in self._active:
            self._drop(goes)
            self._passive.add(goes, self._random, [])
        if comes not in self._active:
            if len(self._active) < self.parameters.active_size:
                if comes in self._pending:
                    del self._pending[comes]
                self._adopt(comes, exchange.nonce, exchange.nonce)
                self._effects.append(Connect(comes))
            else:
                self._tell(comes, "disconnect", exchange.nonce, (), True)
        self._end()
        self._refill()

    _STEPS: ClassVar[dict[str, Callable[..., None]]] = {
        "xbot_switched": _on_switched,
        "xbot_replaced": _on_replaced,
        "xbot_commit": _on_commit,
        "xbot_optimized": _on_optimized,
        "xbot_swapped": _on_swapped,
        "xbot_cancel": _on_cancel,
    }
