"""Starting a server: what the starter learns, and what is left of a start that failed."""

from __future__ import annotations

from contextlib import suppress

import gevent
import pytest

from partisan_actors.behaviours import call, cast, stop
from partisan_actors.behaviours.gen_server import Continue, Ignore, NoReply, Reply, Stop
from partisan_actors.errors import ActorError, NoConnection, NotAProcess, ProcessExit, StartError
from partisan_actors.processes.identity import Global, Pid
from partisan_actors.processes.messages import Down, Exit
from partisan_actors.processes.primitives import (
    link,
    monitor,
    receive,
    register,
    registered,
    self_pid,
    send,
    send_exit,
    sleep,
    spawn,
    spawn_link,
    trap_exits,
    whereis,
)
from tests.behaviours.servers import OwnGreenlet, Scripted, died_of, end_of, let_pass, process_of, seen
from tests.conditions import wait_until

NAMES = ["counter", Global("counter")]


@pytest.fixture(params=[Scripted, OwnGreenlet])
def cls(request):
    return request.param


@pytest.fixture(params=["start", "start_link", "start_monitor"])
def way(request):
    return request.param


def nothing_is_left(me, before):
    """Neither a process, nor a link, nor a message, nor a name, nor a signal of a start that failed."""
    return (
        set(me.runtime.processes) == before
        and not me.links
        and not me.watches
        and not me.monitors
        and not me.mailbox
        and registered() == []
        and whereis(Global("counter")) is None
        and receive(timeout=0, default="alive") == "alive"
    )


# What comes back.


def test_start_gives_a_pid_and_ties_nothing(me, cls):
    pid = cls.start()
    assert isinstance(pid, Pid)
    assert not me.links
    assert not process_of(pid).links
    assert process_of(pid).parent == me.pid


def test_start_link_links(me, cls):
    trap_exits()
    pid = cls.start_link()
    assert list(me.links) == [process_of(pid)]
    cast(pid, lambda self: Stop("oops"))
    assert receive(Exit) == Exit(pid, "oops")
    assert not me.links


def test_start_monitor_monitors(cls):
    pid, ref = cls.start_monitor()
    cast(pid, lambda self: Stop("oops"))
    assert receive() == Down(ref, pid, "oops")


def test_init_gets_the_arguments_and_is_done_when_start_returns():
    class Adder(Scripted):
        def init(self, first, *rest, factor=1, **others):
            sleep(0.001)
            self.sum = factor * sum((first, *rest, *others.values()))

    pid = Adder.start(1, 2, 3, factor=10, other=4)
    assert call(pid, lambda self, _: self.sum) == 100


@pytest.mark.parametrize("name", NAMES, ids=str)
def test_a_name_is_taken_before_init_runs(cls, name):
    found = []
    pid = cls.start(lambda self: found.append(whereis(name)), name=name)
    assert found == [pid]
    assert call(name, lambda self, _: "by name") == "by name"
    stop(name)
    assert whereis(name) is None


@pytest.mark.parametrize("name", [b"counter", 3, ("counter",)])
def test_a_name_is_a_str_or_global(name):
    with pytest.raises(TypeError, match="a name is a str or Global"):
        Scripted.start(name=name)


def test_messages_sent_during_init_wait_for_its_end():
    me = self_pid()

    def slow(self):
        send(me, self_pid())
        receive("go".__eq__)
        self.seen.append("init")

    spawn(lambda: send(me, ("started", Scripted.start(slow))))
    pid = receive()
    cast(pid, lambda self: self.seen.append("cast"))
    send(pid, "message")
    send(pid, "go")
    assert receive(tuple) == ("started", pid)
    assert seen(pid) == ["init", "cast", "message"]


def test_outside_a_process_nothing_starts():
    def outside():
        with pytest.raises(NotAProcess, match="not a process"):
            Scripted.start()
        return "refused"

    assert gevent.spawn(outside).get() == "refused"


# What can go wrong.


def raise_exit(reason):
    raise ProcessExit(reason)


FAILURES = {
    "Stop": (lambda self: Stop("no"), "no"),
    "Stop normal": (lambda self: Stop("normal"), "normal"),
    "Stop shutdown": (lambda self: Stop(("shutdown", 1)), ("shutdown", 1)),
    "exit": (lambda self: raise_exit("no"), "no"),
    "exit normal": (lambda self: raise_exit("normal"), "normal"),
    "killed": (lambda self: send_exit(self_pid(), "kill"), "killed"),
    "signalled": (lambda self: send_exit(self_pid(), "told"), "told"),
    "linked to the dead": (lambda self: link(Pid(self_pid().home, 12345)), "noproc"),
}


