"""Two nodes in two OS processes: one serves, the other joins it and calls.

Run it without arguments: it starts the second node itself, as `python two_nodes.py serve`.
"""

import os
import secrets
import subprocess
import sys

from partisan_actors import Node, NodeDown, Remote, monitor_nodes, receive, register, self_pid, send
from partisan_actors.behaviours import GenServer, call


class Greeter(GenServer):
    def init(self):
        self.greeted = []

    def handle_call(self, name, caller):
        self.greeted.append(name)
        return f"hello {name}, from {self_pid().node}", tuple(self.greeted)


def serve():
    with Node("server@127.0.0.1", listen="127.0.0.1:0") as node:
        register("main", self_pid())
        Greeter.start(name="greeter")
        print(node.address, flush=True)  # the other node reads it
        receive()  # until the other node says that it is done


def main():
    os.environ.setdefault("PARTISAN_COOKIE", secrets.token_hex(32))  # the child gets it too
    child = subprocess.Popen([sys.executable, __file__, "serve"], stdout=subprocess.PIPE, text=True)
    address = child.stdout.readline().strip()
    try:
        with Node("client@127.0.0.1") as node:
            node.join(address)
            monitor_nodes()
            print(node.members())
            greeter = Remote("greeter", "server@127.0.0.1")
            print(call(greeter, "Ada"))
            print(call(greeter, "Grace"))
            send(Remote("main", "server@127.0.0.1"), "done")
            print(receive(NodeDown))
    finally:
        child.kill()


if __name__ == "__main__":
    serve() if sys.argv[1:] == ["serve"] else main()
