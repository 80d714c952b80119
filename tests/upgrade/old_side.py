"""What the tests let the node of the version before do; so nothing here is newer than that version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import partisan_actors
from partisan_actors import Remote
from partisan_actors.behaviours import call

__all__ = ["ask_echo", "where"]


def where() -> str:
    """Where the package was found."""
    return str(Path(partisan_actors.__file__).parent.parent)


def ask_echo(node: str) -> list[Any]:
    """Ask a server of the new node."""
    here = Remote("here", node)
    large = b"z" * (2 << 20)
    assert call(here, ("echo", large)) == large
    return ["where", call(here, "where")]
