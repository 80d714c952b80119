"""Imports go one way (the house, in CONTRIBUTING.md), and the check of it sees every kind of import."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.import_directions import PURE, modules, violations

PACKAGE = Path(__file__).parent.parent / "partisan_actors"


def checked(tmp_path: Path, files: dict[str, str]) -> list[str]:
    """The violations of a package with these modules, written by their paths without the ending."""
    package = tmp_path / "partisan_actors"
    for name, text in {"__init__": "", "errors": "", "processes/identity": "", "node": "", **files}.items():
        path = package / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return [violation.text for violation in violations(package)]


def test_of_this_checkout():
    assert {"errors", "processes.identity", *PURE} <= modules(PACKAGE).keys()
    assert [str(violation) for violation in violations(PACKAGE)] == []


@pytest.mark.parametrize(
    ("part", "text"),
    [
        ("processes/runtime", "import partisan_actors.processes.identity"),
        ("processes/runtime", "from partisan_actors import errors"),
        ("processes/runtime", "from partisan_actors.errors import ActorError\nimport gevent, time"),
        ("wire/codec", "from partisan_actors.processes.identity import Pid"),
        ("wire/codec", "from partisan_actors.processes import identity"),
        ("wire/codec", "from partisan_actors.wire import frames\nimport struct"),
        ("transport/tcp", "from partisan_actors.processes.clock import Clock\nimport socket, gevent.socket"),
        ("topologies/full_mesh", "from partisan_actors.topologies.interface import Topology"),
        ("behaviours/gen_server", "from partisan_actors import processes, errors"),
        ("distribution/peers", "from partisan_actors.transport.tcp import Tcp"),
        ("distribution/peers", "from partisan_actors.wire import frames"),
        ("cluster/view", "from partisan_actors.distribution import peers"),
        ("cluster/view", "import partisan_actors.topologies.full_mesh"),
        ("node", "from partisan_actors.cluster import view\nfrom partisan_actors.behaviours import supervisor"),
        ("__init__", "from partisan_actors.node import Node"),
        ("testing/simulation", "from partisan_actors import Node\nfrom partisan_actors.node import Node"),
    ],
)
def test_what_is_allowed(tmp_path, part, text):
    imported = ("processes/clock", "transport/tcp", "wire/frames", "topologies/full_mesh", "distribution/peers")
    assert checked(tmp_path, {**dict.fromkeys(imported, ""), part: text}) == []


@pytest.mark.parametrize(
    ("part", "text", "target"),
    [
        ("errors", "import partisan_actors.processes.identity", "partisan_actors.processes.identity"),
        ("processes/runtime", "from partisan_actors.wire.codec import Codec", "partisan_actors.wire.codec"),
        ("processes/runtime", "from partisan_actors import node", "partisan_actors.node"),
        ("processes/runtime", "import partisan_actors", "partisan_actors"),
        ("wire/codec", "from partisan_actors.processes.runtime import Runtime", "partisan_actors.processes.runtime"),
        ("wire/codec", "from partisan_actors.processes import Pid", "partisan_actors.processes"),
        ("wire/codec", "import partisan_actors.processes.identity_of_another_kind", "identity_of_another_kind"),
        ("transport/tcp", "from partisan_actors.wire import frames", "partisan_actors.wire"),
        ("topologies/full_mesh", "from partisan_actors.errors import ActorError", "partisan_actors.errors"),
        ("behaviours/gen_server", "from partisan_actors import Node", "partisan_actors"),
        ("behaviours/gen_server", "from partisan_actors.cluster.view import View", "partisan_actors.cluster.view"),
        ("distribution/peers", "from partisan_actors.cluster.view import View", "partisan_actors.cluster.view"),
        ("distribution/peers", "from partisan_actors.topologies import FullMesh", "partisan_actors.topologies"),
        ("cluster/view", "from partisan_actors.behaviours import GenServer", "partisan_actors.behaviours"),
        ("cluster/view", "from partisan_actors.node import Node", "partisan_actors.node"),
        ("cluster/view", "from partisan_actors.testing import simulation", "partisan_actors.testing"),
        ("observe/metrics", "from partisan_actors.node import Node", "partisan_actors.node"),
        ("wire/frames", "import socket", "socket"),
        ("distribution/peers", "from gevent import socket", "gevent.socket"),
        ("wire/frames", "from time import monotonic", "time.monotonic"),
        ("topologies/scamp", "import gevent.event", "gevent.event"),
        ("cluster/membership", "import time", "time"),
        ("distribution/stream", "from gevent import sleep", "gevent.sleep"),
    ],
)
def test_what_is_not(tmp_path, part, text, target):
    (found,) = checked(tmp_path, {part: text})
    assert "must not import" in found
    assert target in found


@pytest.mark.parametrize(
    "text",
    [
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from partisan_actors.node import Node",
        "def late():\n    from partisan_actors.node import Node",
        "class Late:\n    import partisan_actors.node as node",
        "import importlib\nimportlib.import_module('partisan_actors.node')",
        "from importlib import import_module\nimport_module('partisan_actors.node')",
        "__import__('partisan_actors.node')",
    ],
)
def test_an_import_counts_wherever_it_stands(tmp_path, text):
    assert checked(tmp_path, {"processes/late": text}) == ["processes must not import partisan_actors.node"]


@pytest.mark.parametrize("text", ["from . import identity", "from .identity import Pid", "from .. import errors"])
def test_no_import_is_relative(tmp_path, text):
    (found,) = checked(tmp_path, {"processes/near": text})
    assert "relative" in found


def test_a_part_without_a_rule_has_to_be_placed(tmp_path):
    (found,) = checked(tmp_path, {"misc/things": ""})
    assert "partisan_actors.misc.things belongs to no part" in found


def test_a_violation_names_its_place(tmp_path):
    checked(tmp_path, {"processes/late": "import gevent\nimport partisan_actors.node\n"})
    (found,) = violations(tmp_path / "partisan_actors")
    assert str(found) == (
        f"{tmp_path}/partisan_actors/processes/late.py:2: processes must not import partisan_actors.node"
    )


def test_links_to_folders_are_followed(tmp_path):
    checked(tmp_path, {})
    (tmp_path / "behaviours").mkdir()
    (tmp_path / "behaviours" / "task.py").write_text("import partisan_actors.node")
    (tmp_path / "partisan_actors" / "behaviours").symlink_to(tmp_path / "behaviours")
    (found,) = violations(tmp_path / "partisan_actors")
    assert found.path == tmp_path / "partisan_actors" / "behaviours" / "task.py"
