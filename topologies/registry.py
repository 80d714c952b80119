"""Topologies by their names: ours, and those of other installed packages.

A topology is an entry point of the group `partisan_actors.topologies`: its name, and the class that makes it. In the
setup.cfg of a package:

    [options.entry_points]
    partisan_actors.topologies =
        ring = rings.overlay:Ring

Promised: nothing is read at import, and nothing is kept; a class is imported when it is asked for by its name. A name
that comes from elsewhere so imports what is installed under it, never anything else. What makes no topology is an
error that says what would.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from partisan_actors.topologies.overlay import Topology

__all__ = ["GROUP", "TopologyError", "UnknownTopology", "find_topology", "topology_names"]

GROUP = "partisan_actors.topologies"
"""The group of entry points."""


class TopologyError(ValueError):
    """There is no such topology; the text says why."""


class UnknownTopology(TopologyError, LookupError):
    """No installed package has one of that name."""


def topology_names() -> list[str]:
    """The names that `find_topology` knows, sorted."""
    return sorted({point.name for point in entry_points(group=GROUP)})


def find_topology(name: str, parameters: Mapping[str, Any] | None = None) -> Topology:
    """Make the topology of that name.

    Args:
        name: one of `topology_names`.
        parameters: by their names, as `Topology.parameters` gives them; the others have their defaults.

    Raises UnknownTopology, or TopologyError for parameters that make none and for one that cannot be imported.
    """
    make = _load(_entry_point(name))
    given = dict(parameters or {})
    _check_names(name, make, given)
    try:
        topology = make(**given)
    except (TypeError, ValueError) as error:
        raise TopologyError(f"topology {name}: {str(error).removeprefix(f'{name}: ')}") from error
    if getattr(topology, "name", None) != name:
        raise TopologyError(f"topology {name}: what is registered makes one of another name, {topology!r}")
    return topology


def _entry_point(name: str) -> EntryPoint:
    found = {point.value: point for point in entry_points(group=GROUP) if point.name == name}
    if not found:
        raise UnknownTopology(f"there is no topology {name!r}; known are {', '.join(topology_names()) or 'none'}")
    if len(found) > 1:
        raise TopologyError(f"topology {name}: registered more than once, by {' and '.join(sorted(found))}")
    return next(iter(found.values()))


def _load(point: EntryPoint) -> Callable[..., Topology]:
    try:
        make = point.load()
    except (ImportError, AttributeError) as error:
        raise TopologyError(f"topology {point.name}: {point.value} cannot be imported: {error}") from error
    if not callable(make):
        raise TopologyError(f"topology {point.name}: {point.value} is no class of topologies")
    return make  # type: ignore[no-any-return]


def _check_names(name: str, make: Callable[..., Topology], given: Mapping[str, Any]) -> None:
    """Raise TopologyError for a parameter that there is not: by its name, and with those that there are."""
    known = inspect.signature(make).parameters
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in known.values()):
        return
    unknown = sorted(str(key) for key in given if key not in known)
    if unknown:
        raise TopologyError(
            f"topology {name}: no parameter {', '.join(unknown)}; there are {', '.join(known) or 'none'}"
        )
