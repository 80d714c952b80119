"""Runs the Python source that it is given, as `python -c` does: `python -m tests.integration.source_program SOURCE`."""

from __future__ import annotations

import sys

import partisan_actors as _partisan_actors  # so that what programs are forked from has it

__all__ = ["main"]


def main() -> None:
    """Run it, in the place of this module."""
    assert _partisan_actors is not None
    exec(compile(sys.argv[1], "<string>", "exec"), {"__name__": "__main__"})


if __name__ == "__main__":
    main()
