"""Nodes, programs and certificates; what is logged as an error is one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.certificates import Authority
from tests.integration.conftest import nodes, programs

__all__ = ["authority", "logs", "nodes", "programs"]


@pytest.fixture
def logs() -> Iterator[list[Any]]:
    """What was logged. No fault of a network or a peer is an error of this node."""
    with capture_logs() as entries:
        yield entries
    errors = [entry for entry in entries if entry["log_level"] in ("error", "critical")]
    assert not errors, "\n".join(map(repr, errors[:3]))


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """One for all: it takes its time to make keys."""
    return Authority(tmp_path_factory.mktemp("authority"))
