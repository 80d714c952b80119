"""The code in docs/overlays.md and docs/broadcast.md runs as it stands there, and does what the text beside it says."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from partisan_actors import Node, Remote, broadcast, monitor
from partisan_actors.behaviours import GenServer, call
from partisan_actors.topologies import ClientServer, FullMesh, HyParView, Scamp, XBot
from tests.conditions import wait_until
from tests.examples.programs import ROOT
from tests.nodes import Nodes, cluster_of, running_nodes


def code_of(page: str) -> list[str]:
    """The pieces of code of a page."""
    return re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs" / page).read_text(), re.MULTILINE | re.DOTALL)


class Greeter(GenServer):
    def handle_call(self, name, caller):
        return f"hello {name}"


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    """Nodes that are stopped at the end of the test."""
    with running_nodes() as nodes:
        yield nodes


def test_the_page_on_overlays(nodes, capsys):
    a_node, across, reserved, switch = code_of("overlays.md")
    names = {"Node": Node, "HyParView": HyParView, "Remote": Remote, "call": call, "monitor": monitor}
    exec(a_node, names)
    node = names["node"].start()
    nodes.made.append(node)
    there = nodes.start("n9@127.0.0.1", topology=HyParView())
    there.run(Greeter.start, name="greeter")
    node.join(there.address)
    with node.attached():
        exec(across, names)
    assert capsys.readouterr().out == "hello Ada\n"
    exec(reserved, names)
    assert (names["core"].slots, names["core"].tag, names["other"].tag) == ((("core", 2),), "core", "")
    node.switch_topology(FullMesh())
    wait_until(lambda: cluster_of(there).topology == "full_mesh")
    exec(switch, names)
    wait_until(lambda: cluster_of(there).topology == "hyparview")


def test_the_page_on_broadcast(nodes):
    (prices_page,) = code_of("broadcast.md")
    here, there = nodes.cluster("here", "there")
    prices: dict[str, float] = {}
    names = {"prices": prices, "__name__": __name__, **vars(broadcast)}
    with here.attached():
        exec(prices_page, names)
    there.run(broadcast.register_handler, names["Prices"])
    here.run(broadcast.broadcast, {"cake": 4.10}, names["Prices"])
    wait_until(lambda: prices == {"tea": 3.20, "cake": 4.10})


def test_parameters_stand_there_with_their_defaults():
    text = (ROOT / "docs" / "overlays.md").read_text()
    rows = dict(re.findall(r"^\| (`[^|]*`) \| ([^|]*) \|", text, re.MULTILINE))
    told = {
        name: value
        for names, values in rows.items()
        for name, value in zip(re.findall(r"`(\w+)`", names), re.findall(r"`([^`]*)`", values), strict=False)
    }
    for topology in (ClientServer("client"), XBot(), Scamp()):
        fields = vars(topology)
        assert {name: repr(value) for name, value in fields.items() if name != "role"} == {
            name: told[name].replace('"', "'") for name in fields if name != "role"
        }
