"""The command: `python -m benchmarks.distribution [--erlang FILE] [--wan FILE] [--peers FOLDER --peer NAME=PYTHON]`.

Two OS processes, on loopback and over an emulated WAN: ours, a bare socket's ping-pong, Erlang's distribution and the
Python peers, in turns, several times. JSON lines and tables go to standard output. No figure is judged: the exit status
is 1 only when something could not be measured, or not wholly.

`--erlang` names a script that runs Erlang's benches (`run.sh two-nodes -b ...`, TSV to standard output), `--wan` one
that runs a command with loopback delayed (`in-wan.sh MICROSECONDS COMMAND...`), `--peers` the folder of the peers'
files, and `--peer` one of them with the interpreter that has it installed.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import perf_counter

from rich.console import Console

from benchmarks import pair
from benchmarks.comparison import Figures, json_lines, peers_table, ratios_table, systems_table
from benchmarks.peers import OURS_AS_A_PEER, Peer, our_file, run_peer
from benchmarks.systems import Result, Run, run_erlang, run_floor, run_ours


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.distribution",
        description="Measure two nodes in two OS processes, beside Erlang's and Python's, in turns.",
    )
    parser.add_argument("--erlang", type=Path, metavar="FILE", help="the script of Erlang's benches")
    parser.add_argument("--wan", type=Path, metavar="FILE", help="the script that delays loopback")
    parser.add_argument("--peers", type=Path, metavar="FOLDER", help="where _common.py and the peers' files are")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON", help="bench_NAME.py there, and "
                        "the interpreter that has this peer installed; may be given again")  # fmt: skip
    parser.add_argument("--round-trips", metavar="MS,MS", help="0 is plain loopback. With --wan 0,1,20 by default")
    parser.add_argument("--repeat", type=int, default=3, metavar="N")
    parser.add_argument("--seconds", type=float, default=1.0, help="for each bench")
    parser.add_argument("--only", action="append", choices=list(pair.BENCHES), metavar="NAME")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the JSON lines there, too")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)  # what the command runs
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)  # and that as its own
    parser.add_argument("--floor", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    default = "0" if options.wan is None else "0,1,20"
    options.round_trips = [float(text) for text in (options.round_trips or default).split(",")]
    if any(options.round_trips) and options.wan is None:
        parser.error("--round-trips other than 0 need --wan")
    options.peer = [peer_of(options.peers, text, parser) for text in options.peer]
    return options


def peer_of(folder: Path | None, text: str, parser: argparse.ArgumentParser) -> Peer:
    """The peer that an argument names."""
    name, _, python = text.partition("=")
    if folder is None or not name or not python:
        parser.error(f"--peer takes NAME=PYTHON, beside --peers FOLDER; not {text}")
    file = folder / f"bench_{name}.py"
    if not file.is_file():
        parser.error(f"there is no {file}")
    return Peer(name, file, python)


# What the children run.


@contextmanager
def serving() -> Iterator[str]:
    """The other node, for the block; gives its address."""
    command = [sys.executable, "-m", "benchmarks.distribution", "--serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdin is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()
            process.wait(timeout=10)


def floor(seconds: float) -> dict[str, float]:
    """A bare socket's ping-pong of 100 bytes, in two threads, which never wait for each other's computing."""
    listener = socket.create_server(("127.0.0.1", 0))

    def echo() -> None:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data := connection.recv(65536):
            connection.sendall(data)

    threading.Thread(target=echo, daemon=True).start()
    client = socket.create_connection(listener.getsockname())
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    times: list[float] = []
    began = perf_counter()
    while (now := perf_counter()) - began < seconds:
        client.sendall(b"x" * 100)
        client.recv(65536)
        times.append(perf_counter() - now)
    client.close()
    elapsed = perf_counter() - began
    return {
        "per_s": len(times) / elapsed,
        "p50_us": pair.percentile(times, 0.5),
        "p99_us": pair.percentile(times, 0.99),
    }


def run_child(options: argparse.Namespace, names: list[str]) -> bool:
    """Do a child's work, if that is what is asked for."""
    if options.serve:
        pair.serve()
    elif options.floor:
        print(json.dumps(floor(options.seconds)))
    elif options.measure:
        with serving() as address:
            print(json.dumps(pair.measure(address, names, options.seconds)))
    return bool(options.serve or options.floor or options.measure)


# The command.


def systems_of(options: argparse.Namespace) -> dict[str, Callable[[Run], Result]]:
    """Who is measured, in the order of the first round."""
    systems: dict[str, Callable[[Run], Result]] = {"partisan_actors": run_ours, "socket": run_floor}
    if options.erlang is not None:
        systems["erlang"] = partial(run_erlang, options.erlang)
    if options.peers is not None:
        systems[OURS_AS_A_PEER] = partial(run_peer, our_file(options.peers, sys.executable))
    return systems | {peer.name: partial(run_peer, peer) for peer in options.peer}


def collect(options: argparse.Namespace, names: list[str]) -> tuple[Figures, dict[str, str], list[str]]:
    """Every figure of every round, the versions that systems told, and what could not be measured.

    Each round begins with another system, so that none always comes right after the same.
    """
    figures: Figures = {}
    versions: dict[str, str] = {}
    failures: list[str] = []
    systems = list(systems_of(options).items())
    for number in range(options.repeat):
        first = number % len(systems)
        for round_trip in options.round_trips:
            run = Run(names, options.seconds, round_trip, options.wan)
            for system, measure in systems[first:] + systems[:first]:
                print(f"round {number + 1} of {options.repeat}, {run.network}: {system}", file=sys.stderr)
                result = measure(run)
                failures += [f"round {number + 1}, {run.network}: {failure}" for failure in result.failures]
                if result.version:
                    versions[system] = result.version
                for bench, metrics in result.benches.items():
                    for metric, value in metrics.items():
                        figures.setdefault((run.network, system, bench, metric), {})[number] = value
    return figures, versions, failures


def main() -> int:
    """The command; its exit status."""
    options = parse_arguments()
    names = options.only or list(pair.BENCHES)
    if run_child(options, names):
        return 0
    os.environ["PARTISAN_COOKIE"] = secrets.token_hex(32)
    figures, versions, failures = collect(options, names)
    lines = list(json_lines(figures, versions))
    print("\n".join(lines))
    if options.json is not None:
        options.json.write_text("\n".join(lines) + "\n")
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 160
    console.print(systems_table(figures))
    console.print(ratios_table(figures))
    if options.peers is not None:
        console.print(peers_table(figures, OURS_AS_A_PEER, [peer.name for peer in options.peer], versions))
    for failure in failures:
        print(f"not measured, or not wholly: {failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
