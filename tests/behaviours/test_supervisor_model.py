"""A supervisor against a naive model: random ends of children, failing starts and administration."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from structlog.testing import capture_logs

from partisan_actors.behaviours import Supervisor, cast
from partisan_actors.behaviours.supervisor import ChildError
from partisan_actors.errors import StartError
from partisan_actors.processes.clock import GeventClock
from partisan_actors.processes.identity import Life
from partisan_actors.processes.messages import Down
from partisan_actors.processes.plain import AttachedProcess
from partisan_actors.processes.primitives import monitor, receive, send_exit
from partisan_actors.processes.runtime import Runtime
from tests.behaviours.children import Diary, child
from tests.conditions import wait_until

IDS = st.sampled_from("abcd")
TYPES = st.sampled_from(["permanent", "transient", "temporary"])
REASONS = ["normal", "shutdown", ("shutdown", 1), "oops", "kill"]
STRATEGIES = st.sampled_from(["one_for_one", "one_for_all", "rest_for_one"])
MAX_RESTARTS = 4


class Model:
    """What a supervisor should do, written down as simply as it goes: one list, no phases but running or not."""

    def __init__(self, strategy: str) -> None:
        self.strategy = strategy
        self.children: list[dict[str, Any]] = []  # id, restart, running, in order
        self.failing: dict[str, int] = {}  # how many of the next starts of an id fail
        self.diary: list[tuple[Any, ...]] = []
        self.restarts = 0
        self.alive = True

    def find(self, id: str) -> dict[str, Any] | None:
        return next((child for child in self.children if child["id"] == id), None)

    def start(self, child: dict[str, Any]) -> bool:
        if self.failing.get(child["id"], 0) > 0:
            self.failing[child["id"]] -= 1
            return False
        child["running"] = True
        self.diary.append(("started", child["id"]))
        return True

    def stop(self, child: dict[str, Any]) -> None:
        if child["running"]:
            child["running"] = False
            self.diary.append(("ended", child["id"], "shutdown"))
        if child["restart"] == "temporary":
            self.children.remove(child)

    def ended(self, child: dict[str, Any], reason: Any) -> None:
        child["running"] = False
        if reason != "kill":  # the one who is killed writes nothing down
            self.diary.append(("ended", child["id"], reason))
        if child["restart"] == "temporary":
            self.children.remove(child)
        elif child["restart"] == "permanent" or reason in ("oops", "kill"):
            self.restart(child)

    def restart(self, child: dict[str, Any]) -> None:
        while True:
            self.restarts += 1
            if self.restarts > MAX_RESTARTS:
                self.alive = False
                for other in reversed(list(self.children)):
                    self.stop(other)
                return
            place = self.children.index(child)
            reach = {"one_for_one": [child], "one_for_all": list(self.children)}.get(
                self.strategy, self.children[place:]
            )
            for other in reversed(reach):
                if other is not child:
                    self.stop(other)
            failed = next((c for c in reach if c in self.children and not self.start(c)), None)
            if failed is None:
                return
            child = failed


class SupervisorMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runtime = Runtime(Life("model@host", 1, 3), GeventClock())
        self.me = AttachedProcess(self.runtime)
        self.me.attach()

    def teardown(self) -> None:
        self.me.detach(None)
        for process in list(self.runtime.processes.values()):
            process.kill()
        self.runtime.deadlines.close()

    @initialize(strategy=STRATEGIES, types=st.lists(TYPES, max_size=4))
    def begin(self, strategy, types):
        self.diary = Diary()
        self.model = Model(strategy)
        specs = []
        for id, restart in zip("abcd", types, strict=False):
            specs.append(child(self.diary, id, restart=restart))
            self.model.children.append({"id": id, "restart": restart, "running": True})
            self.model.diary.append(("started", id))
        self.sup = Supervisor.start(specs, strategy=strategy, max_restarts=MAX_RESTARTS, max_seconds=3600)
        monitor(self.sup)

    @precondition(lambda self: not self.model.alive)
    @rule(strategy=STRATEGIES, types=st.lists(TYPES, min_size=1, max_size=4))
    def it_has_ended_and_another_begins(self, strategy, types):
        down = receive(Down, timeout=2.0)
        assert (down.sender, down.reason) == (self.sup, "shutdown")
        wait_until(lambda: len(self.runtime.processes) == 1)
        self.begin(strategy, types)

    def pid_of(self, id):
        return next((info.pid for info in Supervisor.which_children(self.sup) if info.id == id), None)

    @precondition(lambda self: self.model.alive)
    @rule(id=IDS, reason=st.sampled_from(REASONS))
    def a_child_ends(self, id, reason):
        modelled = self.model.find(id)
        if modelled is None or not modelled["running"]:
            return
        pid = self.pid_of(id)
        if reason == "kill":
            send_exit(pid, "kill")
        else:
            cast(pid, ("stop", reason))
        wait_until(lambda: self.runtime.process(pid) is None)
        self.model.ended(modelled, reason)

    @precondition(lambda self: self.model.alive)
    @rule(id=IDS, times=st.integers(1, 3))
    def the_next_starts_fail(self, id, times):
        self.model.failing[id] = times
        self.diary.failing[id] = ["no"] * times

    @precondition(lambda self: self.model.alive)
    @rule(id=IDS, restart=TYPES)
    def start_child(self, id, restart):
        present = self.model.find(id)
        try:
            Supervisor.start_child(self.sup, child(self.diary, id, restart=restart))
        except StartError as error:
            if present is not None:
                running = present["running"]
                assert error.reason == (("already_started", self.pid_of(id)) if running else "already_present")
                return
            assert error.reason == "no"
            assert not self.model.start({"id": id})
        else:
            assert present is None
            added = {"id": id, "restart": restart, "running": False}
            self.model.children.append(added)
            assert self.model.start(added)

    @precondition(lambda self: self.model.alive)
    @rule(id=IDS)
    def terminate_child(self, id):
        modelled = self.model.find(id)
        try:
            Supervisor.terminate_child(self.sup, id)
        except ChildError as error:
            assert error.reason == "not_found"
            assert modelled is None
        else:
            self.model.stop(modelled)

    @precondition(lambda self: self.model.alive)
    @rule(id=IDS)
    def restart_child(self, id):
        modelled = self.model.find(id)
        try:
            Supervisor.restart_child(self.sup, id)
        except ChildError as error:
            assert error.reason == ("not_found" if modelled is None else "running")
            assert modelled is None or modelled["running"]
        except StartError:
            assert not self.model.start(modelled)
        else:
            assert not modelled["running"]
            assert self.model.start(modelled)

    @precondition(lambda self: self.model.alive)
    @rule(id=IDS)
    def delete_child(self, id):
        modelled = self.model.find(id)
        try:
            Supervisor.delete_child(self.sup, id)
        except ChildError as error:
            assert error.reason == ("not_found" if modelled is None else "running")
            assert modelled is None or modelled["running"]
        else:
            assert not modelled["running"]
            self.model.children.remove(modelled)

    @invariant()
    def it_is_as_in_the_model(self):
        wait_until(lambda: self.diary == self.model.diary, 2.0, what=f"{self.diary} is {self.model.diary}")
        if not self.model.alive:
            return
        children = [(info.id, info.restart, info.pid is not None) for info in Supervisor.which_children(self.sup)]
        assert children == [tuple(modelled.values()) for modelled in self.model.children]
        active = sum(modelled["running"] for modelled in self.model.children)
        assert Supervisor.count_children(self.sup)["active"] == active


def test_a_supervisor_does_what_the_model_does():
    with capture_logs():
        quick = settings(
            max_examples=60,
            stateful_step_count=30,
            suppress_health_check=[HealthCheck.too_slow],  # the machine is shared
        )
        run_state_machine_as_test(SupervisorMachine, settings=quick)
