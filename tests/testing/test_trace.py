"""The same seed gives the same trace, byte for byte, in any interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from partisan_actors.testing.trace import Trace, canonical
from tests.testing.trace_program import traced

ROOT = Path(__file__).parent.parent.parent


def digest_elsewhere(seed, hash_seed):
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-m", "tests.testing.trace_program", str(seed)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=50, check=True)
    return done.stdout.split()


def test_another_interpreter_with_other_hashes_gives_the_same_trace():
    here = traced(11)
    expected = [str(here.count), here.digest]
    assert here.count > 1000
    assert digest_elsewhere(11, "1") == digest_elsewhere(11, "2") == expected


def test_another_seed_gives_another_trace():
    assert traced(1).digest != traced(2).digest


class Point(NamedTuple):
    x: int
    y: object


class Opaque:
    pass


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (frozenset("cab"), "{'a', 'b', 'c'}"),
        (Point(1, {"b", "a"}), "Point(1, {'a', 'b'})"),
        (((1,), [None], {"k": {2}}), "((1,), [None], {'k': {2}})"),
        ("ü", "'ü'"),
    ],
)
def test_a_value_has_one_text(value, text):
    assert canonical(value) == text


def test_what_has_no_text_of_its_own_is_refused():
    with pytest.raises(TypeError, match="Opaque"):
        canonical([Opaque()])


def test_the_hash_is_over_all_lines_and_few_are_kept():
    short, long = Trace(keep=1), Trace(keep=None)
    for trace in (short, long):
        trace.add(0.5, "one", 1)
        trace.add(1.0, "two", ("x",))
    assert short.text() == "1.000000000 two ('x',)\n"
    assert short.digest == long.digest
    assert short.count == 2
