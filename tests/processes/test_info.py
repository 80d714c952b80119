"""What `process_info` and `processes` show."""

from __future__ import annotations

import functools

import gevent
import pytest

from partisan_actors.processes.identity import Life, Pid, Remote
from partisan_actors.processes.info import process_info, processes
from partisan_actors.processes.primitives import (
    monitor,
    receive,
    register,
    self_pid,
    send,
    send_exit,
    sleep,
    spawn,
    spawn_link,
    spawn_opt,
    trap_exits,
)
from tests.processes.probing import ForeignWait, settle, until_waiting

pytestmark = pytest.mark.usefixtures("me")


def waits_for_letters():
    return receive(str)


def test_every_field():
    def worker(other):
        trap_exits()
        monitor(other)
        monitor("a name")  # fires at once, and is no monitor then
        receive(int)
        send(test, "took one")
        waits_for_letters()

    test = self_pid()
    pid = spawn_opt(worker, (test,), link=True, name="worker", monitor=True)[0]
    send(pid, 1)
    send(pid, 2)
    assert receive(timeout=5) == "took one"
    until_waiting(pid)
    info = process_info(pid)
    assert info.pid == pid and info.parent == test
    assert info.mailbox_length == 2  # the Down, and the second number
    assert info.links == [test] and info.monitors == [test] and info.monitored_by == [test]
    assert info.registered_name == "worker" and info.trapping_exits is True
    assert info.initial_call == f"{__name__}.test_every_field.<locals>.worker"
    assert info.current_function == f"{__name__}.waits_for_letters"
    assert info.reductions == 2  # its turn, and one message


def test_where_a_process_is():
    waits = ForeignWait()
    in_gevent = spawn(waits)
    waits.until_entered()
    asleep = spawn(gevent.sleep, 10)
    napping = spawn(lambda: sleep(10))
    settle()
    assert process_info(in_gevent).current_function == f"{ForeignWait.__module__}.ForeignWait.__call__"
    assert process_info(asleep).current_function is None  # nothing of the program's own
    assert process_info(napping).current_function.endswith(".<lambda>")
    assert process_info(self_pid()).current_function == f"{__name__}.test_where_a_process_is"
    assert process_info(spawn(receive)).current_function is None  # not begun


def test_what_is_dead_or_of_an_earlier_life_is_none(me):
    pid = spawn(receive)
    send_exit(pid, "kill")
    assert process_info(pid) is None
    assert process_info(Pid(Life("a@h", 0, 9), me.pid.serial)) is None


def test_a_pid_of_another_node_is_refused():
    with pytest.raises(ValueError, match="another node"):
        process_info(Pid(Life("b@h", 1, 3), 1))
    with pytest.raises(TypeError, match="takes a Pid"):
        process_info(Remote("x", "a@h"))


def test_the_attached_greenlet_is_a_process():
    info = process_info(self_pid())
    assert info.initial_call == "attached greenlet" and info.parent is None
    assert info.links == [] and info.registered_name is None and info.trapping_exits is False


def test_processes_in_the_order_they_were_made():
    made = [spawn(receive) for _ in range(5)]
    assert processes() == [self_pid(), *made]
    send_exit(made[2], "kill")
    assert processes() == [self_pid(), *made[:2], *made[3:]]


def test_links_to_other_nodes_are_shown(me):
    elsewhere = Pid(Life("b@h", 1, 3), 1)
    me.add_link(elsewhere)
    child = spawn_link(receive)
    assert process_info(self_pid()).links == [elsewhere, child]
    me.remove_link(elsewhere)


class Odd:
    """A callable whose repr fails."""

    def __call__(self):
        receive()

    def __repr__(self):
        raise RuntimeError("no repr")


def test_functions_of_every_kind_have_a_name():
    assert process_info(spawn(len, "x")).initial_call == "builtins.len"
    assert process_info(spawn([].append, 1)).initial_call == "list.append"
    assert "partial" in process_info(spawn(functools.partial(int, "1"))).initial_call
    assert process_info(spawn(Odd())).initial_call == "<Odd whose repr raised RuntimeError>"


def test_a_registered_name_is_shown_while_it_is_held():
    register("me", self_pid())
    assert process_info(self_pid()).registered_name == "me"
