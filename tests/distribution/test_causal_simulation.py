"""Random runs of causal order, against the true relation of what happened before what."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partisan_actors.distribution.causal import CausalParameters
from tests.distribution.causal_world import OPERATIONS, UPHEAVALS, World

_NUMBERS = st.integers(0, 255)


def _steps(operations):
    return st.lists(st.tuples(st.sampled_from(operations.split()), _NUMBERS, _NUMBERS, _NUMBERS), max_size=120)


def _run(size, steps, parameters=None, *, connected=True):
    world = World(size, parameters, connected=connected)
    for step in steps:
        world.do(*step)
    world.quiet()
    return world


def _random_steps(seed, operations, count):
    random = Random(seed)
    choices = operations.split()
    return [(random.choice(choices), *(random.randrange(256) for _ in range(3))) for _ in range(count)]


@given(st.integers(2, 8), _steps(OPERATIONS))
def test_any_delays_and_losses(size, steps):
    _run(size, steps)


@given(st.integers(2, 8), _steps(f"{OPERATIONS} {UPHEAVALS}"))
def test_any_crashes_and_doubts(size, steps):
    _run(size, steps)


@given(st.integers(2, 8), _steps(f"{OPERATIONS} {UPHEAVALS}"))
def test_with_little_room(size, steps):
    _run(size, steps, CausalParameters(max_buffered=2, max_bytes=30))


@given(st.integers(2, 6), _steps(f"{OPERATIONS} {UPHEAVALS}"))
def test_while_nodes_get_to_know_each_other(size, steps):
    _run(size, steps, connected=False)


@pytest.mark.parametrize("seed", range(60))
def test_long_runs(seed):
    upheavals = ("", UPHEAVALS, f"{UPHEAVALS} {OPERATIONS}")[seed % 3]
    parameters = CausalParameters(max_buffered=3) if seed % 2 else None
    steps = _random_steps(seed, f"{OPERATIONS} {OPERATIONS} {upheavals}", 800)
    world = _run(3 + seed % 6, steps, parameters, connected=not upheavals or seed % 5 != 0)
    assert world.log
