"""A global name that moves: the server registered as Global("billing") lives on one of two nodes;
when that node is killed its supervisor starts it on the other, and callers find it under the same name.

Run it without arguments: it starts two nodes in OS processes of their own, and kills one.
"""

import os
import secrets
import subprocess
import sys

from billing import Billing

from partisan_actors import CallError, Global, Node, receive, sleep, whereis
from partisan_actors.behaviours import ChildSpec, Supervisor, call


def serve(name):
    # Only what is listed here may other nodes start on this one.
    with Node(name, spawnable=("billing.*",)) as node:
        print(node.address, flush=True)
        receive()


def start_node(name):
    child = subprocess.Popen([sys.executable, __file__, name], stdout=subprocess.PIPE, text=True)
    return child, child.stdout.readline().strip()


def bill(what):
    while True:
        try:
            return call(Global("billing"), what)
        except CallError as error:
            print("not now:", type(error).__name__)  # its node is down, or it is on its way to the other one
            sleep(0.1)


def main():
    os.environ.setdefault("PARTISAN_COOKIE", secrets.token_hex(32))  # the children get it too
    children = {name: start_node(name) for name in ("left@127.0.0.1", "right@127.0.0.1")}
    try:
        with Node("main@127.0.0.1") as node:
            for _, address in children.values():
                node.join(address)
            # `node` is where it may run, in order of preference.
            Supervisor.start_link(
                [ChildSpec("billing", Billing, kwargs={"name": Global("billing")}, node=list(children))]
            )
            print(bill("a book"))
            home = whereis(Global("billing")).node
            print("killing", home)
            children[home][0].kill()  # SIGKILL: it cannot say goodbye
            print(bill("a pen"))
    finally:
        for child, _ in children.values():
            child.kill()


if __name__ == "__main__":
    serve(sys.argv[1]) if sys.argv[1:] else main()
