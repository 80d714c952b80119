"""Topologies by their names."""

from __future__ import annotations

import configparser
import inspect
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partisan_actors.topologies import (
    ClientServer,
    FullMesh,
    Scamp,
    Static,
    TopologyError,
    UnknownTopology,
    find_topology,
    topology_names,
)
from partisan_actors.topologies.overlay import Joined, LinkDown, LinkUp, MemberUp, Message

ROOT = Path(__file__).parent.parent.parent
RING = """
from partisan_actors.topologies import Static


class Ring(Static):
    name = "ring"


class Misnamed(Static):
    name = "other"


class Broken(Static):
    name = "broken"

    def __init__(self):
        raise ValueError("broken: no luck")


number = 5
"""
POINTS = """
[partisan_actors.topologies]
ring = rings:Ring
misnamed = rings:Misnamed
broken = rings:Broken
number = rings:number
absent = rings:Absent
lost = no_such_module:Ring
twice = rings:Ring
"""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Another distribution, with topologies of its own."""
    (tmp_path / "rings.py").write_text(RING)
    for name, points in (("rings", POINTS), ("more", "[partisan_actors.topologies]\ntwice = rings:Misnamed\n")):
        folder = tmp_path / f"{name}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("rings", None)


def test_ours_are_registered_as_others_are():
    configuration = configparser.ConfigParser()
    configuration.read(ROOT / "setup.cfg")
    lines = configuration["options.entry_points"]["partisan_actors.topologies"].split("\n")
    declared = [line.partition(" = ")[0] for line in lines if line]
    assert declared == sorted(declared)
    assert set(declared) <= set(topology_names()), "setup.cfg has changed since the installation: make venv"
    assert {"client_server", "full_mesh", "scamp", "static"} <= set(declared)


@pytest.mark.parametrize(
    ("name", "parameters", "topology"),
    [("full_mesh", None, FullMesh()), ("static", {}, Static()), ("scamp", {"version": 1, "c": 2}, Scamp(1, 2))],
)
def test_one_is_made_by_its_name(name, parameters, topology):
    made = find_topology(name, parameters)
    assert (made, made.name) == (topology, name)


@pytest.mark.parametrize("topology", [FullMesh(), Static(), Scamp(c=3, lease=100.0)])
def test_its_parameters_make_an_equal_one(topology):
    assert find_topology(topology.name, topology.parameters()) == topology


def test_a_name_that_is_not_known_is_answered_by_those_that_are():
    with pytest.raises(UnknownTopology, match=r"no topology 'hypercube'; known are client_server, full_mesh, .*static"):
        find_topology("hypercube")


def test_a_parameter_that_there_is_not_is_named():
    with pytest.raises(TopologyError, match=r"topology scamp: no parameter fanout; there are version, c, "):
        find_topology("scamp", {"fanout": 3})
    with pytest.raises(TopologyError, match=r"topology full_mesh: no parameter c; there are none"):
        find_topology("full_mesh", {"c": 3})


def test_a_value_that_makes_no_sense_is_named():
    with pytest.raises(TopologyError, match=r"^topology scamp: c is a whole number, 0 or more, not -1$"):
        find_topology("scamp", {"c": -1})


def test_those_of_other_packages_are_found(installed):
    assert {"ring", "full_mesh"} < set(topology_names())
    assert find_topology("ring").name == "ring"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("misnamed", "makes one of another name"),
        ("broken", "^topology broken: no luck$"),
        ("number", "rings:number is no class of topologies"),
        ("absent", "rings:Absent cannot be imported"),
        ("lost", "no_such_module:Ring cannot be imported"),
        ("twice", "registered more than once, by rings:Misnamed and rings:Ring"),
    ],
)
def test_what_is_registered_wrongly_is_said(installed, name, text):
    with pytest.raises(TopologyError, match=text):
        find_topology(name)


def test_nothing_is_read_at_import():
    program = (
        "import importlib.metadata as m\n"
        "m.entry_points = m.distributions = None\n"
        "import partisan_actors.topologies, partisan_actors.topologies.registry\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr


# What others switch the cluster to

NAMES = ("client_server", "full_mesh", "hyparview", "scamp", "static", "xbot")
PARAMETERS = {
    name: sorted(inspect.signature(ClientServer if name == "client_server" else type(find_topology(name))).parameters)
    for name in NAMES
}
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 1 << 64) | st.floats() | st.text(max_size=5) | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3),
    max_leaves=5,
)


@given(st.data(), st.sampled_from(NAMES))
def test_whatever_parameters_others_send_make_a_topology_or_a_topology_error(data: st.DataObject, name: str):
    keys = st.sampled_from([*PARAMETERS[name], "x"])
    parameters = data.draw(st.dictionaries(keys, VALUES, max_size=4))
    try:
        topology = find_topology(name, parameters)
    except TopologyError:
        return
    machine, random = topology.overlay("me@h"), Random(1)
    for event in (MemberUp("a@h"), LinkUp("a@h"), Joined("a@h"), Message("a@h", (0,)), LinkDown("a@h")):
        assert len(list(machine.step(event, 1.0, random))) < 20
