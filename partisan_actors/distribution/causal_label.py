"""Causal labels: a declared group of nodes, within which messages are delivered in causal order.

Owns what a program says of one and the check of it. Knows no order: that is `causal`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

__all__ = ["MAX_MEMBERS", "CausalLabel", "check_causal_labels"]

MAX_MEMBERS = 128


@dataclass(frozen=True)
class CausalLabel:
    """A group of nodes; each of them declares the same label with the same members.

    Args:
        name: what `send(..., causal=name)` says; 1 to 64 printable characters.
        members: names of nodes, 1 to 128, in any order; kept sorted.

    Raises:
        TypeError: the name or a member is no str, or the members are one str or no collection.
        ValueError: the name or a member's form, too many members, or one that is there twice.
    """

    name: str
    members: tuple[str, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(f"a causal label's name is a str, not {self.name!r}")
        if not 0 < len(self.name) <= 64 or not self.name.isprintable():
            raise ValueError(f"a causal label's name has 1 to 64 printable characters, not {self.name!r}")
        if isinstance(self.members, str | bytes) or not isinstance(self.members, tuple | list | set | frozenset):
            raise TypeError(
                f'causal label {self.name!r}: members is a tuple of node names, like ("a@host", "b@host"), '
                f"not {self.members!r}"
            )
        for member in self.members:
            self._check_member(member)
        if not 0 < len(self.members) <= MAX_MEMBERS:
            raise ValueError(
                f"causal label {self.name!r} has {len(self.members)} members, and may have 1 to {MAX_MEMBERS}; "
                "split a larger group into several labels"
            )
        members = sorted(self.members)
        for one, next_one in pairwise(members):
            if one == next_one:
                raise ValueError(f"causal label {self.name!r}: {one!r} is among the members twice; name it once")
        object.__setattr__(self, "members", tuple(members))

    def _check_member(self, member: object) -> None:
        if not isinstance(member, str):
            raise TypeError(f"causal label {self.name!r}: members are names of nodes, str, not {member!r}")
        name, _, host = member.partition("@")
        if not name or not host or "@" in host or len(member.encode()) > 1024 or not member.isprintable():
            raise ValueError(
                f"causal label {self.name!r}: {member!r} is no name of a node; write it as Node(name) has it, x@host"
            )


def check_causal_labels(labels: Iterable[CausalLabel], node: str) -> dict[str, CausalLabel]:
    """The labels that a node declares, by name.

    Raises:
        TypeError: one is no CausalLabel, or they are no list.
        ValueError: two of a name, or one that this node is no member of.
    """
    if isinstance(labels, CausalLabel | str | bytes) or not isinstance(labels, Iterable):
        raise TypeError(
            f"causal_labels is a list, (CausalLabel(name, members),) for one and () for none, not {labels!r}"
        )
    found: dict[str, CausalLabel] = {}
    for label in labels:
        if not isinstance(label, CausalLabel):
            raise TypeError(f"causal_labels are CausalLabel(name, members) values, not {label!r}")
        if label.name in found:
            raise ValueError(f"causal label {label.name!r} is declared twice; name each label once")
        if node not in label.members:
            raise ValueError(
                f"causal label {label.name!r}: this node, {node!r}, is not among its members; "
                "add it, or do not declare the label here"
            )
        found[label.name] = label
    return found
