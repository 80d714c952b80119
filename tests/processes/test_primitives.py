"""The functions that act on the process that calls them, one by one."""

from __future__ import annotations

import enum
import threading
from types import SimpleNamespace

import gevent
import pytest

from partisan_actors.errors import ActorError, NameTaken, NoConnection, NotAProcess, ProcessExit, WouldBlock
from partisan_actors.processes import primitives
from partisan_actors.processes.identity import Global, Life, Pid, Ref, Remote, Via
from partisan_actors.processes.info import process_info, processes
from partisan_actors.processes.messages import Crash, Down, Exit, NodeUp, Undelivered
from partisan_actors.processes.primitives import (
    cancel_timer,
    current_node,
    demonitor,
    global_names,
    link,
    monitor,
    monitor_nodes,
    pause,
    receive,
    register,
    registered,
    run_blocking,
    self_pid,
    send,
    send_after,
    send_exit,
    sleep,
    spawn,
    spawn_link,
    spawn_monitor,
    spawn_opt,
    trap_exits,
    unlink,
    unregister,
    whereis,
)
from tests.conditions import wait_until
from tests.processes.probing import ForeignWait, alive, down_reason, end_of, messages, process_of, settle, until_waiting

pytestmark = pytest.mark.usefixtures("me")

ELSEWHERE = Pid(Life("b@h", 1, 3), 1)


def echo():
    while True:
        sender, message = receive()
        send(sender, message)


# Making processes.


def test_a_process_knows_itself():
    def report():
        send(test, (self_pid(), current_node()))

    test = self_pid()
    pid = spawn(report)
    assert receive(timeout=5) == (pid, "a@h")


def test_arguments_are_passed():
    spawn(lambda *args, **kwargs: send(kwargs.pop("to"), (args, kwargs)), 1, 2, to=self_pid(), three=3)
    assert receive(timeout=5) == ((1, 2), {"three": 3})


def test_a_new_process_has_not_run_when_spawn_returns():
    ran = []
    spawn(ran.append, 1)
    assert ran == []
    wait_until(lambda: ran == [1])


def test_processes_run_in_the_order_they_were_made():
    ran = []
    for number in range(100):
        spawn(ran.append, number)
    wait_until(lambda: len(ran) == 100)
    assert ran == list(range(100))


@pytest.mark.parametrize("link", [False, True])
@pytest.mark.parametrize("monitored", [False, True])
@pytest.mark.parametrize("name", [None, "here", Global("everywhere")])
def test_spawn_opt_combines(link, monitored, name):
    def report(*args, **kwargs):
        info = process_info(self_pid())
        send(test, (args, kwargs, info.links, info.monitored_by, whereis(name) if name else None))
        receive()

    test = self_pid()
    result = spawn_opt(report, (1,), {"x": 2}, link=link, monitor=monitored, name=name, max_mailbox=5)
    pid, ref = result if monitored else (result, None)
    expected = ((1,), {"x": 2}, [test] * link, [test] * monitored, pid if name else None)
    assert receive(timeout=5) == expected
    assert process_of(pid).max_mailbox == 5
    send(pid, "go")
    if ref is not None:
        assert down_reason(ref) == "normal"


def test_a_taken_name_starts_nothing():
    register("taken", self_pid())
    ran = []
    trap_exits()
    before = processes()
    for name in ("taken", "taken"):
        with pytest.raises(NameTaken, match="'taken' is registered to <a@h 1>"):
            spawn_opt(ran.append, (1,), name=name, link=True, monitor=True)
    settle()
    assert ran == [] and messages() == [] and processes() == before
    info = process_info(self_pid())
    assert info.links == [] and info.monitors == []


