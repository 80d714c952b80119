"""Channels: what is sent in bulk on one does not hold up calls on another. And messages that are acknowledged.

Run it without arguments: it starts the second node itself, as `python channels.py serve`.
"""

import os
import secrets
import subprocess
import sys
from time import perf_counter

from partisan_actors import Channel, Node, Remote, Undelivered, receive, register, self_pid, send, spawn_link
from partisan_actors.behaviours import GenServer, call

CHANNELS = (Channel("bulk"), Channel("control", priority=1))  # both nodes declare them
STORE = Remote("store", "server@127.0.0.1")
PARTS = 200
PART = bytes(1 << 20)


class Store(GenServer):
    """Keeps what it is sent: parts of a film, which it counts, and orders."""

    def init(self):
        self.parts, self.orders = 0, []

    def handle_info(self, message):
        match message:
            case bytes():
                self.parts += 1
            case ("order", what):
                self.orders.append(what)

    def handle_call(self, request, caller):
        return self.parts if request == "parts" else self.orders


def serve():
    with Node("server@127.0.0.1", channels=CHANNELS) as node:
        Store.start(name="store")
        register("main", self_pid())
        print(node.address, flush=True)  # the other node reads it
        receive()  # until it is killed


def upload():
    for _ in range(PARTS):
        send(STORE, PART, channel="bulk")  # waits while too much is on its way


def calls_meanwhile():
    """How many calls were answered while the parts were on their way, and how long the slowest of them took."""
    spawn_link(upload)
    stored, times = 0, []
    while stored < PARTS:
        began = perf_counter()
        stored = call(STORE, "parts", channel="control")
        times.append(perf_counter() - began)
    return len(times), max(times)


def main():
    os.environ.setdefault("PARTISAN_COOKIE", secrets.token_hex(32))  # the child gets it too
    child = subprocess.Popen([sys.executable, __file__, "serve"], stdout=subprocess.PIPE, text=True)
    address = child.stdout.readline().strip()
    try:
        with Node("client@127.0.0.1", channels=CHANNELS) as node:
            send(STORE, ("order", "popcorn"), ack=True)  # there is no connection yet: it is kept until there is one
            node.join(address)
            number, slowest = calls_meanwhile()
            print(f"{PARTS} parts of 1 MiB stored, {number} calls answered meanwhile, the slowest in {slowest:.3f} s")
            print("orders:", call(STORE, "orders"))
            send(Remote("nobody", STORE.node), "hello", ack=True)
            print("not delivered:", receive(Undelivered).reason)  # without `ack` nobody would have told
    finally:
        child.kill()


if __name__ == "__main__":
    serve() if sys.argv[1:] == ["serve"] else main()
