"""The command: `python -m benchmarks.distribution [--erlang RUN.SH] [--wan IN-WAN.SH]`.

Two OS processes, on loopback and over an emulated WAN: ours, a bare socket's ping-pong, and Erlang's distribution, in
turns, several times. JSON lines and a table go to standard output. Nothing is asserted.

`--erlang` names a script that runs Erlang's benches (`run.sh two-nodes -b ...`, TSV to standard output), `--wan` one
that runs a command with loopback delayed (`in-wan.sh MICROSECONDS COMMAND...`).
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import socket
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

from rich.console import Console
from rich.table import Table

from benchmarks import pair

ERLANG_NAMES = {
    "gs_call C=1": "call_1",
    "gs_call C=16": "call_16",
    "gs_call C=128": "call_128",
    "cast S=100 C=1": "cast_100B",
    "cast S=1024 C=1": "cast_1KiB",
    "cast S=1048576 C=1": "bulk_1",
    "cast S=1048576 C=16": "bulk_16",
    "hol flood=16x1MiB small_on=same": "mixed_one_connection",
}
ERLANG_METRICS = {
    "per_s": "per_s",
    "p50_us": "p50_us",
    "p99_us": "p99_us",
    "msgs_per_s": "per_s",
    "mb_per_s": "mb_per_s",
    "echo_p50_us": "p50_us",
    "echo_p99_us": "p99_us",
    "flood_mb_per_s": "bulk_mb_per_s",
}

Key = tuple[str, str, str, str]  # network, system, bench, metric


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.distribution", description=__doc__)
    parser.add_argument("--erlang", type=Path, metavar="FILE", help="the script of Erlang's benches")
    parser.add_argument("--wan", type=Path, metavar="FILE", help="the script that delays loopback")
    parser.add_argument("--round-trips", default="0,20", metavar="MS,MS", help="0 is plain loopback")
    parser.add_argument("--repeat", type=int, default=3, metavar="N")
    parser.add_argument("--seconds", type=float, default=1.0, help="for each bench")
    parser.add_argument("--only", action="append", choices=list(pair.BENCHES), metavar="NAME")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the JSON lines there, too")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)  # what the command runs
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)  # and that as its own
    parser.add_argument("--floor", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


# Ours, in the child that measures.


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


# The command.


def behind(wan: Path | None, milliseconds: float, command: list[str]) -> list[str]:
    """The command, delayed by so much."""
    if not milliseconds:
        return command
    assert wan is not None, "--round-trips other than 0 need --wan"
    return [str(wan), str(int(milliseconds * 500)), *command]


def run_ours(options: argparse.Namespace, milliseconds: float, names: list[str]) -> dict[str, dict[str, float]]:
    """Measure ours in a child."""
    command = [sys.executable, "-m", "benchmarks.distribution", "--measure", "--seconds", str(options.seconds)]
    for name in names:
        command += ["--only", name]
    output = subprocess.run(behind(options.wan, milliseconds, command), capture_output=True, text=True, check=False)
    if output.returncode:
        print(output.stderr, file=sys.stderr)
        return {}
    measured: dict[str, dict[str, float]] = json.loads(output.stdout.splitlines()[-1])
    return measured


def run_floor(options: argparse.Namespace, milliseconds: float) -> dict[str, dict[str, float]]:
    """Measure the bare socket in a child."""
    command = [sys.executable, "-m", "benchmarks.distribution", "--floor", "--seconds", str(options.seconds)]
    output = subprocess.run(behind(options.wan, milliseconds, command), capture_output=True, text=True, check=False)
    return {"call_1": json.loads(output.stdout.splitlines()[-1])} if not output.returncode else {}


def run_erlang(options: argparse.Namespace, milliseconds: float) -> dict[str, dict[str, float]]:
    """Let Erlang measure itself."""
    flags = ["-b", "call,cast,hol", "-cs", "1,16,128", "-ss", "100,1024,1048576", "-hol", "16", "-ms"]
    command = [str(options.erlang), "two-nodes", *flags, str(int(options.seconds * 1000))]
    environment = os.environ | {"RUNS": "1"}
    output = subprocess.run(
        behind(options.wan, milliseconds, command), capture_output=True, text=True, check=False, env=environment
    )
    figures: dict[str, dict[str, float]] = {}
    for line in output.stdout.splitlines():
        fields = line.split("\t")
        if len(fields) >= 4 and fields[1] in ERLANG_NAMES and fields[2] in ERLANG_METRICS:
            figures.setdefault(ERLANG_NAMES[fields[1]], {})[ERLANG_METRICS[fields[2]]] = float(fields[3])
    return figures


def collect(options: argparse.Namespace, names: list[str]) -> dict[Key, list[float]]:
    """Every figure of every round."""
    figures: dict[Key, list[float]] = {}
    for number in range(options.repeat):
        for milliseconds in map(float, options.round_trips.split(",")):
            network = f"{milliseconds:g} ms" if milliseconds else "loopback"
            print(f"round {number + 1} of {options.repeat}, {network}", file=sys.stderr)
            measured = {"partisan_actors": run_ours(options, milliseconds, names)}
            measured["socket"] = run_floor(options, milliseconds)
            if options.erlang is not None:
                measured["erlang"] = run_erlang(options, milliseconds)
            for system, benches in measured.items():
                for bench, metrics in benches.items():
                    for metric, value in metrics.items():
                        figures.setdefault((network, system, bench, metric), []).append(value)
    return figures


def line_of(key: Key, values: list[float]) -> dict[str, object]:
    """What a JSON line says of a figure."""
    network, system, bench, metric = key
    named = {"network": network, "system": system, "bench": bench, "metric": metric, "runs": len(values)}
    return named | {"median": statistics.median(values), "min": min(values), "max": max(values)}


def shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:,.2f}"


def table(figures: dict[Key, list[float]]) -> Table:
    """Medians, and the lowest and the highest."""
    made = Table("network", "bench", "metric", "partisan_actors", "erlang", "socket", "/ erlang", "/ socket")
    rows = dict.fromkeys((network, bench, metric) for network, _, bench, metric in figures)
    for network, bench, metric in rows:
        cells, medians = [], {}
        for system in ("partisan_actors", "erlang", "socket"):
            values = figures.get((network, system, bench, metric))
            if values is None:
                cells.append("-")
                continue
            medians[system] = statistics.median(values)
            cells.append(f"{shown(medians[system])} ({shown(min(values))}-{shown(max(values))})")
        ours = medians.get("partisan_actors")
        for other in ("erlang", "socket"):
            ratio = ours / medians[other] if ours is not None and medians.get(other) else None
            cells.append(f"{ratio:.2f}" if ratio is not None else "")
        made.add_row(network, bench, metric, *cells)
    return made


def main() -> int:
    """The command; its exit status."""
    options = parse_arguments()
    names = options.only or list(pair.BENCHES)
    if options.serve:
        pair.serve()
        return 0
    if options.floor:
        print(json.dumps(floor(options.seconds)))
        return 0
    if options.measure:
        with serving() as address:
            print(json.dumps(pair.measure(address, names, options.seconds)))
        return 0
    os.environ["PARTISAN_COOKIE"] = secrets.token_hex(32)
    figures = collect(options, names)
    lines = [json.dumps(line_of(key, values)) for key, values in figures.items()]
    print("\n".join(lines))
    if options.json is not None:
        options.json.write_text("\n".join(lines) + "\n")
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 160
    console.print(table(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
