"""Node: its options, its start and stop, and the ways into it from code that is no process."""

from __future__ import annotations

import gc
import os
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from gevent.threadpool import ThreadPool
from structlog.testing import capture_logs

import partisan_actors
from partisan_actors import (
    ActorError,
    Channel,
    Exit,
    Node,
    NodeDown,
    NodeUp,
    NotAProcess,
    NotSendable,
    Pid,
    ProcessExit,
    current_node,
    monitor,
    processes,
    receive,
    register,
    run_blocking,
    self_pid,
    send,
    send_exit,
    sleep,
    spawn,
    spawn_link,
    trap_exits,
    whereis,
)
from partisan_actors.behaviours import ChildSpec, GenServer, Supervisor, call, cast
from partisan_actors.distribution import cookie as cookies
from partisan_actors.parameters import (
    MembershipParameters,
    PlumtreeParameters,
    RoutingParameters,
    SuspicionParameters,
)
from partisan_actors.processes.clock import GeventClock
from partisan_actors.processes.runtime import Runtime
from partisan_actors.processes.scheduler import Worker
from partisan_actors.transport import MemoryTransport
from tests.conditions import wait_until
from tests.integration.workers import Collector, Echo, end_with, wait_for_ever
from tests.nodes import Nodes, cluster_of, connected, running_nodes


@pytest.fixture
def logs() -> Iterator[list[Any]]:
    with capture_logs() as entries:
        yield entries


@pytest.fixture
def nodes(logs: list[Any]) -> Iterator[Nodes]:
    with running_nodes() as nodes:
        yield nodes


@pytest.fixture
def node(nodes: Nodes) -> Node:
    return nodes.start()


# Options.


@pytest.mark.parametrize("name", ["", "orders", "@host", "orders@", "a b@host", "a@ho\nst", "a@" + "x" * 255, 7, None])
def test_a_name_has_two_parts(name):
    with pytest.raises(ValueError, match="orders@"):
        Node(name)


@pytest.mark.parametrize(
    ("option", "value", "error"),
    [
        ("spawnable", "shop.workers.*", TypeError),
        ("tls", object(), TypeError),
        ("discovery", object(), ActorError),
        ("causal_labels", ("a",), TypeError),
        ("channels", ("default",), TypeError),
        ("channels", (Channel("one"), Channel("one")), ValueError),
        ("channels", "default", TypeError),
        ("listen", "0.0.0.0:0", ValueError),
        ("listen", ["[::]:0", "0.0.0.0:0"], ValueError),
        ("listen", "127.0.0.1", ValueError),
        ("listen", "unix:relative", ValueError),
        ("view", {"small": 3}, TypeError),
        ("view", RoutingParameters(), TypeError),
        ("routing", RoutingParameters, TypeError),
        ("broadcast", 600.0, TypeError),
        ("advertise", "0.0.0.0:4711", ValueError),
        ("advertise", "[::]:4711", ValueError),
        ("advertise", "no port", ValueError),
    ],
)
def test_a_wrong_option_is_told_when_the_node_is_made(option, value, error):
    with pytest.raises(error):
        Node("a@127.0.0.1", **{option: value})


def test_a_wrong_parameter_of_a_protocol_says_what_does_not_hold():
    with pytest.raises(ValueError, match="hold <= retention"):
        Node("a@127.0.0.1", broadcast=PlumtreeParameters(retention=1.0))
    with pytest.raises(TypeError, match="view is MembershipParameters"):
        Node("a@127.0.0.1", view=SuspicionParameters())  # type: ignore[arg-type]


def test_the_protocols_run_with_the_parameters_that_were_given():
    view = MembershipParameters(suspicion=SuspicionParameters(longest=9.0))
    routing, broadcast = RoutingParameters(hop_limit=5), PlumtreeParameters(retention=600.0)
    with Node("a@127.0.0.1", view=view, routing=routing, broadcast=broadcast) as node:
        cluster = node._clustered()
        assert cluster._driver.service is not None
        assert cluster._driver.service.parameters.membership is view
        assert cluster.routes.relaying.machine.parameters is routing
        assert cluster.broadcasting.machine.parameters is broadcast


def test_a_node_that_never_accepts_has_nothing_to_advertise():
    with pytest.raises(ValueError, match="does not listen"):
        Node("a@127.0.0.1", listen=None, advertise="10.0.0.7:4711")