def test_a_child_is_registered_before_its_first_step_though_that_takes_time(runtime):
    # Another node decides on a global name: the caller waits, and messages may come meanwhile.
    class Slow(type(runtime.router)):
        def register_global(self, process, name, pid):
            send(pid, "early")
            sleep(0.01)
            super().register_global(process, name, pid)

    runtime.router = Slow("a@h", runtime.is_alive)
    test = self_pid()
    pid = spawn_opt(lambda: send(test, (receive(), process_info(self_pid()).links)), name=Global("slow"), link=True)
    assert receive(timeout=5) == ("early", [test])
    wait_until(lambda: not alive(pid))


def test_a_parent_that_ends_while_a_name_is_decided_leaves_no_child(runtime):
    class Never(type(runtime.router)):
        def register_global(self, process, name, pid):
            children.append(pid)
            receive(lambda message: False)

    children: list[Pid] = []
    ran = []
    runtime.router = Never("a@h", runtime.is_alive)
    parent, ref = spawn_monitor(lambda: spawn_opt(ran.append, (1,), name=Global("never"), link=True))
    wait_until(lambda: children)
    send_exit(parent, "enough")
    assert down_reason(ref) == "enough"
    assert not alive(children[0]) and ran == []


@pytest.mark.parametrize("limit", [0, -1])
def test_a_mailbox_has_room_for_one_at_least(limit):
    with pytest.raises(ValueError, match="max_mailbox"):
        spawn_opt(int, max_mailbox=limit)


def test_a_process_runs_a_function_and_has_a_name():
    with pytest.raises(TypeError, match="a process runs a function, not 5"):
        spawn(5)
    with pytest.raises(TypeError, match="a name is"):
        spawn_opt(int, name=5)
    assert len(processes()) == 1


def test_another_node_is_asked_by_way_of_the_router():
    with pytest.raises(NoConnection, match="b@h"):
        spawn_opt(int, node="b@h")
    assert alive(spawn_opt(receive, node="a@h"))


# Messages.


def test_messages_of_one_sender_arrive_in_order():
    pid = spawn(echo)
    for number in range(1000):
        send(pid, (self_pid(), number))
    assert [receive(timeout=5) for _ in range(1000)] == list(range(1000))


def test_a_local_message_is_the_object_itself():
    message = object()
    send(spawn(echo), (self_pid(), message))
    assert receive(timeout=5) is message


class Name(enum.StrEnum):
    """Names as an enum, which are strings as well."""

    PRINTER = "printer"


class Registry:
    """What `Via` takes."""

    def __init__(self, **pids):
        self.pids = pids

    def whereis(self, key):
        return self.pids.get(key)


def test_every_kind_of_destination_reaches_its_process():
    pid = spawn(echo)
    register("printer", pid)
    register(Global("printer"), pid)
    kinds = [
        pid,
        Pid(Life("a@h", 7, 2), pid.serial),  # as it comes back from another node
        "printer",
        Name.PRINTER,
        Remote("printer", "a@h"),
        Global("printer"),
        Via(Registry(printer=pid), "printer"),
        Via(Registry(printer="printer"), "printer"),
    ]
    for dest in kinds:
        assert send(dest, (self_pid(), repr(dest))) is None
        assert receive(timeout=5) == repr(dest)


def test_nobody_gets_what_is_sent_to_nobody():
    dead, ref = spawn_monitor(int)
    down_reason(ref)
    nobody = [dead, Pid(Life("a@h", 1, 99), 1), "nobody", Remote("nobody", "a@h"), Global("nobody"), Via(Registry(), 1)]
    for dest in [*nobody, ELSEWHERE, Remote("nobody", "b@h")]:
        assert send(dest, "anybody?", channel="default", partition_key=1, nosuspend=True) is None
    assert messages() == []


def test_a_causal_label_that_the_node_does_not_have_is_refused():
    with pytest.raises(ActorError, match=r"no causal label 'label', only none: declare it"):
        send(self_pid(), "m", causal="label")
    assert messages() == []


def test_acknowledged_to_a_process_of_this_node():
    assert isinstance(send(self_pid(), "m", ack=True), Ref)
    ref = send("nobody", "m", ack=True)
    assert messages() == ["m", Undelivered(ref, "nobody", "noproc")]


