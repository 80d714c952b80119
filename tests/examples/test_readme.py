"""The code in README.md runs as it stands there, and does what the text beside it says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.certificates import Authority, write
from tests.examples.programs import ROOT, run, start

CODE = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
NAMES = """
from partisan_actors import *
from partisan_actors.behaviours import GenServer, call
"""
OTHER = """
class Greeter(GenServer):
    def handle_call(self, name, caller):
        return f"hello {name}"


class Store(GenServer):
    def init(self):
        self.kept = []

    def handle_info(self, message):
        self.kept.append(message)

    def handle_call(self, request, caller):
        return self.kept
"""
SERVER = """
with Node("server@127.0.0.1") as node:
    Greeter.start(name="greeter")
    print(node.address)
    receive()
"""
STORE = """
with Node(
    "store@127.0.0.1",
    tls=TLS("store.pem", "store.key", "ca.pem"),
    channels=(Channel("bulk", parallelism=4), Channel("control", priority=1)),
    causal_labels=(CausalLabel("talk", ("shop@127.0.0.1", "store@127.0.0.1")),),
) as node:
    Store.start(name="store")
    Store.start(name="log")
    print(node.address)
    receive()
"""


@contextmanager
def running(program: str, folder: Path) -> Iterator[str]:
    """Another node, for the block; gives its address."""
    process = start("-c", NAMES + OTHER + program, folder=folder, cwd=folder)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


def code_with(text: str, address: str = "") -> str:
    """The piece of code that has this in it, of which there is one; it joins a node at that address."""
    (code,) = (code for code in CODE if text in code)
    return code.replace("127.0.0.1:4711", address)


def test_there_is_no_other_piece():
    assert len(CODE) == 4, "one that is added needs a test here"


def test_a_server(tmp_path):
    assert run("-c", code_with("class Counter"), folder=tmp_path)[-1] == "15"


def test_two_nodes(tmp_path):
    with running(SERVER, tmp_path) as address:
        assert "hello Ada" in run("-c", NAMES + code_with("greeter", address), folder=tmp_path)


def test_channels_acknowledgements_and_causal_order(tmp_path):
    authority = Authority(tmp_path)
    for name in ("shop", "store"):
        write(tmp_path / f"{name}.pem", tmp_path / f"{name}.key", *authority.issue("127.0.0.1"))
    with running(STORE, tmp_path) as address:
        printed = run("-c", NAMES + code_with("TLS", address), folder=tmp_path, cwd=tmp_path)
    assert [line for line in printed if line.startswith(("send", "call"))] == [
        "send film 7, part 1",
        "call how full?",
        "send sold",
        "send sold",
        "send sold",
    ]
    assert "['film 7, part 1']" in printed or "[]" in printed  # calls are not behind the bulk
    assert printed[-1] == "noproc"


def test_an_overlay_a_broadcast_and_a_simulation(tmp_path):
    printed = run("-c", NAMES + code_with("HyParView"), folder=tmp_path)
    (neighbours,) = (line for line in printed if line.startswith("["))
    assert 1 <= len(re.findall(r"'n\d+@sim'", neighbours)) <= 6
    heard = [line for line in printed if "heard" in line]
    assert sorted(heard) == sorted(f"n{index}@sim heard {{'tea': 3.2}}" for index in range(20) if index != 7)