# Addresses.


def test_the_address_is_the_one_that_was_bound(node):
    assert node.listening == [node.address]
    host, _, port = node.address.rpartition(":")
    assert host == "127.0.0.1" and int(port) > 0


def test_what_is_advertised_may_differ_from_what_is_bound(nodes):
    node = nodes.start(listen="0.0.0.0:0", advertise="127.0.0.1:0")
    port = node.listening[0].rpartition(":")[2]
    assert node.listening == [f"0.0.0.0:{port}"] and node.address == f"127.0.0.1:{port}"
    elsewhere = nodes.start(advertise="shop.example:4711")
    assert elsewhere.address == "shop.example:4711"
    # Others dial what is advertised.
    one, two = nodes.start("one"), nodes.start("two")
    one.join(node.address)
    two.join(one.address)
    wait_until(lambda: connected(node, one, two))


def test_a_wildcard_beside_a_real_address_is_not_told_to_others(nodes):
    node = nodes.start(listen=["0.0.0.0:0", "127.0.0.1:0"])
    assert len(node.listening) == 2 and node.address == node.listening[1]


@pytest.mark.parametrize("listen", [["unix:{}/a.sock"], ["[::1]:0"], ["127.0.0.1:0", "unix:{}/a.sock", "[::1]:0"]])
def test_nodes_meet_over_any_kind_of_address(nodes, tmp_path, listen):
    listen = [address.format(tmp_path) for address in listen]
    one = nodes.start("one", listen=listen if len(listen) > 1 else listen[0])
    assert len(one.listening) == len(listen)
    assert one.address == one.listening[0]
    for address in one.listening:
        other = nodes.start("other")
        other.join(address)
        assert other.run(call, one.run(Echo.start), "where") == one.name
        other.stop()
        wait_until(lambda: connected(one))
    path = tmp_path / "a.sock"
    if path.exists():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        one.stop()
        assert not path.exists()


def test_a_node_may_accept_nobody(nodes):
    one, two = nodes.cluster("one", "two")
    closed = nodes.start("closed", listen=None)
    assert closed.address is None and closed.listening == []
    closed.join(two.address)
    wait_until(lambda: connected(one, two, closed))
    # Two of them never meet in a full mesh; nobody waits for that.
    began = time.monotonic()
    another = nodes.start("another", listen=None)
    another.join(two.address)
    assert time.monotonic() - began < 2.0 and another.neighbours() == sorted([one.name, two.name])
    another.stop()
    # Others cannot dial it, so it dials, again and again.
    session = cluster_of(one).peers.session(closed.name)
    before = session.link
    before.close("a test")
    wait_until(lambda: session.link not in (None, before))
    assert one.run(call, closed.run(Echo.start), "where") == closed.name


def test_an_address_that_is_in_use_is_an_error_and_leaves_nothing(nodes, node):
    second = nodes.make("second", listen=["127.0.0.1:0", node.address])
    with pytest.raises(OSError, match=node.address):
        second.start()
    with pytest.raises(NotAProcess, match="does not run"):
        _ = second.address
    address = node.address
    node.stop()
    third = nodes.start("third", listen=address)
    assert third.address == address


def test_both_doors_to_the_outside_may_be_replaced(nodes):
    clock = GeventClock(seed=1)
    transport = MemoryTransport(clock)
    one, two = (nodes.start(listen=address, clock=clock, transport=transport) for address in ("here:1", "there:1"))
    two.join("here:1")
    assert connected(one, two) and one.address == "here:1"
    assert two.run(call, one.run(Echo.start), "where") == one.name


# Starting and stopping.


def test_starting_and_stopping_twice_is_once(node):
    life = node.life
    assert node.start() is node and node.life is life
    assert "running" in repr(node)
    node.stop()
    node.stop()
    assert "stopped" in repr(node)
    for attribute in ("life", "address", "listening"):
        with pytest.raises(NotAProcess, match="does not run"):
            getattr(node, attribute)
    for method in (node.members, node.neighbours, node.leave, lambda: node.run(int), lambda: node.spawn(int)):
        with pytest.raises(NotAProcess, match="does not run"):
            method()
    assert node.start().life != life
    assert node.life.epoch > life.epoch


