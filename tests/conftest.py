"""What all tests share; the settings of pytest itself are in setup.cfg."""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

# A shell starts `make test &` with SIGINT ignored, and every program started here would inherit that: no test of Ctrl-C
# could pass. A handler of our own becomes the default again in a child.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No deadline for one example: the machine is shared with whatever else runs on it. A failure prints how to repeat it.
settings.register_profile("quick", deadline=None, max_examples=50, print_blob=True)
settings.register_profile("thorough", deadline=None, max_examples=2000, print_blob=True)
settings.load_profile("quick")  # pytest --hypothesis-profile=thorough asks for the other one


def pytest_collection_finish() -> None:
    """Keep the collected tests out of every garbage collection to come: 332 s became 316 s."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def cookie() -> Iterator[str]:
    """A cookie for the nodes of this run and their children, so that no test makes ~/.partisan.cookie."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PARTISAN_COOKIE", "the cookie of a test run")
        yield "the cookie of a test run"