@pytest.mark.parametrize("name", [None, *NAMES], ids=str)
@pytest.mark.parametrize("failure", FAILURES)
def test_a_failed_start_is_an_error_and_leaves_nothing(me, cls, way, failure, name):
    script, reason = FAILURES[failure]
    before = set(me.runtime.processes)
    with pytest.raises(StartError) as failed:
        getattr(cls, way)(script, name=name)
    assert failed.value.reason == reason
    assert repr(reason) in str(failed.value)
    assert cls.__name__ in str(failed.value)
    assert nothing_is_left(me, before)


@pytest.mark.parametrize("trapping", [False, True])
def test_an_exception_in_init_too_and_its_traceback_is_in_the_error(me, cls, way, logs, trapping):
    trap_exits(trapping)
    before = set(me.runtime.processes)
    with pytest.raises(StartError, match="division by zero") as failed:
        getattr(cls, way)(lambda self: 1 / 0, name="counter")
    assert died_of(failed.value.reason, ZeroDivisionError)
    assert "test_starting.py" in str(failed.value)
    assert nothing_is_left(me, before)
    (event,) = logs
    assert event["event"] == "process_crashed"
    assert event["last_message"].startswith("('init', (")


@pytest.mark.parametrize("directive", [Reply(1), NoReply(), Stop("x", reply=1)])
def test_what_init_may_not_return(directive):
    with pytest.raises(StartError, match=r"Scripted.init returned .*; what it may return is") as failed:
        Scripted.start(lambda self: directive)
    assert failed.value.reason.type == "TypeError"


def test_the_wrong_arguments():
    with pytest.raises(StartError, match="unexpected keyword argument 'speed'") as failed:
        Scripted.start(speed=3)
    assert failed.value.reason.type == "TypeError"


def test_ignore_gives_none_and_leaves_nothing(me, cls, way):
    before = set(me.runtime.processes)
    for trapping in (False, True):
        trap_exits(trapping)
        assert getattr(cls, way)(lambda self: Ignore(), name="counter") is None
        assert nothing_is_left(me, before)


def test_one_that_another_process_kills_in_init_sends_no_signal_either(me, cls):
    trap_exits()
    before = set(me.runtime.processes)

    def murder():
        pid = receive()
        wait_until(lambda: process_of(pid).waiter is not None)
        send_exit(pid, "kill")

    murderer = spawn(murder)
    before.add(murderer.serial)
    with pytest.raises(StartError) as failed:
        cls.start_link(lambda self: send(murderer, self_pid()) or sleep(10))
    assert failed.value.reason == "killed"
    wait_until(lambda: set(me.runtime.processes) == before - {murderer.serial})
    assert nothing_is_left(me, before - {murderer.serial})


def test_what_it_linked_itself_to_in_init_hears_of_it():
    other = Scripted.start(lambda self: trap_exits() and None)
    with pytest.raises(StartError):
        Scripted.start(lambda self: link(other) or Stop("no"))
    (signal,) = seen(other)
    assert signal.reason == "no"


def test_a_name_that_is_taken_names_the_holder(me, cls, way):
    holder = Scripted.start(name="counter")
    other = Scripted.start(name=Global("counter"))
    before = set(me.runtime.processes)
    for name, pid in zip(NAMES, (holder, other), strict=True):
        with pytest.raises(StartError, match=f"the name is taken by {pid}") as failed:
            getattr(cls, way)(lambda self: pytest.fail("init ran"), name=name)
        assert failed.value.reason == ("already_started", pid)
    assert set(me.runtime.processes) == before
    assert not me.links
    assert receive(timeout=0, default="alive") == "alive"


def test_a_name_that_a_plain_process_has_is_taken_too():
    register("counter", self_pid())
    with pytest.raises(StartError) as failed:
        Scripted.start(name="counter")
    assert failed.value.reason == ("already_started", self_pid())


# A limit to init.


@pytest.mark.parametrize("wait", [sleep, gevent.sleep])
def test_an_init_past_its_timeout_is_killed(me, cls, way, wait):
    before = set(me.runtime.processes)
    unwound = []

    def slow(self):
        try:
            wait(10)
        finally:
            unwound.append(True)

    with pytest.raises(StartError) as failed:
        getattr(cls, way)(slow, timeout=0.005, name="counter")
    assert failed.value.reason == "timeout"
    assert nothing_is_left(me, before)
    wait_until(lambda: unwound)


def test_one_that_will_not_die_is_killed_all_the_same(me):
    before = set(me.runtime.processes)

    def stubborn(self):
        while True:
            try:
                sleep(10)
            except BaseException:
                if len(self.seen) > 2:
                    return
                self.seen.append("caught")

    with pytest.raises(StartError) as failed:
        Scripted.start_link(stubborn, timeout=0.005)
    assert failed.value.reason == "timeout"
    assert nothing_is_left(me, before)


