"""HyParView's messages, and the check of what other nodes send.

Plain tuples, and names only. A *nonce* is a number that a node draws for its own half of a relation; a message about
the relation quotes it, so that one of an earlier relation with the same node is told from one of this.

    ("join", nonce, neighbours)               I come through you; with neighbours: and bring these of another part
    ("forward_join", node, ttl, merging)      let this one in, after so many more steps
    ("neighbor", nonce, priority)             be my neighbour; for the priorities see below
    ("accepted", yours, nonce)                the answer to the nonce of a join or neighbor; or
    ("rejected", yours, instead)              and that; instead: this one looks for a neighbour, too
    ("disconnect", yours, instead, staying)   you are my neighbour no more; these look for one; do I stay a member
    ("shuffle", nonce, number, ttl, path, names)     a walk; path: who has passed it on, the originator first
    ("shuffle_reply", number, path, names)    the answer to it, back along what is left of the path

The priorities:

    low     if you have room
    high    I have nobody: make room
    split   I have had room for two for long: make room, and who goes will find the other place with me
    merge   I am of another part of the cluster: make room
    offer   I have enough, but lost so many that I ask all I know: if you have room for two, so that it is a split

A check returns the reason why a message is refused, or "" for none.
"""

from __future__ import annotations

from typing import Any

__all__ = ["HIGH", "LOW", "MERGE", "NONCE_BITS", "OFFER", "SPLIT", "Limits", "is_nonce", "names_fault"]

LOW, HIGH, MERGE, OFFER, SPLIT = "low", "high", "merge", "offer", "split"
NONCE_BITS = 48

_MAX_NAME = 255  # characters, as a node's name in the handshake
_PRIORITIES = (LOW, HIGH, MERGE, OFFER, SPLIT)
_TEXT = {str}


def is_nonce(value: object) -> bool:
    """Whether it can be one."""
    return type(value) is int and 0 <= value < 1 << NONCE_BITS


def names_fault(names: object, most: int) -> str:
    """What is wrong with a tuple of at most so many names."""
    if type(names) is not tuple:
        return "shape"
    if len(names) > most:
        return "oversized"
    if not names:
        return ""
    if set(map(type, names)) != _TEXT:
        return "shape"
    if len(set(names)) != len(names):
        return "duplicate"
    return "" if min(map(len, names)) > 0 and max(map(len, names)) <= _MAX_NAME else "shape"


class Limits:
    """The checks of one node's parameters: how many names, and how many steps, others may send."""

    __slots__ = ("_names", "_steps")

    def __init__(self, names: int, steps: int) -> None:
        self._names = names
        self._steps = steps

    def fault(self, payload: tuple[Any, ...]) -> str:
        """What is wrong with a message that is a tuple and starts with the name of a kind."""
        kind, *fields = payload
        match kind, fields:
            case ("neighbor", [nonce, priority]):
                right = is_nonce(nonce) and type(priority) is str and priority in _PRIORITIES
            case ("accepted", [yours, nonce]):
                right = is_nonce(yours) and is_nonce(nonce)
            case ("rejected", [yours, names]):
                return names_fault(names, self._names) if is_nonce(yours) else "shape"
            case ("forward_join", [node, ttl, merging]):
                if fault := names_fault((node,), 1):
                    return fault
                right = type(ttl) is int and 0 <= ttl <= self._steps and type(merging) is bool
            case ("join", [nonce, names]):
                return names_fault(names, self._names) if is_nonce(nonce) else "shape"
            case ("disconnect", [yours, names, staying]):
                return names_fault(names, self._names) if is_nonce(yours) and type(staying) is bool else "shape"
            case _:
                return "shape"
        return "" if right else "shape"

    def shuffle_fault(self, payload: tuple[Any, ...], node: str) -> str:
        """What is wrong with a shuffle that `node` passes on: a walk makes no more than `steps` of them, no loop."""
        if len(payload) != 6:
            return "shape"
        _, nonce, number, ttl, path, names = payload
        if not is_nonce(nonce) or type(number) is not int or type(ttl) is not int:
            return "shape"
        if type(path) is not tuple or not path or path[-1] != node or ttl < 0 or len(path) + ttl > self._steps:
            return "path"
        return names_fault(path, self._steps) or names_fault(names, self._names)

    def reply_fault(self, payload: tuple[Any, ...]) -> str:
        """What is wrong with the answer to a shuffle."""
        if len(payload) != 4:
            return "shape"
        _, number, path, names = payload
        if type(number) is not int:
            return "shape"
        return names_fault(path, self._steps) or names_fault(names, self._names)
