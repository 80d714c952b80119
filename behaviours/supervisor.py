"""Supervisor: starts children in order, starts them again when they end, stops them in reverse order.

What is promised (OTP: supervisor.erl, "Supervisor Behaviour" in the design principles):

* A child is running when the next one is started, and has ended when the one before is stopped.
* The end of a child is met by the strategy, unless the supervisor itself ended it. More than
  `max_restarts` restarts within `max_seconds` end the supervisor with "shutdown".
* A restart that fails is tried again by way of the supervisor's own mailbox, so that whoever
  wants to stop it in the middle of a run of failures gets a turn.

And of children with `node=`, which OTP does not have:

* One whose node is lost, or is stopped, is started on another that it may run on. That is not
  counted as a restart; neither is, since it looks the same, an end with "shutdown" that it chose itself.
* While none is live it waits, without a process, and is started when one comes up.

The children are child_tree.py's. What a start function does, it does in the supervisor's process,
and may hurt it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

from partisan_actors.behaviours import child_administration
from partisan_actors.behaviours.child_administration import (
    count_children,
    delete_child,
    get_childspec,
    restart_child,
    start_child,
    terminate_child,
    which_children,
)
from partisan_actors.behaviours.child_spec import ChildError, ChildInfo, ChildSpec
from partisan_actors.behaviours.child_tree import ChildTree, NoDoubt, TryAgain, bad_combination
from partisan_actors.behaviours.directives import Directive, Ignore, NoReply, Stop
from partisan_actors.behaviours.gen_server import GenServer
from partisan_actors.behaviours.restart import Rules
from partisan_actors.errors import NotSendable
from partisan_actors.processes.crash_report import shortened
from partisan_actors.processes.messages import Exit, NodeDown, NodeUp
from partisan_actors.processes.primitives import trap_exits
from partisan_actors.processes.requests import Caller
from partisan_actors.processes.runtime import current_process

__all__ = [
    "ChildError",
    "ChildInfo",
    "ChildSpec",
    "Ignore",
    "Supervisor",
    "count_children",
    "delete_child",
    "get_childspec",
    "restart_child",
    "start_child",
    "terminate_child",
    "which_children",
]


class Supervisor(GenServer):
    """Start it with specs and flags, or subclass it.

    `Supervisor.start_link(specs, strategy=..., max_restarts=..., max_seconds=..., name=...)`; a
    subclass has the flags as class attributes, and an `init` that returns the list of specs, or
    `Ignore()`.

    Raises (from `start_link`):
        StartError: `reason` is `("shutdown", ("failed_to_start_child", id, reason))` when a child
            did not start - those before it have been stopped again -, and a `Crash` that names
            what is wrong for wrong flags or specs.
    """

    strategy = "one_for_one"
    """Whom the end of a child concerns: "one_for_one", "one_for_all" or "rest_for_one"."""

    max_restarts = 3
    """More restarts than this within `max_seconds` end the supervisor."""

    max_seconds: float = 5.0
    """See `max_restarts`."""

    auto_shutdown = "never"
    """Whether the orderly end of significant children ends it: "never", "any_significant", "all_significant"."""

    __sendable_start__ = False

    which_children = staticmethod(child_administration.which_children)
    count_children = staticmethod(child_administration.count_children)
    start_child = staticmethod(child_administration.start_child)
    terminate_child = staticmethod(child_administration.terminate_child)
    restart_child = staticmethod(child_administration.restart_child)
    delete_child = staticmethod(child_administration.delete_child)
    get_childspec = staticmethod(child_administration.get_childspec)

    def init(self, *args: Any, **kwargs: Any) -> Any:
        """Give the list of specs; unless a subclass has its own, `init(specs, *, strategy=..., ...)` with the flags."""
        return self.__with_flags(*args, **kwargs)

    def __with_flags(self, specs: Iterable[ChildSpec], **flags: Any) -> Iterable[ChildSpec]:
        for flag, value in flags.items():
            if flag not in ("strategy", "max_restarts", "max_seconds", "auto_shutdown"):
                raise TypeError(f"a supervisor has no flag {flag!r}")
            setattr(self, flag, value)
        return specs

    def __call_init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        trap_exits()
        result = self.init(*args, **kwargs)
        if isinstance(result, Ignore | Stop):
            return result
        rules = Rules(self.strategy, self.max_restarts, self.max_seconds, self.auto_shutdown)
        specs = _checked(result, rules, type(self).__qualname__)
        self.__tree = ChildTree(current_process(), rules)
        return self.__tree.start_all(specs)

    def handle_call(self, request: Any, caller: Caller) -> Any:
        """The administration of children."""
        answer = self.__tree.answer(request)
        try:
            caller.reply(answer)
        except NotSendable as error:
            # An id or a spec that cannot cross to the caller's node is no reason to take the children down.
            caller.reply(("error", ("not_sendable", str(error))))
        return NoReply()

    def handle_cast(self, request: Any) -> Any:
        """There are none."""
        self.__tree.log("warning", "unexpected_cast", message=shortened(request))

    def handle_info(self, message: Any) -> Any:
        """The ends of children, and news of nodes."""
        tree = self.__tree
        match message:
            case Exit(sender, reason):
                return tree.ended(sender, reason)
            case TryAgain(id):
                return tree.try_again(id)
            case NodeUp(node):
                tree.node_up(node)
            case NodeDown(node):
                return tree.node_down(node)
            case NoDoubt():
                tree.no_doubt()
            case _:
                return super().handle_info(message)
        return None

    def terminate(self, reason: Any) -> Any:
        """Stop the children, the last first."""
        self.__tree.stop_all()

    def format_status(self, status: dict[str, Any]) -> Any:
        """The flags, and the children as `which_children` tells of them."""
        return {"rules": self.__tree.policy.rules, "children": self.__tree.rows()}


def _checked(specs: Any, rules: Rules, name: str) -> list[ChildSpec]:
    if isinstance(specs, Directive) or not isinstance(specs, Iterable):
        wanted = "a list of ChildSpec, Ignore() or Stop(reason)"
        raise TypeError(f"{name}.init must return {wanted}, not {shortened(specs)}")
    checked: dict[Hashable, ChildSpec] = {}
    for spec in specs:
        if not isinstance(spec, ChildSpec):
            raise TypeError(f"{name}.init must return a list of ChildSpec; there is {shortened(spec)} in it")
        if spec.id in checked:
            raise ValueError(f"{name} has two children with the id {spec.id!r}")
        if wrong := bad_combination(spec, rules):
            raise ValueError(wrong)
        checked[spec.id] = spec
    return list(checked.values())
