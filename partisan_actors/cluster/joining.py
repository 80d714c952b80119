"""Joining a cluster: from an address to a view of the cluster with its neighbours connected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from partisan_actors.distribution.contact import JoinFailure
from partisan_actors.distribution.live_session import Session
from partisan_actors.errors import JoinError

__all__ = ["JoinAttempt"]


class JoinAttempt:
    """One `join` under way.

    It is over when the contact's view has come, no member is left to be reached or given up, and there is a link: in
    a storm of joins a newcomer may lose its first one to the next newcomer, and is no part of the cluster meanwhile.
    """

    def __init__(
        self,
        node: str,
        address: str,
        done: Callable[[Any, BaseException | None], None],
        over: Callable[[JoinAttempt], Any],
    ) -> None:
        self._node = node
        self._address = address
        self._done = done
        self._over = over
        self._contact: str | None = None
        self._view_came = False
        self._finished = False
        self.give_up: Callable[[str], None] | None = None

    def contacted(self, result: Session | JoinFailure) -> None:
        """The address answered, or did not."""
        self.give_up = None
        if isinstance(result, JoinFailure):
            self.fail(result.reason, result.text)
        else:
            self._contact = result.node

    def look(self, synchronised: set[str], undecided: list[str], attached: bool) -> None:
        """Finish, if there is nothing more to wait for.

        Args:
            synchronised: whose view has come.
            undecided: who may yet be reached.
            attached: there is a link, or the overlay wants none.
        """
        if self._contact in synchronised:
            self._view_came = True
        if self._view_came and attached and not undecided:
            self._finish(None)

    def lost(self, node: str) -> None:
        """The session with `node` has ended. The contact is needed no more once its view has come."""
        if node == self._contact and not self._view_came:
            self.fail("unreachable", f"{node} answered, and went down")

    def fail(self, reason: str, text: str) -> None:
        """Finish with a JoinError."""
        text = text.removeprefix(f"{self._address}: ")
        self._finish(JoinError(reason, f"{self._node} could not join through {self._address}: {reason}: {text}"))

    def cancel(self) -> None:
        """Nobody waits any more. What is connected stays so."""
        if self.give_up is not None:
            self.give_up("given up")
        self._finish(None)

    def _finish(self, error: JoinError | None) -> None:
        if self._finished:
            return
        self._finished = True
        self._over(self)
        self._done(None, error)
