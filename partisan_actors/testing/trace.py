"""A trace of a simulation: every event in a canonical text, a line each, and the running hash of all of them.

Promised: the same run gives the same bytes in every interpreter, whatever PYTHONHASHSEED is. So no value may be in it
whose text is of this interpreter alone: a set is written sorted, and an object that has no text of its own is refused.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

__all__ = ["Trace", "canonical"]


class Trace:
    """What happened, line by line.

    Args:
        keep: how many of the latest lines are kept; None: all. The hash is over all in any case.
        write: called with each line, without a line end; a file's, say.
    """

    def __init__(self, keep: int | None = 1000, write: Callable[[str], object] | None = None) -> None:
        self.lines: deque[str] = deque(maxlen=keep)
        self.count = 0
        self._write = write
        self._hash = hashlib.sha256()

    def add(self, now: float, what: str, *about: Any) -> None:
        """Add a line: the moment, what happened, and to whom and with what."""
        line = f"{now:.9f} {what}"
        for value in about:
            line += " " + (value if type(value) is str else canonical(value))
        self.count += 1
        self.lines.append(line)
        self._hash.update(line.encode("utf-8", "surrogatepass") + b"\n")
        if self._write is not None:
            self._write(line)

    @property
    def digest(self) -> str:
        """The hash of all lines so far, in hexadecimal."""
        return self._hash.hexdigest()

    def text(self) -> str:
        """The lines that were kept."""
        return "".join(f"{line}\n" for line in self.lines)


def canonical(value: Any) -> str:
    """The text of a value, the same everywhere.

    >>> canonical(({"b", "a"}, 1.5, None))
    "({'a', 'b'}, 1.5, None)"

    Raises TypeError for an object without a text of its own.
    """
    kind = type(value)
    if kind in _PLAIN:
        return repr(value)
    if isinstance(value, tuple):
        name = kind.__name__ if kind is not tuple else ""
        inner = ", ".join(map(canonical, value))
        return f"{name}({inner},)" if len(value) == 1 and not name else f"{name}({inner})"
    if kind is list:
        return f"[{', '.join(map(canonical, value))}]"
    if isinstance(value, set | frozenset):
        return "{" + ", ".join(sorted(map(canonical, value))) + "}"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{canonical(key)}: {canonical(value[key])}" for key in value) + "}"
    if is_dataclass(value) and not isinstance(value, type):
        inner = ", ".join(f"{field.name}={canonical(getattr(value, field.name))}" for field in fields(value))
        return f"{kind.__name__}({inner})"
    if "__repr__" not in {name for base in kind.__mro__[:-1] for name in vars(base)}:
        raise TypeError(f"a {kind.__name__} has no text that is the same in every run: give it a __repr__")
    return repr(value)


_PLAIN = frozenset({str, bytes, int, float, bool, type(None)})
