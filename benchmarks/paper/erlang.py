"""Erlang's own distribution in two virtual machines on 127.0.0.1, with a port mapper of their own.

Three configurations:

- disterl: as it is out of the box. Since OTP 22 large messages travel in fragments of 64 KiB, and the kernel sizes
  the sockets' buffers.
- disterl_untuned: one connection as the paper in effect had it. Its echo moved 45 requests of 512 KB a second at a
  round trip of 20 ms, and 3 to 5 of 8 MB: 24 to 43 MB/s. `sndbuf` and `recbuf` of 512 KiB, which the kernel then
  leaves alone, move 33 to 36 MB/s there; what Linux gives a socket to begin with, 208 KiB, moves 11. `buffer`, the
  driver's own, is OTP's 1,460 bytes. Messages are fragmented all the same, which an Erlang of before OTP 22 did not do,
  and the paper's echo also went through a Riak Core vnode.
- disterl_tuned: buffers of 4 MiB, and 1 GiB in the port's queue before senders are suspended.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

from benchmarks.paper.records import Order

__all__ = ["compile_workloads", "installed", "measure", "vm_flags"]

NEAR, FAR = "near@127.0.0.1", "far@127.0.0.1"
_SOURCE = Path(__file__).with_name("paper.erl")
_PROGRAMS = ("erl", "erlc", "epmd")
_BUFFERS = {
    "disterl": "",
    "disterl_untuned": "[{sndbuf,524288},{recbuf,524288},{buffer,1460}]",
    "disterl_tuned": "[{sndbuf,4194304},{recbuf,4194304},{buffer,262144},{nodelay,true}]",
}


def installed() -> bool:
    """Whether there is an Erlang to measure."""
    return all(map(shutil.which, _PROGRAMS))


def compile_workloads(folder: str) -> None:
    """Put the compiled paper.erl there."""
    subprocess.run(["erlc", "-o", folder, str(_SOURCE)], check=True)


def vm_flags(transport: str) -> list[str]:
    """What sets a configuration apart from Erlang out of the box."""
    buffers = _BUFFERS[transport]
    flags = ["+zdbbl", "1048576"] if transport == "disterl_tuned" else []
    for option in ("inet_dist_connect_options", "inet_dist_listen_options"):
        flags += ["-kernel", option, buffers] if buffers else []
    return flags


def measure(order: Order) -> None:
    """Measure the cells; a line for each goes to standard output."""
    with _port_mapper() as environment:
        command = ["erl", *vm_flags(order.transport), "-noinput", "-start_epmd", "false", "-pa", order.code]
        command += ["-kernel", "inet_dist_use_interface", "{127,0,0,1}", "-kernel", "logger_level", "error"]
        command += ["-setcookie", secrets.token_hex(16)]
        with _answering(command, environment) as far:
            near = [*command, "-name", NEAR, *_ordered(order, far), "-eval", "paper:main()."]
            subprocess.run(near, env=environment, check=True)


def _ordered(order: Order, far: int) -> list[str]:
    """The flags that paper.erl reads."""
    cells = ",".join(f"{cell.size}:{cell.actors}" for cell in order.cells)
    flags = {"other": FAR, "other_process": far, "workload": order.workload, "cells": cells}
    flags |= {"seconds": round(order.seconds * 1e6), "limit": round(order.limit * 1e6)}
    return [text for name, value in flags.items() for text in (f"-{name}", str(value))]


@contextmanager
def _answering(command: list[str], environment: dict[str, str]) -> Iterator[int]:
    """The other virtual machine, for the block; gives the number of its OS process."""
    far = [*command, "-name", FAR, "-eval", 'io:format("ready~n").']
    with subprocess.Popen(far, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            if process.stdout.readline().strip() != "ready":
                raise RuntimeError("the other virtual machine did not start")
            yield process.pid
        finally:
            process.kill()


@contextmanager
def _port_mapper() -> Iterator[dict[str, str]]:
    """An epmd on a free port, for the block: the environment that finds it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    environment = os.environ | {"ERL_EPMD_ADDRESS": "127.0.0.1", "ERL_EPMD_PORT": str(port)}
    silent = subprocess.DEVNULL  # it complains of connections that ask nothing, as _await_listener's
    with subprocess.Popen(["epmd"], env=environment, stdin=silent, stdout=silent, stderr=silent) as process:
        try:
            _await_listener(port)
            yield environment
        finally:
            process.terminate()


def _await_listener(port: int) -> None:
    deadline = monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            if monotonic() > deadline:
                raise
            sleep(0.02)
        else:
            return
