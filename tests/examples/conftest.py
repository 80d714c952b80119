"""Programs and pages log as they would in a fresh interpreter, whatever the tests before them did."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def unconfigured_logs() -> Iterator[None]:
    """Who captures logs leaves structlog configured, and a node leaves alone what a program has configured."""
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()