def test_a_channel_that_the_node_does_not_have_is_refused():
    with pytest.raises(ActorError, match=r"no channel 'bulk', only 'default': declare it"):
        send(self_pid(), "m", channel="bulk")
    assert messages() == []


def test_a_partition_key_that_is_none_is_refused_here_as_elsewhere():
    with pytest.raises(TypeError, match="unhashable"):
        send(self_pid(), "m", partition_key=[1])
    assert messages() == []


@pytest.mark.parametrize("wrong", [5, None, b"name", ("name", "node"), SimpleNamespace()])
@pytest.mark.parametrize("function", ["send", "monitor", "send_after"])
def test_a_destination_of_another_kind_is_told(function, wrong):
    arguments = {"send": (wrong, "m"), "monitor": (wrong,), "send_after": (0.0, wrong, "m")}[function]
    with pytest.raises(TypeError, match="cannot be addressed to"):
        getattr(primitives, function)(*arguments)
    assert process_info(self_pid()).monitors == []


@pytest.mark.parametrize("function", [link, unlink, process_info, lambda pid: send_exit(pid, "kill")])
@pytest.mark.parametrize("wrong", [5, "name", Global("name"), None])
def test_what_takes_a_pid_takes_nothing_else(function, wrong):
    with pytest.raises(TypeError, match="takes a Pid, not"):
        function(wrong)


def test_the_hint_for_a_name_where_a_pid_is_wanted():
    with pytest.raises(TypeError, match="look it up with whereis"):
        link("printer")


def test_the_error_of_a_registry_reaches_its_caller():
    class Broken:
        def whereis(self, key):
            raise LookupError(key)

    with pytest.raises(LookupError, match="printer"):
        send(Via(Broken(), "printer"), "m")


def test_a_message_is_checked_in_its_sender_when_asked(runtime):
    def check(message):
        if message == "bad":
            raise TypeError("not sendable")

    runtime.check_message = check
    pid = spawn(echo)
    for function in (lambda: send(pid, "bad"), lambda: send_after(0.0, pid, "bad")):
        with pytest.raises(TypeError, match="not sendable"):
            function()
    send(pid, (self_pid(), "good"))
    assert receive(timeout=5) == "good"


# A mailbox with a limit.


def test_a_full_mailbox_holds_its_sender_up():
    def sender():
        for number in range(6):
            send(receiver, number)
            sent.append(number)

    def receiver_loop():
        while receive(lambda message: message == "take one"):
            taken.append(receive(lambda message: message != "take one"))

    sent: list[int] = []
    taken: list[int] = []
    receiver = spawn_opt(receiver_loop, max_mailbox=2)
    until_waiting(receiver)
    pid = spawn(sender)
    until_waiting(pid)
    assert sent == [0, 1]
    with pytest.raises(WouldBlock, match="holds 2 messages"):
        send(receiver, "no room", nosuspend=True)
    for round in range(6):
        process_of(receiver).deliver("take one")  # past the limit, as the runtime's own messages go
        wait_until(lambda round=round: len(taken) == round + 1)
    wait_until(lambda: not alive(pid))
    assert taken == sent == [0, 1, 2, 3, 4, 5]


def test_many_senders_share_the_room():
    def consumer():
        for _ in range(100):
            got.append(receive())

    def sender(number):
        for part in range(10):
            send(pid, (number, part))

    got: list[tuple[int, int]] = []
    pid, ref = spawn_opt(consumer, max_mailbox=1, monitor=True)
    for number in range(10):
        spawn(sender, number)
    assert down_reason(ref) == "normal"
    assert sorted(got) == [(number, part) for number in range(10) for part in range(10)]
    for number in range(10):
        assert [part for one, part in got if one == number] == list(range(10))


