"""All figures: `python -m benchmarks.figures`, of the Partisan paper (`benchmarks.paper`) and of overlays.

    --figures 1,3,xbot       some: numbers are of the Partisan paper, names are experiments on overlays
    --redraw, --smoke, --results FOLDER              go to both commands
    --wan FILE, --repeat N, --seconds S, --limit S   to the paper's
    --jobs N, --resume                               to that of overlays

Both measure anew, unless overlays are to `--resume`: then only those runs are made that the folder does not have.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

__all__ = ["commands", "main"]

_PAPER = tuple("12345678")
_OF_PAPER = ("wan", "repeat", "seconds", "limit")


def commands(arguments: list[str]) -> list[list[str]]:
    """The modules to run, with their arguments."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.figures", description=__doc__.splitlines()[0])
    parser.add_argument("--figures", metavar="N,NAME", help="numbers of the Partisan paper, names of experiments")
    parser.add_argument("--results", metavar="FOLDER")
    parser.add_argument("--redraw", action="store_true", help="only draw what was measured last")
    parser.add_argument("--smoke", "--quick", action="store_true", help="only see whether everything runs")
    for name in _OF_PAPER:
        parser.add_argument(f"--{name}", help="see python -m benchmarks.paper --help")
    parser.add_argument("--jobs", metavar="N", help="experiments on overlays at once")
    parser.add_argument("--resume", action="store_true", help="run what is missing of the experiments on overlays")
    options = parser.parse_args(arguments)
    chosen = [] if options.figures is None else options.figures.split(",")
    numbers = [one for one in chosen if one in _PAPER]
    names = [one for one in chosen if one not in _PAPER]
    both = ["--redraw"] * options.redraw + ["--smoke"] * options.smoke + _given(options, "results")
    paper = [
        "benchmarks.paper",
        *both,
        *_given(options, *_OF_PAPER),
        *(["--figures", ",".join(numbers)] * bool(numbers)),
    ]
    anew = [] if options.resume or options.redraw else ["--again"]
    only = ["--only", ",".join(names)] * bool(names)
    overlays = ["benchmarks.overlays", "figures", *both, *anew, *_given(options, "jobs"), *only]
    return [paper] * bool(numbers or not chosen) + [overlays] * bool(names or not chosen)


def _given(options: argparse.Namespace, *names: str) -> list[str]:
    given = [(f"--{name}", getattr(options, name)) for name in names]
    return [text for name, value in given if value is not None for text in (name, value)]


def main() -> int:
    """Run them one after the other; 1 when one has failed."""
    statuses = [
        subprocess.run([sys.executable, "-m", *command], check=False).returncode for command in commands(sys.argv[1:])
    ]
    return max(statuses)


if __name__ == "__main__":
    sys.exit(main())
