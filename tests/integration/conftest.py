"""Nodes in this OS process, and others in OS processes of their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.integration.programs import Programs, running_programs
from tests.nodes import Nodes, running_nodes


@pytest.fixture
def logs() -> Iterator[list[Any]]:
    """What was logged, instead of printing it."""
    with capture_logs() as entries:
        yield entries


@pytest.fixture
def nodes(logs: list[Any]) -> Iterator[Nodes]:
    """Makes nodes; all are stopped at the end."""
    with running_nodes() as nodes:
        yield nodes


@pytest.fixture
def programs() -> Iterator[Programs]:
    """Starts nodes in OS processes of their own; all are gone at the end."""
    with running_programs() as programs:
        yield programs
