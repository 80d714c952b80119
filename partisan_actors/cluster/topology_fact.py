"""The topology that a cluster runs with, as a versioned fact: which of two wins, and how it is read. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

__all__ = ["TopologyFact", "fact_from_terms"]

_MAX_VERSION = (1 << 62) - 1
_MAX_TEXT = 255  # characters of a name


class TopologyFact(NamedTuple):
    """What all nodes are to run with: said by `origin`, the `version`-th of this cluster; 0: what a node began with."""

    version: int
    origin: str
    name: str
    parameters: Mapping[str, Any]

    def beats(self, other: TopologyFact) -> bool:
        """Whether a node that has the other one takes this one. One of two wins everywhere."""
        return (self.version, self.origin) > (other.version, other.origin)


def fact_from_terms(terms: Sequence[object]) -> TopologyFact | None:
    """Read one that another node sent, field by field; None: it is none."""
    match terms:
        case (version, str(origin), str(name), dict(parameters)) if type(version) is int:
            texts = (origin, name, *parameters)
            right = all(isinstance(text, str) and 0 < len(text) <= _MAX_TEXT and text.isprintable() for text in texts)
            return TopologyFact(version, origin, name, parameters) if right and 0 < version <= _MAX_VERSION else None
    return None
