"""The networks of these tests, and the check that nothing is left open after any of them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from gevent import get_hub

from tests.conditions import wait_until
from tests.transport.peers import Network, active_watchers, open_descriptors


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


KINDS = ["tcp", pytest.param("tcp6", marks=pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")), "unix"]


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    # The pool keeps a watcher and threads from its first use on; a resolver's test must not look like a leak.
    get_hub().threadpool.apply(int)
    descriptors, watchers = open_descriptors(), active_watchers()
    yield
    wait_until(lambda: open_descriptors() <= descriptors, what="every descriptor closed")
    wait_until(lambda: active_watchers() <= watchers, what="every watcher stopped")


def network_of(kind: str, folder: Path) -> Iterator[Network]:
    network = Network(kind, str(folder / "socket"))
    yield network
    network.close()


@pytest.fixture(params=[*KINDS, "tls", "memory"])
def network(request: pytest.FixtureRequest, tmp_path: Path, nothing_left_behind: None) -> Iterator[Network]:
    """Every kind of transport: what holds for the door holds for each."""
    yield from network_of(request.param, tmp_path)


@pytest.fixture(params=["tcp", "unix"])
def sockets(request: pytest.FixtureRequest, tmp_path: Path, nothing_left_behind: None) -> Iterator[Network]:
    """The kinds with a kernel behind them."""
    yield from network_of(request.param, tmp_path)


@pytest.fixture
def under_tls(tmp_path: Path, nothing_left_behind: None) -> Iterator[Network]:
    yield from network_of("tls", tmp_path)


@pytest.fixture
def tcp(tmp_path: Path, nothing_left_behind: None) -> Iterator[Network]:
    yield from network_of("tcp", tmp_path)


@pytest.fixture
def unix(tmp_path: Path, nothing_left_behind: None) -> Iterator[Network]:
    yield from network_of("unix", tmp_path)
