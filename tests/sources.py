"""The source as trees, each file's parsed once, for the tests that look at it."""

from __future__ import annotations

import ast
import gc
from functools import cache
from pathlib import Path

__all__ = ["parsed"]


@cache
def parsed(path: Path) -> ast.Module:
    """The tree of a file; `parsed.cache_clear()` when nobody looks any more."""
    # A tree has no garbage, but thousands of new objects: to look for some meanwhile takes three times as long.
    collects = gc.isenabled()
    gc.disable()
    try:
        return ast.parse(path.read_text(encoding="utf-8"), str(path))
    finally:
        if collects:
            gc.enable()
