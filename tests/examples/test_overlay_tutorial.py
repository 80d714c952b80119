"""The code in docs/overlay_tutorial.md runs as it stands there: the overlay, its contract, its name, a node on it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.examples.programs import ROOT, run

PAGE = (ROOT / "docs" / "overlay_tutorial.md").read_text()
CODE = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def code_with(text: str) -> str:
    """The piece of code that has this in it, of which there is one."""
    (code,) = (code for code in CODE if text in code)
    return code


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the overlay in it, and the entry point as its package would have it when installed."""
    (tmp_path / "ring_overlay.py").write_text(code_with("class Ring:") + "\n\n" + code_with("class RingOverlay:"))
    (points,) = re.findall(r"^    \[options\.entry_points\]\n    (.*?)\n\n", PAGE, re.MULTILINE | re.DOTALL)
    group, *lines = (line.strip() for line in points.split("\n"))
    installed = tmp_path / "ring_overlay-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: ring_overlay\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("\n".join((f"[{group.removesuffix(' =')}]", *lines)) + "\n")
    return tmp_path


def test_there_is_no_other_piece():
    assert len(CODE) == 6, "one that is added needs a test here"


def test_it_is_the_example_and_short():
    example = (ROOT / "examples" / "ring_overlay.py").read_text()
    topology, machine = code_with("class Ring:"), code_with("class RingOverlay:")
    assert topology.partition("@dataclass")[2] in example
    assert machine in example
    assert len((topology + machine).splitlines()) < 150


def test_it_keeps_the_contract(folder):
    contract = code_with("class TestRing")
    assert "registered = False" in contract
    (folder / "test_ring.py").write_text(contract.replace("registered = False", "registered = True"))
    arguments = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), "test_ring.py")
    printed = run(*arguments, folder=folder, cwd=folder)
    assert re.fullmatch(r"\d{2,} passed in .*", printed[-1]), printed


def test_what_breaks_it_is_said_as_the_page_says(folder):
    broken = (folder / "ring_overlay.py").read_text()
    gone = "        effects += [Disconnect(node) for node in before if node not in self._neighbours]\n"
    assert gone in broken
    (folder / "ring_overlay.py").write_text(broken.replace(gone, ""))
    (folder / "test_ring.py").write_text(code_with("class TestRing"))
    arguments = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), "-k", "one_by_one")
    printed = run(*arguments, "test_ring.py", folder=folder, cwd=folder, status=1)
    assert any("AssertionError: seed 1:" in line for line in printed)
    assert any(re.search(r"n00@h wants links to \['n02@h', .*\], which are no neighbours", line) for line in printed)


def test_it_runs_in_virtual_time(folder):
    printed = run("-c", code_with("ProtocolSimulation"), folder=folder, cwd=folder)
    assert printed == ["n5@sim has links to ['n4@sim', 'n6@sim']", "n5@sim has links to ['n3@sim', 'n6@sim']"]
    assert all(f"    {line}\n" in PAGE for line in printed)


def test_it_is_found_by_its_name(folder):
    assert run("-c", code_with("find_topology"), folder=folder, cwd=folder) == []


def test_a_node_runs_on_it(folder):
    assert "['ann@127.0.0.1'] []" in run("-c", code_with("with Node("), folder=folder, cwd=folder)