def test_in_the_block_the_greenlet_is_a_process(nodes):
    with nodes.make() as node:
        assert self_pid().node == current_node() == node.name
        send(self_pid(), "hello")
        assert receive() == "hello"
        inner = spawn(wait_for_ever)
    with pytest.raises(NotAProcess):
        self_pid()
    with node:
        assert self_pid() != inner and processes() == [self_pid()]


def test_an_error_in_the_block_stops_the_node_and_goes_on(nodes):
    with pytest.raises(ZeroDivisionError), nodes.make() as node:
        1 / 0  # noqa: B018
    assert "stopped" in repr(node)


def test_stop_ends_trees_in_order_and_then_the_rest(nodes):
    ended: list[str] = []

    class Child(GenServer):
        def init(self, called: str) -> None:
            trap_exits()
            self.called = called

        def terminate(self, reason: Any) -> None:
            ended.append(f"{self.called} {reason}")

    with nodes.make() as node:
        with node.attached():
            Supervisor.start([ChildSpec(name, (Child, name)) for name in ("first", "second")])
            Child.start("alone")
        node.stop()
    assert sorted(ended) == ["alone shutdown", "first shutdown", "second shutdown"]
    assert ended.index("second shutdown") < ended.index("first shutdown")


def test_stop_kills_what_does_not_end_in_time(node):
    unwound: list[Any] = []

    def stubborn() -> None:
        trap_exits()
        try:
            while True:
                receive()
        finally:
            unwound.append("stubborn")

    node.spawn(stubborn)
    node.spawn(gevent.sleep, 100)
    gevent.sleep(0)
    node.stop(timeout=0.05)
    wait_until(lambda: unwound)


def test_stop_may_be_called_by_a_process_of_the_node(node):
    finished: list[Any] = []

    def stopper() -> None:
        other = spawn(wait_for_ever)
        node.stop()
        finished.append(other)
        with pytest.raises(NotAProcess, match="has stopped"):
            self_pid()
        finished.append("went on")

    node.spawn(stopper)
    wait_until(lambda: len(finished) == 2)
    assert "stopped" in repr(node)


def test_attached_greenlets_are_detached_and_not_signalled(node):
    outcome: list[Any] = []

    def attached() -> None:
        with node.attached():
            try:
                receive()
            except ActorError as error:
                outcome.append(error)
        outcome.append("went on")

    greenlet = gevent.spawn(attached)
    gevent.sleep(0)
    node.stop()
    greenlet.get(timeout=5)
    error, last = outcome
    assert isinstance(error, NotAProcess) and "has stopped" in str(error) and last == "went on"


def test_what_still_waits_for_the_node_when_it_stops_is_told(node):
    greenlet = gevent.spawn(node.run, wait_for_ever)
    gevent.sleep(0)
    node.stop()
    with pytest.raises(ProcessExit) as raised:
        greenlet.get(timeout=5)
    assert raised.value.reason == "shutdown"


def test_a_node_that_was_stopped_leaves_nothing_behind(nodes):
    def use() -> None:
        one, two = nodes.cluster("one", "two")
        with one.attached():
            echo = Echo.start(node=two.name)
            for number in range(3):
                spawn(call, echo, ("echo", number))
            call(echo, "where")
            spawn(gevent.sleep, 100)
            spawn(sleep, 100)
            spawn(wait_for_ever)
            two.leave()
        one.stop()
        two.stop()
        nodes.made.clear()

    def left_behind() -> tuple[int, ...]:
        for _ in range(5):
            gevent.sleep(0)
        gc.collect()
        objects = gc.get_objects()
        kinds = [sum(type(thing) is kind for thing in objects) for kind in (Node, Runtime, Worker, gevent.Greenlet)]
        return (len(os.listdir("/proc/self/fd")), gevent.get_hub().loop.activecnt, *kinds)

    use()
    before = left_behind()
    objects = len(gc.get_objects())
    for _ in range(30):
        use()
    assert left_behind() == before
    # But for what a fork's child is to be told; the interpreter keeps that for good.
    assert len(gc.get_objects()) - objects < 30 * 40


