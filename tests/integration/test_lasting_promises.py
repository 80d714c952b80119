"""Promises that were broken once, each by a few lines of ordinary code."""

from __future__ import annotations

import threading

import gevent
import pytest

from partisan_actors import (
    CallTimeout,
    NoConnection,
    NoProcess,
    ProcessExit,
    Remote,
    process_info,
    processes,
    receive,
    self_pid,
    send,
    send_exit,
    sleep,
    spawn,
    spawn_link,
    spawn_opt,
    trap_exits,
)
from partisan_actors.behaviours import GenServer, call, receive_response, send_request
from tests.conditions import wait_until
from tests.nodes import Nodes


class Echo(GenServer):
    def handle_call(self, request, caller):
        return bytes(request[1]) if isinstance(request, tuple) else request


def start_later():
    sleep(0.02)
    Echo.start(name="echo")


def test_a_loop_that_calls_until_somebody_is_there_lets_him_come(nodes: Nodes):
    def calls():
        spawn(start_later)
        while True:
            try:
                return call("echo", 1)
            except NoProcess:
                continue

    assert nodes.start().run(calls) == 1


def test_a_loop_that_calls_an_unknown_node_lets_others_run(nodes: Nodes):
    def calls():
        ran = []
        spawn(lambda: (sleep(0.01), ran.append(1)))
        while not ran:
            with pytest.raises(NoConnection):
                call(Remote("echo", "nobody@127.0.0.1"), 1)
        return ran

    assert nodes.start().run(calls) == [1]


def test_an_exit_signal_ends_the_wait_of_run(nodes: Nodes):
    node = nodes.start()

    def ends():
        sleep(0.02)
        raise ProcessExit("boom")

    before = node.run(processes)
    with pytest.raises(ProcessExit) as raised, node.attached():
        spawn_link(ends)
        node.run(receive)
    assert raised.value.reason == "boom"
    wait_until(lambda: len(node.run(processes)) == len(before))


def test_a_request_that_was_given_up_leaves_nothing_in_the_mailbox(nodes: Nodes):
    def gives_up():
        made = send_request(Echo.start(), 1)
        self = self_pid()
        with pytest.raises(CallTimeout):
            while True:
                receive_response(made, 0)
                made = send_request(Echo.start(), 1)
        sleep(0.01)
        return process_info(self).mailbox_length  # type: ignore[union-attr]

    assert nodes.start().run(gives_up) == 0


def test_an_answer_costs_the_same_however_much_waits_before_it(nodes: Nodes):
    def body():
        echo = Echo.start()
        for number in range(20_000):
            send(self_pid(), number)
        for number in range(2_000):  # 11 ms each, if the mailbox were searched from the old end
            assert receive_response(send_request(echo, number), 5.0) == number

    with gevent.Timeout(10):
        nodes.start().run(body)


def test_clean_up_is_not_cut_short_by_a_second_exit(nodes: Nodes):
    done = []

    def ends_itself():
        try:
            send_exit(self_pid(), "x")
        finally:
            gevent.sleep(0.01)
            done.append("cleaned")

    with pytest.raises(ProcessExit):
        nodes.start().run(ends_itself)
    assert done == ["cleaned"]


def test_what_a_thread_sends_keeps_its_order(nodes: Nodes):
    node = nodes.start()
    got = []

    def collects():
        while len(got) < 300:
            got.append(receive())
            sleep(0.0001)

    pid = node.run(lambda: spawn_opt(collects, max_mailbox=1))

    def sends():
        for number in range(300):
            node.send_from_thread(pid, number)

    thread = threading.Thread(target=sends)
    thread.start()
    wait_until(lambda: len(got) == 300, 20.0)
    thread.join()
    assert got == list(range(300))


def test_stop_tells_also_those_whose_parent_ignores_it(nodes: Nodes):
    node = nodes.start()
    told = []

    class Traps(GenServer):
        def init(self):
            trap_exits()

        def terminate(self, reason):
            told.append(reason)

    def stubborn():
        trap_exits()
        Traps.start()
        while True:
            receive()

    pid = node.spawn(stubborn)
    wait_until(lambda: node.run(lambda: len(processes())) >= 3 and node.run(process_info, pid) is not None)
    node.stop(timeout=0.4)
    assert told == ["shutdown"]


def test_a_hundred_large_answers_at_once_all_come(nodes: Nodes):
    one, other = nodes.cluster("one", "other")
    other.run(Echo.start, name="large")
    answers = []

    def asks():
        answers.append(len(call(Remote("large", other.name), ("bytes", 1 << 20), 60.0)))

    for _ in range(120):
        one.spawn(asks)
    wait_until(lambda: len(answers) == 120, 40.0)
    assert set(answers) == {1 << 20}
