"""What the tests of whole nodes share."""

from __future__ import annotations

import pytest

from tests.distribution.world import World


@pytest.fixture
def world() -> World:
    """A network in virtual time."""
    return World()