def test_a_receiver_that_dies_lets_its_senders_go():
    receiver = spawn_opt(lambda: receive(lambda message: False), max_mailbox=1)
    until_waiting(receiver)
    send(receiver, "fills it")
    senders = [spawn_monitor(send, receiver, "waits") for _ in range(3)]
    until_waiting(*(pid for pid, _ in senders))
    send_exit(receiver, "kill")
    assert [down_reason(ref) for _, ref in senders] == ["normal"] * 3


def test_a_sender_that_is_ended_while_it_waits_for_room_is_forgotten():
    receiver = spawn_opt(lambda: receive(lambda message: False), max_mailbox=1)
    until_waiting(receiver)
    send(receiver, "fills it")
    sender, ref = spawn_monitor(send, receiver, "waits")
    until_waiting(sender)
    send_exit(sender, "enough")
    assert down_reason(ref) == "enough"
    assert not process_of(receiver).room
    assert process_info(receiver).mailbox_length == 1


def test_a_process_never_waits_for_room_of_its_own():
    def lonely():
        for number in range(5):
            send(self_pid(), number)
        return [receive() for _ in range(5)]

    _, ref = spawn_opt(lonely, max_mailbox=1, monitor=True)
    assert down_reason(ref) == "normal"


def test_demonitor_flush_makes_room():
    def watches():
        ref = monitor(dead)  # its message fills the mailbox
        receive(lambda message: message == "flush")
        demonitor(ref, flush=True)
        receive(lambda message: message == "end")

    dead, dead_ref = spawn_monitor(int)
    down_reason(dead_ref)
    pid = spawn_opt(watches, max_mailbox=1)
    until_waiting(pid)
    sender, ref = spawn_monitor(send, pid, "waits for room")
    until_waiting(sender)
    process_of(pid).deliver("flush")
    assert down_reason(ref) == "normal"
    assert process_info(pid).mailbox_length == 1


# Names.


def test_a_name_names_one_process_until_it_dies():
    pid, ref = spawn_monitor(receive)
    register("printer", pid)
    assert whereis("printer") == pid and registered() == ["printer"]
    assert process_info(pid).registered_name == "printer"
    send("printer", "go")
    assert down_reason(ref) == "normal"
    assert whereis("printer") is None and registered() == []
    register("printer", self_pid())
    assert whereis("printer") == self_pid()


def test_a_taken_name_and_a_second_name_are_refused():
    pid = spawn(receive)
    register("printer", pid)
    with pytest.raises(NameTaken, match="'printer' is registered to <a@h 2> on a@h"):
        register("printer", self_pid())
    with pytest.raises(NameTaken, match="registered already, as 'printer'"):
        register("plotter", pid)
    assert registered() == ["printer"]


def test_a_name_is_free_before_anybody_hears_of_the_end():
    def holder():
        register("printer", self_pid())
        receive()

    pid, ref = spawn_monitor(holder)
    until_waiting(pid)
    send_exit(pid, "gone")
    assert down_reason(ref) == "gone"
    register("printer", self_pid())


def test_unregister_frees_a_name():
    register("printer", self_pid())
    unregister("printer")
    assert whereis("printer") is None and process_info(self_pid()).registered_name is None
    with pytest.raises(ActorError, match="cannot unregister 'printer'"):
        unregister("printer")
    register("plotter", self_pid())


def test_what_cannot_be_registered():
    dead, ref = spawn_monitor(int)
    down_reason(ref)
    with pytest.raises(ActorError, match="it is not alive"):
        register("printer", dead)
    with pytest.raises(ActorError, match="not a process of a@h"):
        register("printer", ELSEWHERE)
    with pytest.raises(TypeError, match="a name is"):
        register(5, self_pid())
    with pytest.raises(TypeError, match="a name is"):
        whereis(5)


def test_a_global_name_of_a_node_alone():
    pid, ref = spawn_monitor(receive)
    register(Global("billing"), pid)
    assert whereis(Global("billing")) == whereis(Global("billing"), consistent=True) == pid
    assert global_names() == ["billing"] and registered() == []
    with pytest.raises(NameTaken):
        register(Global("billing"), self_pid())
    register(Global("billing"), pid)
    send(Global("billing"), "go")
    assert down_reason(ref) == "normal"
    assert whereis(Global("billing")) is None and global_names() == []
    register(Global("billing"), self_pid())
    unregister(Global("billing"))
    assert global_names() == []
    with pytest.raises(ActorError, match="not alive"):
        register(Global("billing"), pid)


