"""The command: `python -m benchmarks [--quick] [--only NAME] [--json FILE]`.

JSON lines and a table go to standard output, what is going on to standard error. Targets are shown and not judged:
the exit status is 1 only when something could not be measured at all.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path

from rich.console import Console

from benchmarks.catalogue import BENCHES, measure
from benchmarks.measuring import FULL, SMOKE
from benchmarks.report import json_lines, table
from benchmarks.rounds import run_rounds

_SERVERS = {"partisan_actors": "benchmarks.remote", "gevent": "benchmarks.socket_floors"}


def parse_arguments() -> argparse.Namespace:
    names = ", ".join(bench.name for bench in BENCHES)
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure partisan_actors beside bare gevent and Pykka, in turns.",
        epilog=f"The benches: {names}. The groups: {', '.join(dict.fromkeys(bench.group for bench in BENCHES))}.",
    )
    parser.add_argument("--repeat", type=int, default=None, metavar="N", help="rounds; 5 by default")
    parser.add_argument("--quick", action="store_true", help="2 rounds")
    parser.add_argument("--only", action="append", metavar="NAME", help="a bench, or a group; may be given again")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the JSON lines there, too")
    parser.add_argument("--list", action="store_true", help="say what each bench is, and stop")
    parser.add_argument("--smoke", action="store_true", help="only see whether everything runs")
    parser.add_argument("--measure", metavar="SYSTEM", help=argparse.SUPPRESS)  # what the command runs, as its child
    parser.add_argument("--serve", metavar="SYSTEM", help=argparse.SUPPRESS)  # and that as its own
    parser.add_argument("names", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.names and not options.measure:
        parser.error(f"unexpected: {' '.join(options.names)}; name a bench by --only")
    if options.repeat is not None and options.repeat < 1:
        parser.error("--repeat takes 1 or more")
    unknown = set(options.only or ()) - {name for bench in BENCHES for name in (bench.name, bench.group)}
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; --list says what there is")
    return options


def list_benches(console: Console) -> None:
    """Say what each one is."""
    for bench in BENCHES:
        console.print(f"[bold]{bench.name}[/bold] ({bench.group}, {bench.unit}): {bench.meaning}")


def main() -> int:
    """The command; its exit status."""
    options = parse_arguments()
    if options.serve:
        import_module(_SERVERS[options.serve]).serve()
        return 0
    if options.measure:
        print(json.dumps(measure(options.measure, options.names, SMOKE if options.smoke else FULL)))
        return 0
    console, progress = Console(highlight=False), Console(stderr=True, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = 160  # a file has no edge
    if options.list:
        list_benches(console)
        return 0
    os.environ["PARTISAN_COOKIE"] = secrets.token_hex(32)
    rounds = options.repeat or (1 if options.smoke else 2 if options.quick else 5)
    only = options.only or [bench.group for bench in BENCHES]
    wanted = {bench.name for bench in BENCHES if bench.name in only or bench.group in only}
    outcome = run_rounds(wanted, rounds, options.smoke, progress.print)
    with options.json.open("w") if options.json else nullcontext() as file:
        for line in json_lines(outcome.figures):
            print(line)
            if file is not None:
                print(line, file=file)
    console.print(table(outcome.figures))
    for failure in outcome.failures:
        progress.print(f"could not be measured: {failure}")
    return 1 if outcome.failures else 0


if __name__ == "__main__":
    sys.exit(main())