def test_the_switch_interval_is_lowered_while_a_node_runs(nodes):
    before = sys.getswitchinterval()
    one = nodes.start(switch_interval=0.001)
    assert sys.getswitchinterval() == pytest.approx(0.001)
    two = nodes.start(switch_interval=0.0005)
    untouched = nodes.start(switch_interval=None)
    assert sys.getswitchinterval() == pytest.approx(0.0005)
    two.stop()
    untouched.stop()
    assert sys.getswitchinterval() < before
    one.stop()
    assert sys.getswitchinterval() == pytest.approx(before)


# Attaching.


def test_several_nodes_live_in_one_os_process(nodes):
    one, two = nodes.cluster("one", "two")
    with one.attached() as first, two.attached() as second:
        assert self_pid() == second and first.node == one.name
        # A message from one to the other is copied, as between any two nodes.
        message = [1]
        send(first, message)
        message.append(2)
        two_greenlets = gevent.spawn(attached_pid, one)
        assert two_greenlets.get() != first
        assert self_pid() == second
    assert one.run(current_node) == one.name


def attached_pid(node: Node) -> Pid:
    with node.attached() as pid:
        assert self_pid() == pid
        return pid


def test_attaching_is_for_the_block(node):
    with node.attached() as pid:
        assert self_pid() == pid
        ref_of = node.spawn(watch_and_tell, pid, self_pid())
        assert receive(timeout=5) == "watching"
    wait_until(lambda: ref_of and node.run(reason_seen, ref_of) == "normal")
    with pytest.raises(NotAProcess):
        self_pid()


def watch_and_tell(pid: Pid, tell: Pid) -> None:
    monitor(pid)
    send(tell, "watching")
    reason = receive().reason
    while True:
        send(receive(), reason)


def reason_seen(pid: Pid) -> Any:
    send(pid, self_pid())
    return receive(timeout=5)


def test_a_signal_leaves_the_block_of_an_attached_greenlet(node):
    with pytest.raises(ProcessExit), node.attached() as pid:
        node.spawn(send_exit, pid, "a signal")
        receive(timeout=5)
    with node.attached() as pid:
        trap_exits()
        spawn_link(end_with, "told")
        assert receive(Exit, timeout=5).reason == "told"


@pytest.mark.parametrize("use", [self_pid, lambda: send("name", 1), lambda: receive(timeout=0), lambda: spawn(int)])
def test_elsewhere_there_is_a_hint(node, use: Callable[[], Any]):
    with pytest.raises(NotAProcess, match=r"node\.run"):
        use()
    with node.attached():
        with pytest.raises(NotAProcess, match=r"gevent\.spawn"):
            gevent.spawn(use).get()
        with pytest.raises(NotAProcess, match="native thread"):
            run_blocking(use)
        outcome = in_thread(use)
    assert isinstance(outcome, NotAProcess) and "send_from_thread" in str(outcome)