@pytest.mark.parametrize("kind", ["str", "remote", "global", "via"])
def test_a_monitor_by_name_says_the_name(kind):
    pid = spawn(receive)
    register("printer", pid)
    register(Global("printer"), pid)
    dest = {
        "str": "printer",
        "remote": Remote("printer", "a@h"),
        "global": Global("printer"),
        "via": Via(Registry(key=pid), "key"),
    }[kind]
    ref = monitor(dest)
    assert process_info(self_pid()).monitors == [dest]
    send(pid, "go")
    assert receive(timeout=5) == Down(ref, dest, "normal")
    ref = monitor("nobody")
    assert messages() == [Down(ref, "nobody", "noproc")]


# What lies on nodes that this one does not know.


def test_there_is_no_connection_to_anywhere():
    ref = monitor(ELSEWHERE)
    by_name = monitor(Remote("printer", "b@h"))
    expected = [Down(ref, ELSEWHERE, "noconnection"), Down(by_name, Remote("printer", "b@h"), "noconnection")]
    assert messages() == expected
    send_exit(ELSEWHERE, "kill")
    trap_exits()
    link(ELSEWHERE)
    assert messages() == [Exit(ELSEWHERE, "noconnection")]
    unlink(ELSEWHERE)
    assert process_info(self_pid()).links == []


# Time.


def test_sleep_waits_and_lets_others_run(runtime):
    ran = []
    spawn(ran.append, 1)
    begun = runtime.clock.now()
    sleep(0.02)
    assert runtime.clock.now() - begun >= 0.02
    assert ran == [1]


@pytest.mark.parametrize("seconds", [0, -1.0])
def test_sleeping_no_time_is_a_pause(seconds, runtime):
    ran = []
    spawn(ran.append, 1)
    begun = runtime.clock.now()
    sleep(seconds)
    assert ran == [1] and runtime.clock.now() - begun < 1.0


def test_a_sleep_is_not_cut_short_by_messages(runtime):
    def sleeper():
        begun = runtime.clock.now()
        sleep(0.03)
        send(test, runtime.clock.now() - begun)

    test = self_pid()
    pid = spawn(sleeper)
    until_waiting(pid)
    send(pid, "wake up")
    process_of(pid).wake()
    assert receive(timeout=5) >= 0.03


def test_a_sleep_without_end_ends_with_its_process():
    pid, ref = spawn_monitor(sleep, float("inf"))
    until_waiting(pid)
    send_exit(pid, "enough")
    assert down_reason(ref) == "enough"


def test_pause_lets_others_run_before_it_returns():
    turns = []

    def counts(name):
        for _ in range(3):
            turns.append(name)
            pause()

    refs = [spawn_monitor(counts, name)[1] for name in "ab"]
    for ref in refs:
        assert down_reason(ref) == "normal"
    assert "".join(turns) == "ababab"


def test_pause_lets_gevents_greenlets_run():
    ran = []
    greenlet = gevent.spawn(ran.append, 1)
    wait_until(lambda: (pause(), ran)[1])
    greenlet.join()


# Blocking code.


def test_run_blocking_gives_the_value_and_others_go_on():
    steps = []
    lock = threading.Lock()
    lock.acquire()

    def releases():
        steps.append("others run")
        lock.release()

    spawn(releases)
    assert run_blocking(lambda a, b: lock.acquire() and (a, b), 1, 2) == (1, 2)
    assert steps == ["others run"]


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), ProcessExit("done")])
def test_run_blocking_raises_the_error_here(error, capsys):
    def fails():
        raise error

    with pytest.raises(type(error)) as raised:
        run_blocking(fails)
    assert raised.value is error
    assert capsys.readouterr().err == ""  # it is the caller's now, and nobody else's


