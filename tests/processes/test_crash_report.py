"""The report of a crash has all that is known, and never makes things worse."""

from __future__ import annotations

import functools

import pytest
import structlog

from partisan_actors.errors import ProcessExit
from partisan_actors.processes.crash_report import crash_of, shortened
from partisan_actors.processes.messages import Crash
from partisan_actors.processes.primitives import receive, register, self_pid, send, spawn_monitor
from tests.processes.probing import down_reason, end_of


class Unprintable(Exception):
    """Neither its text nor its repr can be made."""

    def __str__(self):
        raise ValueError("no text")

    __repr__ = __str__


def crashes():
    register("worker", self_pid())
    receive(str)
    raise KeyError("missing")


def test_the_report(me, logs):
    pid, ref = spawn_monitor(crashes)
    for message in (1, "the last one", 2):
        send(pid, message)
    reason = down_reason(ref)
    (entry,) = logs
    assert entry.pop("exception") == reason.traceback.rstrip()
    assert 'raise KeyError("missing")' in reason.traceback and "in crashes" in reason.traceback
    assert entry == {
        "event": "process_crashed",
        "log_level": "error",
        "node": "a@h",
        "pid": str(pid),
        "parent": str(me.pid),
        "name": "worker",
        "initial_call": f"{__name__}.crashes",
        "last_message": "'the last one'",
        "mailbox_length": 2,
        "reason": "KeyError: 'missing'",
    }


def test_an_exit_with_an_uncommon_reason_is_reported_without_a_traceback(me, logs):
    def leave():
        raise ProcessExit({"code": 7})

    assert end_of(leave) == {"code": 7}
    (entry,) = logs
    assert entry["reason"] == "{'code': 7}" and "exception" not in entry and entry["last_message"] == "None"


@pytest.mark.parametrize("error", [Unprintable(), RecursionError("deep"), KeyboardInterrupt(), SystemExit(3)])
def test_a_crash_is_text_whatever_the_error(error):
    crash = crash_of(error)
    assert all(type(field) is str for field in (crash.type, crash.message, crash.traceback))


def test_a_crash_names_the_class_with_its_module_and_the_cause():
    try:
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise Unprintable from error
    except Unprintable as error:
        crash = crash_of(error)
    assert crash.type == f"{__name__}.Unprintable"
    assert crash.message == "<an exception whose text cannot be made>"
    assert "KeyError: 'inner'" in crash.traceback and "direct cause" in crash.traceback
    assert repr(Crash("ValueError", "no", "...")) == "Crash(ValueError: no)"


def test_long_and_failing_reprs_are_shortened():
    assert shortened("short") == "'short'"
    assert shortened("x" * 5000) == "'" + "x" * 999 + "... (5002 characters)"
    assert shortened(Unprintable()) == "<Unprintable whose repr raised ValueError>"


def test_a_failing_repr_in_the_report_takes_nothing_with_it(me, logs):
    def fails(*_):
        receive()
        raise Unprintable

    pid, ref = spawn_monitor(functools.partial(fails, Unprintable()))
    send(pid, Unprintable())
    assert down_reason(ref).type == f"{__name__}.Unprintable"
    (entry,) = logs
    assert entry["last_message"] == entry["initial_call"].replace("partial", "Unprintable")


def test_a_log_that_fails_is_printed_and_the_process_ends(me, capsys):
    def fails(logger, name, event):
        raise OSError("disk full")

    before = structlog.get_config()["processors"]
    structlog.configure(processors=[fails])
    try:
        assert end_of(crashes_at_once).type == "KeyError"
    finally:
        structlog.configure(processors=before)
    assert "disk full" in capsys.readouterr().err


def crashes_at_once():
    raise KeyError("missing")