def in_thread(function: Callable[..., Any], *args: Any) -> Any:
    """What the function gave, or raised, on a native thread, while the hub of this one runs."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(function(*args))
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        return wait_until(lambda: outcome, 10)[0]
    finally:
        thread.join()


def test_a_node_belongs_to_the_thread_that_started_it(node):
    for use in (node.attached().__enter__, node.stop, lambda: node.join("127.0.0.1:1"), node.leave):
        outcome = in_thread(use)
        assert isinstance(outcome, NotAProcess) and "another thread" in str(outcome), outcome
    assert "running" in repr(node)


# The ways in.

WAYS: dict[str, Callable[..., Any]] = {
    "the same greenlet": lambda function, *args: function(*args),
    "another greenlet": lambda function, *args: gevent.spawn(function, *args).get(),
    "a native thread": in_thread,
    "gevent's thread pool": lambda function, *args: ThreadPool(1).apply(function, args),
}


def given(function: Callable[..., Any], *args: Any) -> Any:
    """What it gave, or raised."""
    try:
        return function(*args)
    except BaseException as error:
        return error


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_run_gives_the_value_or_raises_the_error(node, way, logs):
    def add(one: int, *, other: int) -> tuple[int, str]:
        return one + other, self_pid().node

    error = ValueError("the very object")

    def fail() -> None:
        raise error

    assert way(given, lambda: node.run(add, 1, other=2)) == (3, node.name)
    assert way(given, node.run, fail) is error
    for ending, reason in ((end_with, "done"), (kill_me, "killed")):
        raised = way(given, node.run, ending, "done")
        assert isinstance(raised, ProcessExit) and raised.reason == reason
    assert way(given, node.run, "no function").__class__ is TypeError
    assert way(given, node.run, end_with, "normal") is None
    assert not [entry for entry in logs if entry["event"] == "process_crashed" and "very object" in str(entry)]


def kill_me(_: Any) -> None:
    pid = self_pid()
    spawn(send_exit, pid, "kill")
    receive()


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_spawn_gives_the_pid(node, way):
    heard: list[Any] = []
    pid = way(given, node.spawn, lambda *args: heard.append((self_pid(), args)), 1)
    assert isinstance(pid, Pid)
    wait_until(lambda: heard == [(pid, (1,))])


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_send_from_thread_sends(nodes, way):
    one, two = nodes.cluster("one", "two")
    here, there = one.run(Echo.start, name="here"), one.run(lambda: Echo.start(node=two.name))
    for number in range(20):
        assert way(given, one.send_from_thread, "here", number) is None
        assert way(given, one.send_from_thread, there, number) is None
    wait_until(lambda: one.run(call, here, "notes") == tuple(range(20)))
    wait_until(lambda: one.run(call, there, "notes") == tuple(range(20)))
    assert way(given, one.send_from_thread, "nobody", 1) is None


def test_a_process_may_run_others(node):
    def outer() -> tuple[Pid, Pid]:
        inner = node.run(self_pid)
        return self_pid(), inner

    first, second = node.run(outer)
    assert first != second
    assert node.run(lambda: node.run(lambda: node.run(lambda: 7))) == 7
    parents = node.run(lambda: (self_pid(), node.spawn(wait_for_ever)))
    assert node.run(lambda: partisan_actors.process_info(parents[1]).parent) == parents[0]


def test_an_interrupted_wait_kills_what_ran(node):
    started: list[Pid] = []

    def endless() -> None:
        started.append(self_pid())
        wait_for_ever()

    with pytest.raises(gevent.Timeout), gevent.Timeout(0.02):
        node.run(endless)
    greenlet = gevent.spawn(node.run, endless)
    wait_until(lambda: len(started) == 2)
    greenlet.kill()
    outer = node.spawn(lambda: node.run(endless))
    wait_until(lambda: len(started) == 3)
    node.run(send_exit, outer, "kill")
    wait_until(lambda: not set(started) & set(node.run(processes)))


def test_many_threads_at_once(node):
    pid = node.run(Collector.start)
    threads = [threading.Thread(target=talk, args=(node, pid, flow)) for flow in range(8)]
    for thread in threads:
        thread.start()
    wait_until(lambda: not any(thread.is_alive() for thread in threads), 15)
    for thread in threads:
        thread.join()
    wait_until(lambda: sum(map(len, node.run(call, pid, "flows").values())) == 8 * 50)
    # A thread is two senders: the process that sends for all threads, and what `run` starts. In between there is no
    # order, as between any two processes.
    for numbers in node.run(call, pid, "flows").values():
        assert [number for number in numbers if number % 10] == [number for number in range(50) if number % 10]
        assert [number for number in numbers if number % 10 == 0] == list(range(0, 50, 10))


def talk(node: Node, pid: Pid, flow: int) -> None:
    for number in range(50):
        if number % 10:
            node.send_from_thread(pid, (flow, number))
        else:
            node.run(send, pid, (flow, number))


def test_a_thread_that_waits_is_told_when_the_node_stops(node):
    outcome: list[Any] = []
    thread = threading.Thread(target=lambda: outcome.append(given(node.run, wait_for_ever)))
    thread.start()
    wait_until(lambda: len(node.run(processes)) > 1)
    node.stop()
    wait_until(lambda: outcome)
    thread.join()
    assert isinstance(outcome[0], ProcessExit) and outcome[0].reason == "shutdown"
    for use in (lambda: node.run(int), lambda: node.spawn(int), lambda: node.send_from_thread("x", 1)):
        assert isinstance(in_thread(use), NotAProcess)


def test_a_node_in_a_thread_of_its_own_only_waits(logs):
    """Nothing but the node keeps that thread's loop busy: a program that waits is no deadlock (LoopExit)."""
    ready, outcome = threading.Event(), []

    def run() -> None:
        with Node("own-thread@127.0.0.1") as node:
            register("main", self_pid())
            outcome.append(node)
            ready.set()
            outcome.append(receive())

    thread = threading.Thread(target=run)
    thread.start()
    wait_until(ready.is_set)
    (node,) = outcome
    assert node.run(whereis, "main").node == node.name
    node.send_from_thread("main", "done")
    wait_until(lambda: not thread.is_alive())
    thread.join()
    assert outcome[1:] == ["done"]