def test_the_function_of_run_blocking_is_no_process():
    with pytest.raises(NotAProcess, match="send_from_thread"):
        run_blocking(self_pid)


@pytest.mark.parametrize("signal", ["stop it", "kill"])
def test_a_process_can_be_ended_while_it_blocks(signal):
    lock = threading.Lock()
    lock.acquire()
    finished = []
    pid, ref = spawn_monitor(run_blocking, lambda: (lock.acquire(), finished.append(1)))
    until_waiting(pid)
    send_exit(pid, signal)
    assert down_reason(ref) == ("killed" if signal == "kill" else signal)
    lock.release()  # the thread runs to its end all the same, and wakes nobody
    wait_until(lambda: finished)
    settle()


def test_more_blocking_than_there_are_threads():
    size = gevent.get_hub().threadpool.maxsize
    results: list[int] = []
    refs = [spawn_monitor(lambda n=n: results.append(run_blocking(lambda: n)))[1] for n in range(size * 3)]
    assert {down_reason(ref) for ref in refs} == {"normal"}
    assert sorted(results) == list(range(size * 3))


# Once it is exiting.


WAITING = {
    "receive": receive,
    "sleep": lambda: sleep(0.01),
    "pause": pause,
    "link": lambda: link(self_pid()),
    "monitor": lambda: monitor(self_pid()),
    "spawn": lambda: spawn(int),
    "spawn_link": lambda: spawn_link(int),
    "run_blocking": lambda: run_blocking(int),
    "monitor_nodes": monitor_nodes,
    "register_global": lambda: register(Global("late"), self_pid()),
}


@pytest.mark.parametrize("name", WAITING)
@pytest.mark.parametrize("signal", ["stop it", "kill"])
def test_an_exiting_process_gets_nothing_new(name, signal, runtime):
    def refuses():
        try:
            receive()
        except ProcessExit:
            pass
        try:
            WAITING[name]()
        except ProcessExit as exit_:
            seen.append(exit_.reason)
            raise

    seen: list[str] = []
    pid, _ = spawn_monitor(refuses)
    until_waiting(pid)
    send_exit(pid, signal)
    wait_until(lambda: seen)
    settle()
    assert seen == ["killed" if signal == "kill" else "stop it"]
    assert processes() == [self_pid()] and runtime.node_watchers == {} and global_names() == []


@pytest.mark.parametrize("signal", ["stop it", "kill"])
def test_a_last_word_is_not_held_up_by_a_full_mailbox(signal):
    receiver = spawn_opt(lambda: receive(lambda message: False), max_mailbox=1)
    until_waiting(receiver)
    send(receiver, "fills it")

    def says_goodbye():
        try:
            receive()
        finally:
            send(receiver, "goodbye")
            done.append(1)

    done: list[int] = []
    pid = spawn(says_goodbye)
    until_waiting(pid)
    send_exit(pid, signal)
    wait_until(lambda: done)
    assert process_info(receiver).mailbox_length == 2


# Nodes.


def test_node_events_come_while_they_are_wanted(runtime):
    monitor_nodes()
    monitor_nodes()
    runtime.tell_node_watchers(NodeUp("b@h"))
    monitor_nodes(False)
    runtime.tell_node_watchers(NodeUp("c@h"))
    assert messages() == [NodeUp("b@h")]
    assert end_of(monitor_nodes) == "normal"
    assert runtime.node_watchers == {}


# Timers.


def test_send_after_sends_after():
    timer = send_after(0.01, self_pid(), "now")
    assert messages() == []
    assert receive(timeout=5) == "now"
    assert cancel_timer(timer) is None


def test_a_cancelled_timer_sends_nothing():
    timer = send_after(0.01, self_pid(), "cancelled")
    left = cancel_timer(timer)
    assert left is not None and 0.0 <= left <= 0.01
    assert cancel_timer(timer) is None
    send_after(0.02, self_pid(), "later")
    assert receive(timeout=5) == "later"