def test_an_init_that_will_not_hear_a_signal_fails_with_it(me, cls):
    def deaf(self):
        with suppress(BaseException):
            send_exit(self_pid(), "told")

    before = set(me.runtime.processes)
    with pytest.raises(StartError) as failed:
        cls.start_link(deaf)
    assert failed.value.reason == "told"
    assert nothing_is_left(me, before)


def test_an_init_within_its_timeout_is_not():
    pid = Scripted.start(lambda self: sleep(0.001), timeout=5)
    assert call(pid, lambda self, _: "alive") == "alive"


# The starter's own end.


def test_a_starter_that_is_killed_takes_a_linked_start_along(me):
    me_pid = me.pid

    def script(self):
        send(me_pid, self_pid())
        sleep(10)

    starter = spawn(lambda: Scripted.start_link(script))
    pid = receive()
    monitor(pid)
    send_exit(starter, "kill")
    assert receive(Down).reason == "killed"


def test_and_not_one_without_a_link(me):
    me_pid = me.pid

    def script(self):
        send(me_pid, self_pid())
        receive("go".__eq__)

    starter = spawn(lambda: Scripted.start(script))
    pid = receive()
    send_exit(starter, "kill")
    assert end_of(starter) == "noproc"
    send(pid, "go")
    assert call(pid, lambda self, _: "alive") == "alive"


def test_a_starter_that_another_linked_process_ends_while_it_waits():
    me = self_pid()

    def starter():
        spawn_link(lambda: receive("go".__eq__) and raise_exit("oops"))
        send(me, self_pid())
        Scripted.start_link(lambda self: send(me, self_pid()) or sleep(10))

    spawn(starter)
    pid, child = receive(), receive()
    monitor(pid)
    monitor(child)
    (partner,) = process_of(pid).links.keys() - {process_of(child)}
    send(partner.pid, "go")
    assert [receive(Down).reason, receive(Down).reason] == ["oops", "oops"]


def test_a_starter_whose_wait_is_broken_off_goes_on(me):
    me_pid = me.pid

    def script(self):
        receive("go".__eq__)
        send(me_pid, "started")

    with pytest.raises(gevent.Timeout), gevent.Timeout(0.005):
        Scripted.start(script, name="counter")
    send("counter", "go")
    assert receive() == "started"
    assert call("counter", lambda self, _: "alive") == "alive"


# Other nodes.


def test_ones_own_node_is_no_other():
    pid = Scripted.start(node="a@host")
    assert call(pid, lambda self, _: "here") == "here"


def test_a_node_that_is_not_there(way):
    with pytest.raises(NoConnection, match="b@host"):
        getattr(Scripted, way)(node="b@host")


def test_a_start_for_another_node_goes_through_the_router(me, monkeypatch):
    asked = []

    def spawn_there(process, node, target, start):
        asked.append((process, node, target, start))
        return "the outcome"

    monkeypatch.setattr(me.runtime.router, "spawn", spawn_there)
    assert Scripted.start_link(1, two=2, name="n", timeout=3, node="b@host") == "the outcome"
    options = {"name": "n", "timeout": 3, "link": True, "monitor": False}
    assert asked == [(me, "b@host", Scripted, {"args": (1,), "kwargs": {"two": 2}, **options})]


def test_a_start_on_behalf_of_another_node(me):
    parent = Scripted.start(lambda self: trap_exits() and None)
    pid = Scripted.start_for(me, parent, (), {}, name="n", timeout=None, link=True)
    assert process_of(pid).parent == parent
    assert list(process_of(pid).links) == [process_of(parent)]
    assert not me.links
    stop("n", "shutdown")
    assert seen(parent) == [Exit(pid, "shutdown")]


@pytest.mark.parametrize("trapping", [False, True])
def test_a_start_on_behalf_of_one_that_is_gone_already_fails(me, trapping):
    parent = Scripted.start()
    stop(parent)
    before = set(me.runtime.processes)
    ran = []
    with pytest.raises(StartError) as failed:
        Scripted.start_for(me, parent, (ran.append,), {}, name=None, timeout=None, link=True)
    assert failed.value.reason == "noproc"
    let_pass(0.001)
    assert ran == []
    assert nothing_is_left(me, before)


def test_errors_of_the_tree():
    assert issubclass(StartError, ActorError)
    assert not issubclass(ProcessExit, Exception)


def test_a_continue_of_init_can_call_the_starter():
    me = self_pid()

    def starter(self, caller):
        return Scripted.start_link(lambda child: Continue(lambda child: send(me, call(pid, lambda s, _: "free"))))

    pid = Scripted.start()
    call(pid, starter)
    assert receive() == "free"
