"""What the tests of whole nodes share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conditions import wait_until
from tests.distribution.nodes import Node
from tests.distribution.world import World


@pytest.fixture
def world() -> World:
    """A network in virtual time."""
    return World()


@pytest.fixture
def nodes() -> Iterator[list[Node]]:
    """Whoever is put in is closed at the end, over real sockets."""
    made: list[Node] = []
    yield made
    for node in made:
        node.peers.close()
    wait_until(lambda: not any(node.peers.open_connections for node in made))