# What it tells.


def test_a_subscriber_hears_of_nodes_in_a_process_of_its_own(nodes, logs):
    one, two = nodes.start("one"), nodes.start("two")
    heard: list[Any] = []

    def listen(event: Any) -> None:
        heard.append((self_pid(), event))
        if len(heard) == 1:
            raise ValueError("costs this event only")

    pid = one.subscribe(listen)
    two.join(one.address)
    two.leave()
    wait_until(lambda: len(heard) == 2)
    assert heard == [(pid, NodeUp(two.name)), (pid, NodeDown(two.name, "leave"))]
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["subscriber_failed"]
    one.run(send_exit, pid, "normal")
    one.run(send_exit, pid, "kill")
    two.join(one.address)
    wait_until(lambda: connected(one, two))
    assert len(heard) == 2


def test_a_subscriber_hears_of_what_happens_before_its_process_has_run(nodes):
    node = nodes.start("one")
    runtime = node._running()
    heard: list[Any] = []

    node.subscribe(heard.append)
    runtime.tell_node_watchers(NodeUp("a@h"))
    thread = threading.Thread(target=lambda: node.subscribe(heard.append))
    thread.start()
    wait_until(lambda: len(runtime.node_watchers) == 2)
    thread.join()
    runtime.tell_node_watchers(NodeDown("a@h", "leave"))
    wait_until(lambda: len(heard) == 3)
    assert heard == [NodeUp("a@h"), NodeDown("a@h", "leave"), NodeDown("a@h", "leave")]
    ended = node.subscribe(heard.append)
    node.run(send_exit, ended, "kill")
    wait_until(lambda: len(runtime.node_watchers) == 2)


def test_strict_messages_hold_local_ones_to_the_rules(nodes):
    strict, easy = nodes.start(strict_messages=True), nodes.start()
    easy.run(lambda: send(self_pid(), print))
    with strict.attached():
        echo = Echo.start()
        for attempt in (
            lambda: send(self_pid(), [print]),
            lambda: cast(echo, [print]),
            lambda: call(echo, [print]),
            lambda: Echo.start(print),
            lambda: partisan_actors.send_after(1, self_pid(), [print]),
        ):
            with pytest.raises(NotSendable, match="function"):
                attempt()
        assert call(echo, ("echo", (1, {"two": [3]}))) == (1, {"two": [3]})
        cast(echo, ("a", "cast"))
        send(echo, ["a", "message"])
        assert call(echo, "notes") == (("a", "cast"), ["a", "message"])
        with pytest.raises(partisan_actors.ServerExit, match="cannot be sent"):
            call(echo, "unsendable")


def test_the_public_face_has_it():
    assert partisan_actors.Node is Node


# Cookies.


def test_the_cookie_comes_from_the_environment_or_a_file(monkeypatch, tmp_path, nodes):
    monkeypatch.setenv("PARTISAN_COOKIE", "from the environment")
    one, two = nodes.start("one"), nodes.start("two", cookie="from the environment")
    two.join(one.address)
    monkeypatch.delenv("PARTISAN_COOKIE")
    monkeypatch.setenv("HOME", str(tmp_path))
    three, four = nodes.start("three"), nodes.start("four")
    four.join(three.address)
    file = tmp_path / cookies.COOKIE_FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and len(file.read_bytes()) >= 32
    five = nodes.start("five", cookie=file.read_text())
    five.join(three.address)
    file.chmod(0o644)
    with pytest.raises(PermissionError, match="chmod 600"):
        nodes.make("six")


@pytest.mark.parametrize("cookie", ["", "short", b"15 bytes, so no", ("long enough for a cookie", "short"), ()])
def test_a_cookie_that_can_be_guessed_is_refused_with_advice(cookie):
    with pytest.raises(ValueError) as raised:
        Node("a@127.0.0.1", cookie=cookie)
    assert "at least" in str(raised.value)
    with pytest.raises(TypeError):
        Node("a@127.0.0.1", cookie=7)  # type: ignore[arg-type]