def test_any_process_may_cancel_a_timer():
    timer = send_after(5.0, self_pid(), "cancelled")
    left: list[float | None] = []
    assert end_of(lambda: left.append(cancel_timer(timer))) == "normal"
    assert left[0] is not None and 4.0 < left[0] <= 5.0


def test_a_name_is_looked_up_when_the_time_has_come():
    registry = Registry()
    send_after(0.01, "printer", "by name")
    send_after(0.01, Via(registry, "printer"), "by registry")
    register("printer", self_pid())
    registry.pids["printer"] = self_pid()
    assert {receive(timeout=5), receive(timeout=5)} == {"by name", "by registry"}


def test_a_registry_that_waits_or_fails_disturbs_nobody(logs):
    class Asks:
        calls = 0

        def whereis(self, key):
            self.calls += 1
            if self.calls > 1:  # when the time has come: in a process of its own, so it may wait
                sleep(0.001)
                raise LookupError(key)
            return

    asks = Asks()
    send_after(0.0, Via(asks, "printer"), "lost")
    wait_until(lambda: logs)
    assert [(entry["event"], entry["reason"]) for entry in logs] == [("process_crashed", "LookupError: printer")]


def test_a_timer_sends_to_other_nodes_from_a_process(runtime):
    class Far(type(runtime.router)):
        def send(self, sender, dest, message, options):
            pause()  # as where a stream is full
            sent.append((dest, message))

    sent: list[object] = []
    runtime.router = Far("a@h", runtime.is_alive)
    send_after(0.0, ELSEWHERE, "far")
    wait_until(lambda: sent)
    assert sent == [(ELSEWHERE, "far")]


def test_a_timer_for_the_dead_and_one_of_a_node_that_closed(runtime):
    dead, ref = spawn_monitor(int)
    down_reason(ref)
    send_after(0.0, dead, "nobody")
    send_after(0.0, self_pid(), "first")
    assert receive(timeout=5) == "first"
    send_after(0.0, self_pid(), "too late")
    runtime.closed = "stopped"
    settle()
    gevent.sleep(0.002)
    runtime.closed = None
    assert messages() == []


def test_what_send_after_and_cancel_timer_refuse():
    with pytest.raises(ValueError, match="the past is over"):
        send_after(-1.0, self_pid(), "m")
    with pytest.raises(TypeError, match="TimerRef"):
        cancel_timer(5)
    with pytest.raises(TypeError, match="demonitor takes the Ref"):
        demonitor(5)


# Trapping.


def test_trap_exits_gives_the_flag_before():
    assert trap_exits() is False
    assert trap_exits(True) is True
    assert process_info(self_pid()).trapping_exits
    assert trap_exits(False) is True
    assert trap_exits() is False


def test_a_process_that_stops_trapping_is_ended_again():
    def changes():
        trap_exits()
        assert receive() == Exit(test, "first")
        trap_exits(False)
        send(test, "not trapping")
        receive()

    test = self_pid()
    pid, ref = spawn_monitor(changes)
    until_waiting(pid)
    send_exit(pid, "first")
    assert receive(timeout=5) == "not trapping"
    until_waiting(pid)
    send_exit(pid, "second")
    assert down_reason(ref) == "second"


def test_a_foreign_wait_of_one_that_traps_is_left_alone():
    waits = ForeignWait()

    def trapped():
        trap_exits()
        waits()
        return receive()

    pid, ref = spawn_monitor(trapped)
    waits.until_entered()
    send_exit(pid, "a message")
    settle()
    assert waits.outcome is None
    waits.finish()
    assert down_reason(ref) == "normal"


def test_a_crash_in_a_link_crosses_as_text():
    def fails():
        raise ValueError("no")

    def parent():
        spawn_link(fails)
        receive()

    reason = end_of(parent)
    assert type(reason) is Crash and reason.message == "no"
