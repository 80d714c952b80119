"""The children of a supervisor, and the one place where something is done to them.

Everything here runs in the supervisor's process. What is to be done about an end is decided in
restart.py, which is pure; where a child runs is placement.py's, how it is started and ended
child_process.py's.

The races: a child may end while another is being started or stopped. Its `Exit` waits in the
mailbox meanwhile; if it has been stopped or started again when its turn comes, the pid in it is
known no more, and it is ignored. The same for a try that was due and has been overtaken.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Hashable, Iterable
from typing import Any, NamedTuple

import structlog

from partisan_actors.behaviours.child_process import end_child, ended_as_told, start_child_process
from partisan_actors.behaviours.child_spec import ChildSpec
from partisan_actors.behaviours.directives import Stop
from partisan_actors.behaviours.placement import DOUBT, STOPPING, Placement, PlacementFailed, choose_node
from partisan_actors.behaviours.restart import (
    Action,
    Child,
    EndSupervisor,
    ForgetChild,
    Phase,
    RestartPolicy,
    Rules,
    StartChildren,
    StopChildren,
)
from partisan_actors.errors import NoConnection, ProcessExit, StartError
from partisan_actors.processes.crash_report import crash_of, shortened
from partisan_actors.processes.identity import Pid
from partisan_actors.processes.messages import Crash
from partisan_actors.processes.plain import is_normal
from partisan_actors.processes.primitives import monitor_nodes, send_after
from partisan_actors.processes.process import Process, is_reason

__all__ = ["ChildTree", "NoDoubt", "TryAgain", "bad_combination"]


def bad_combination(spec: ChildSpec, rules: Rules) -> str | None:
    """Why a child of this spec cannot be under a supervisor of these rules, or None."""
    if spec.significant and rules.auto_shutdown == "never":
        return f"the child {spec.id!r} is significant, which means nothing while auto_shutdown is never"
    return None


class TryAgain(NamedTuple):
    """To itself: the next try of a restart that has failed is due."""

    id: Hashable


class NoDoubt(NamedTuple):
    """To itself: the nodes in doubt may be chosen again."""


class _Failure(NamedTuple):
    """A child that did not start."""

    reason: Any


class ChildTree:
    """The children of one supervisor, and what is done to them. Runs in its process."""

    __slots__ = ("_by_pid", "_children", "_doubt_timer", "_placement", "_process", "policy")

    def __init__(self, process: Process, rules: Rules) -> None:
        self._process = process
        self._children: dict[Hashable, Child] = {}  # in the order of their start
        self._by_pid: dict[Pid, Hashable] = {}  # of those that run
        self._placement = Placement(process.runtime.home.node, lambda: process.runtime.router.members())
        self._doubt_timer: Any = None
        self.policy = RestartPolicy(rules)

    # Starting and stopping all.

    def start_all(self, specs: list[ChildSpec]) -> Stop | None:
        """Start the children in order; at the first that fails stop the others, and say why there is no supervisor."""
        for spec in specs:
            failure = self._add(spec)
            if failure is not None:
                self.stop_all()
                return Stop(("shutdown", ("failed_to_start_child", spec.id, failure.reason)))
        return None

    def stop_all(self) -> None:
        """Stop the children, the last first."""
        for child in reversed(list(self._children.values())):
            self._stop(child)

    # What has happened.

    def ended(self, pid: Pid, reason: Any) -> Stop | None:
        """A linked process has ended. One that is no child (any more) is of no interest, as in OTP."""
        id = self._by_pid.pop(pid, None)
        if id is None:
            return None
        child = self._children[id]
        child.pid, child.phase = None, Phase.STOPPED
        self._log_end(child, pid, reason, orderly=is_normal(reason))
        now = self._process.runtime.clock.now()
        node_lost = False
        if child.spec.node is not None and pid.node != self._process.runtime.home.node:
            shut_down = is_reason(reason, "shutdown")
            # "shutdown", and not from here: that is how processes end when their node is stopped.
            node_lost = shut_down or is_reason(reason, "noconnection")
            child.shut_down_at = (pid.node, now) if shut_down else None
        if node_lost:
            self._doubt(pid.node)
        return self._perform(self.policy.ended(self._children, id, reason, now, node_lost=node_lost))

    def try_again(self, id: Hashable) -> Stop | None:
        """The next try of a restart is due, unless somebody has decided otherwise meanwhile."""
        child = self._children.get(id)
        if child is None or child.phase is not Phase.RESTARTING:
            return None
        return self._perform(self.policy.try_again(self._children, id, self._process.runtime.clock.now()))

    def node_up(self, node: str) -> None:
        """A node has come: those that wait for one may run now."""
        self._placement.trust(node)
        self._start_waiting()

    def node_down(self, node: str) -> Stop | None:
        """A node has gone. Links tell of the children that were cut off; those that it shut down first ended in order.

        So a transient one has not been started elsewhere yet: its work is not done, its node was stopped.
        """
        now = self._process.runtime.clock.now()
        for id, child in list(self._children.items()):
            where, when = child.shut_down_at or ("", 0.0)
            if child.phase is Phase.STOPPED and where == node and now - when <= STOPPING:
                stop = self._perform(self.policy.ended(self._children, id, "noconnection", now, node_lost=True))
                if stop is not None:
                    return stop
        return None

    def no_doubt(self) -> None:
        """The view has had its time to notice what happened to the nodes in doubt."""
        self._doubt_timer = None
        self._placement.trust_all()
        self._start_waiting()

    # Doing what was decided.

    def _perform(self, actions: list[Action]) -> Stop | None:
        for action in actions:
            match action:
                case ForgetChild(id):
                    del self._children[id]
                case StopChildren(ids):
                    for id in ids:
                        self._stop(self._children[id])
                        self._forget_if_temporary(id)
                case StartChildren(ids):
                    self._restart(ids)
                case EndSupervisor(why):
                    rules = self.policy.rules
                    self.log("error", why, max_restarts=rules.max_restarts, max_seconds=rules.max_seconds)
                    return Stop("shutdown")
        return None

    def _restart(self, ids: Iterable[Hashable]) -> None:
        """Start children again, in order. At a failure the rest is left for the next try, which takes it along."""
        for id in ids:
            child = self._children[id]
            if self._start(child) is not None:
                self._try_again_later(child)
                return
            self.log("info", "child_restarted", child=child)

    def _start_waiting(self) -> None:
        for child in list(self._children.values()):
            if child.phase is not Phase.WAITING:
                continue
            if self._start(child) is not None:
                self._try_again_later(child)
            elif child.phase is not Phase.WAITING:
                self.log("info", "child_restarted", child=child)

    def _try_again_later(self, child: Child) -> None:
        child.phase = Phase.RESTARTING
        self._process.deliver(TryAgain(child.spec.id))

    def _add(self, spec: ChildSpec) -> _Failure | None:
        if spec.node is not None:
            monitor_nodes()
        child = self._children[spec.id] = Child(spec)
        failure = self._start(child)
        if failure is not None:
            del self._children[spec.id]
        elif child.phase is Phase.STOPPED:
            self._forget_if_temporary(spec.id)
        return failure

    def _start(self, child: Child) -> _Failure | None:
        """Start a child that has no process: it runs then, waits for a node, or has none to show (`Ignore`)."""
        child.phase = Phase.STOPPED
        child.shut_down_at = None
        try:
            pid = self._start_somewhere(child)
        except ProcessExit as exit_:
            self._process.check_exiting()  # the supervisor's own end, and not the start function's
            reason = exit_.reason
        except (StartError, PlacementFailed) as error:
            reason = error.reason
        except Exception as error:
            reason = crash_of(error)
        else:
            if pid is not None:
                child.pid, child.phase = pid, Phase.RUNNING
                self._by_pid[pid] = child.spec.id
            return None
        self.log("error", "child_start_failed", child=child, reason=reason)
        return _Failure(reason)

    def _start_somewhere(self, child: Child) -> Pid | None:
        spec = child.spec
        if spec.node is None:
            return start_child_process(spec, None)
        while True:
            node = choose_node(spec, self._placement.live())
            if node is None:
                break
            try:
                return start_child_process(spec, node)
            except (NoConnection, StartError) as error:
                if self._is_held_by_the_lost(error.reason):
                    break
                if node == self._process.runtime.home.node or not is_reason(error.reason, "noconnection"):
                    raise
                self._doubt(node)  # it went down just now: choose again
        child.phase = Phase.WAITING
        self.log("warning", "child_waits_for_node", child=child, members=self._placement.live())
        return None

    def _is_held_by_the_lost(self, reason: Any) -> bool:
        """Whether the child's name is still with a process of a node that is no more.

        A link to a lost node breaks at once; that its global names are free goes round the cluster. The child waits
        for that as it would for a node.
        """
        match reason:
            case ("already_started", Pid() as holder) if holder.node not in self._placement.live():
                self._doubt(holder.node)
                return True
        return False

    def _doubt(self, node: str) -> None:
        self._placement.doubt(node)
        if self._doubt_timer is None:
            self._doubt_timer = send_after(DOUBT, self._process.pid, NoDoubt())

    def _stop(self, child: Child) -> None:
        """End a child, if it runs; nothing starts it again by itself."""
        child.phase = Phase.STOPPED
        child.shut_down_at = None
        pid, child.pid = child.pid, None
        if pid is None:
            return
        del self._by_pid[pid]
        reason = end_child(pid, child.spec.time_to_end)
        self._log_end(child, pid, reason, orderly=ended_as_told(child.spec, reason))

    def _forget_if_temporary(self, id: Hashable) -> None:
        if self._children[id].spec.restart == "temporary":
            del self._children[id]

    # Administration. Each gives ("ok", value), ("error", reason) or ("start_error", reason).

    def answer(self, request: Any) -> tuple[str, Any]:
        """Do what child_administration asks for."""
        match request:
            case ("which_children", None):
                return "ok", self.rows()
            case ("count_children", None):
                return "ok", self._counts()
            case ("start_child", spec):
                return self._start_child(spec)
            case (("terminate_child" | "restart_child" | "delete_child" | "get_childspec") as operation, id):
                child = self._find(id)
                if child is None:
                    return "error", "not_found"
                if operation == "get_childspec":
                    return "ok", child.spec
                if operation == "terminate_child":
                    self._stop(child)
                    self._forget_if_temporary(id)
                    return "ok", None
                if child.phase in (Phase.RUNNING, Phase.RESTARTING):
                    return "error", child.phase.value
                return self._restart_child(child) if operation == "restart_child" else self._delete_child(child)
        self.log("warning", "unknown_request", message=shortened(request))
        return "error", ("unknown_request", shortened(request))

    def rows(self) -> list[tuple[Any, ...]]:
        """The children as plain tuples, which cross to other nodes."""
        return [(id, child.pid, child.spec.type, child.spec.restart) for id, child in self._children.items()]

    def _counts(self) -> dict[str, int]:
        types = [child.spec.type for child in self._children.values()]
        return {
            "specs": len(types),
            "active": len(self._by_pid),
            "supervisors": types.count("supervisor"),
            "workers": types.count("worker"),
        }

    def _find(self, id: Any) -> Child | None:
        try:
            return self._children.get(id)
        except TypeError:  # not hashable, so it is nobody's
            return None

    def _start_child(self, spec: Any) -> tuple[str, Any]:
        if not isinstance(spec, ChildSpec):
            return "error", "not_a_spec"
        present = self._children.get(spec.id)
        if present is not None:
            return "start_error", "already_present" if present.pid is None else ("already_started", present.pid)
        if wrong := bad_combination(spec, self.policy.rules):
            return "error", ("bad_combination", wrong)
        failure = self._add(spec)
        if failure is not None:
            return "start_error", failure.reason
        child = self._children.get(spec.id)
        return "ok", None if child is None else child.pid

    def _restart_child(self, child: Child) -> tuple[str, Any]:
        failure = self._start(child)
        return ("ok", child.pid) if failure is None else ("start_error", failure.reason)

    def _delete_child(self, child: Child) -> tuple[str, Any]:
        del self._children[child.spec.id]
        return "ok", None

    # The log.

    def _log_end(self, child: Child, pid: Pid, reason: Any, *, orderly: bool) -> None:
        # A node that is gone is no fault of the child's, and what the supervisor is for.
        level = "debug" if orderly else "warning" if is_reason(reason, "noconnection") else "error"
        self.log(level, "child_terminated", child=child, child_pid=pid, reason=reason)

    def log(self, level: str, event: str, *, child: Child | None = None, **fields: Any) -> None:
        """Write a log event with who this is; a log that is broken costs only its event."""
        process = self._process
        fields = {"node": process.pid.node, "supervisor": process.name or str(process.pid), **fields}
        if child is not None:
            fields["child"] = shortened(child.spec.id)
            pid = fields.pop("child_pid", child.pid)
            fields["pid"] = None if pid is None else str(pid)
        if "reason" in fields:
            reason = fields["reason"]
            fields["reason"] = f"{reason.type}: {reason.message}" if isinstance(reason, Crash) else shortened(reason)
        try:
            getattr(structlog.get_logger("partisan_actors"), level)(event, **fields)
        except Exception:
            traceback.print_exc(file=sys.stderr)
