"""What a program may give to `Node`, looked at before anything is made of it.

Every wrong option is an error that says which, what was wrong, and what to give instead.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

from partisan_actors.errors import ActorError
from partisan_actors.topologies import Topology
from partisan_actors.transport import TLS

__all__ = [
    "check_name",
    "check_options",
    "checked_outbox",
    "checked_tls",
    "checked_topology",
    "refuse_later_options",
    "several",
]


def check_name(name: str) -> None:
    """Raise ValueError for what is no name of a node."""
    user, at, host = name.partition("@") if isinstance(name, str) else ("", "", "")
    if not user or not at or not host or not name.isprintable() or " " in name or len(name.encode()) > 255:
        raise ValueError(f'a node\'s name is like "orders@10.0.0.7": no spaces, up to 255 bytes; not {name!r}')


def checked_tls(tls: Any, transport: Any) -> TLS | None:
    """The `TLS` that was given, if any. Raises TypeError, ValueError."""
    if tls is not None and not isinstance(tls, TLS):
        raise TypeError(f"tls is TLS(certificate, key, ca), not {type(tls).__name__}")
    if tls is not None and transport is not None:
        raise ValueError("tls= is for the node's own transport: one that is given has to do what it should by itself")
    return tls


def checked_topology(topology: Any) -> Topology:
    """The `Topology` that was given. Raises TypeError."""
    lacking = [name for name in ("name", "tag", "parameters", "overlay") if not hasattr(topology, name)]
    if isinstance(topology, type) or lacking:
        what = (
            f"the class {topology.__name__}: write {topology.__name__}()"
            if isinstance(topology, type)
            else repr(topology)
        )
        raise TypeError(f"topology is one such as FullMesh() or HyParView(), not {what}")
    return topology  # type: ignore[no-any-return]


def check_options(spawnable: Sequence[str], switch_interval: float | None, ack_timeout: float) -> None:
    """Raise TypeError, ValueError for options that are none."""
    if isinstance(spawnable, str) or not isinstance(spawnable, Sequence) or not _all_text(spawnable):
        raise TypeError(f"spawnable is a list of patterns, such as ({str(spawnable)!r},), not {spawnable!r}")
    if switch_interval is not None and not switch_interval > 0:
        raise ValueError(f"switch_interval is seconds, above 0, or None, not {switch_interval!r}")
    if isinstance(ack_timeout, bool) or not isinstance(ack_timeout, int | float):
        raise TypeError(f"ack_timeout is a number of seconds, not {ack_timeout!r}")
    if not 0 < ack_timeout < math.inf:
        raise ValueError(f"ack_timeout is seconds, above 0 and finite, not {ack_timeout!r}")


def checked_outbox(outbox: Any) -> str | None:
    """The path that was given, if any. Raises TypeError, ValueError."""
    if outbox is None:
        return None
    path = os.fspath(outbox) if isinstance(outbox, os.PathLike) else outbox
    if not isinstance(path, str):
        raise TypeError(f"outbox is the path of a file, a str, or None, not {outbox!r}")
    if not path or "\0" in path:
        raise ValueError(f"outbox is the path of a file, or None for the memory, not {outbox!r}")
    return path


def _all_text(values: Sequence[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


def refuse_later_options(**options: Any) -> None:
    """Raise ActorError for an option of a later version that is set."""
    for option, value in options.items():
        if value:
            raise ActorError(f"Node({option}=...) is not in this version")


def several(addresses: str | Sequence[str] | None) -> tuple[str, ...]:
    """One address, or several, or none, as a tuple. Raises TypeError."""
    if addresses is None:
        return ()
    if isinstance(addresses, str):
        return (addresses,)
    if not isinstance(addresses, Sequence):
        raise TypeError(f"listen is an address, a list of them, or None, not {addresses!r}")
    return tuple(addresses)
