"""A child specification is checked when it is made, and says what is wrong with it."""

from __future__ import annotations

import dataclasses
import math
from functools import partial

import pytest

from partisan_actors.behaviours import ChildInfo, ChildSpec, GenServer, Supervisor
from partisan_actors.behaviours.child_spec import ChildError
from partisan_actors.errors import ActorError


class Server(GenServer):
    pass


def function(*args, **kwargs):
    return None


def place(spec, members):
    return members[0]


def test_defaults():
    spec = ChildSpec("id", Server)
    assert (spec.id, spec.start) == ("id", Server)
    assert spec.kwargs == {}
    assert (spec.restart, spec.shutdown, spec.type) == ("permanent", None, "worker")
    assert (spec.significant, spec.node) == (False, None)


@pytest.mark.parametrize("id", ["text", 3, ("tuple", 1), Server, frozenset({1})])
def test_anything_hashable_is_an_id(id):
    assert ChildSpec(id, Server).id == id


@pytest.mark.parametrize(
    ("start", "target", "args"),
    [
        (Server, Server, ()),
        (Supervisor, Supervisor, ()),
        (function, function, ()),
        ((Server, 1, 2), Server, (1, 2)),
        ((function,), function, ()),
        ((partial(function, 1), 2), partial, (2,)),
        (Server.start_link, Server.start_link, ()),
    ],
)
def test_every_form_of_start(start, target, args):
    spec = ChildSpec("id", start)
    assert spec.args == args
    assert spec.target == target or isinstance(spec.target, target)


@pytest.mark.parametrize(
    ("type", "shutdown", "expected"),
    [
        ("worker", None, 5.0),
        ("supervisor", None, "infinity"),
        ("worker", "infinity", "infinity"),
        ("supervisor", "brutal_kill", "brutal_kill"),
        ("worker", 0, 0),
        ("supervisor", 2.5, 2.5),
    ],
)
def test_the_time_to_end(type, shutdown, expected):
    assert ChildSpec("id", Server, type=type, shutdown=shutdown).time_to_end == expected


@pytest.mark.parametrize("node", [None, "a@host", ["a@host", "b@host"], ("a@host",), place, lambda spec, members: None])
def test_every_form_of_node(node):
    spec = ChildSpec("id", Server, node=node)
    assert spec.node == (tuple(node) if isinstance(node, list) else node)


WRONG = [
    ({"id": None}, ValueError, "id"),
    ({"id": []}, TypeError, "id"),
    ({"start": None}, TypeError, "start"),
    ({"start": "module:Server"}, TypeError, "start"),
    ({"start": ()}, ValueError, "start"),
    ({"start": (3, 4)}, TypeError, "start"),
    ({"start": [Server]}, TypeError, "start"),
    ({"start": int}, TypeError, "start"),
    ({"start": (dict, {})}, TypeError, "start"),
    ({"kwargs": None}, TypeError, "kwargs"),
    ({"kwargs": [("a", 1)]}, TypeError, "kwargs"),
    ({"kwargs": {1: 2}}, TypeError, "kwargs"),
    ({"kwargs": {"node": "a@host"}, "node": "b@host"}, ValueError, "kwargs"),
    ({"restart": "always"}, ValueError, "restart"),
    ({"restart": None}, TypeError, "restart"),
    ({"restart": ["permanent"]}, TypeError, "restart"),
    ({"shutdown": "brutal"}, ValueError, "shutdown"),
    ({"shutdown": -1}, ValueError, "shutdown"),
    ({"shutdown": math.nan}, ValueError, "shutdown"),
    ({"shutdown": math.inf}, ValueError, "shutdown"),
    ({"shutdown": True}, TypeError, "shutdown"),
    ({"shutdown": [5]}, TypeError, "shutdown"),
    ({"type": "server"}, ValueError, "type"),
    ({"type": Supervisor}, TypeError, "type"),
    ({"significant": "yes"}, TypeError, "significant"),
    ({"significant": 1}, TypeError, "significant"),
    ({"significant": True}, ValueError, "significant"),
    ({"node": ""}, ValueError, "node"),
    ({"node": []}, ValueError, "node"),
    ({"node": ["a@host", ""]}, ValueError, "node"),
    ({"node": ["a@host", None]}, TypeError, "node"),
    ({"node": 3}, TypeError, "node"),
    ({"node": {"a@host"}}, TypeError, "node"),
]


@pytest.mark.parametrize(("fields", "error", "name"), WRONG, ids=lambda value: repr(value)[:40])
def test_a_wrong_field_is_named(fields, error, name):
    with pytest.raises(error, match=rf"^ChildSpec\.{name}"):
        ChildSpec(**{"id": "id", "start": Server, **fields})


@pytest.mark.parametrize("restart", ["transient", "temporary"])
def test_one_that_is_not_permanent_can_be_significant(restart):
    assert ChildSpec("id", Server, restart=restart, significant=True).significant


def test_all_but_id_and_start_go_by_name():
    with pytest.raises(TypeError):
        ChildSpec("id", Server, {})


def test_it_does_not_change_afterwards():
    kwargs, nodes = {"a": 1}, ["a@host"]
    spec = ChildSpec("id", Server, kwargs=kwargs, node=nodes)
    kwargs["b"] = 2
    nodes.append("b@host")
    assert spec.kwargs == {"a": 1}
    assert spec.node == ("a@host",)
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.restart = "temporary"


def test_specs_of_the_same_fields_are_equal():
    assert ChildSpec("id", (Server, 1), kwargs={"a": 1}) == ChildSpec("id", (Server, 1), kwargs={"a": 1})
    assert hash(ChildSpec("id", Server, kwargs={"a": []})) == hash(ChildSpec("id", Server))
    assert dataclasses.replace(ChildSpec("id", Server), restart="temporary").restart == "temporary"


def test_child_info_and_error():
    assert ChildInfo("id", None, "worker", "permanent").pid is None
    error = ChildError("not_found", "sup has no child 'x'")
    assert isinstance(error, ActorError)
    assert (error.reason, str(error)) == ("not_found", "sup has no child 'x'")
