"""Twelve nodes that have links to three others each, and yet everybody calls everybody, and hears what is broadcast.

Three of them end without a word, and the rest close the gaps; then the whole cluster moves to another overlay. All of
it is in this one OS process: the nodes talk over TCP all the same. Run it without arguments.
"""

import os
import secrets
from time import monotonic

import gevent

from partisan_actors import Node, Remote, current_node
from partisan_actors.behaviours import GenServer, call
from partisan_actors.broadcast import BroadcastHandler, broadcast, register_handler
from partisan_actors.topologies import FullMesh, HyParView

FEW = HyParView(active_size=3, passive_size=12)  # the same for all nodes
heard = []  # by which nodes; their handlers all run in this OS process


class Greeter(GenServer):
    def handle_call(self, name, caller):
        return f"hello {name}, from {current_node()}"


class News(BroadcastHandler):
    def handle(self, message):
        heard.append((current_node(), message))


def wait_until(condition, seconds=20.0):
    ends = monotonic() + seconds
    while not condition():
        if monotonic() > ends:
            raise TimeoutError
        gevent.sleep(0.01)


def call_everybody(nodes):
    return [call(Remote("greeter", node.name), "Ada", timeout=15.0) for node in nodes]


def spread(source, message, nodes):
    """Broadcast from one of them, and see that all get it."""
    heard.clear()
    source.run(broadcast, message, News)
    wait_until(lambda: len(heard) >= len(nodes))
    print(f"{message}: heard on {len(set(heard))} nodes, {len(heard)} times in all")


def main():
    os.environ.setdefault("PARTISAN_COOKIE", secrets.token_hex(32))
    nodes = []
    for number in range(12):
        node = Node(f"n{number}@127.0.0.1", topology=FEW).start()
        node.run(Greeter.start, name="greeter")
        node.run(register_handler, News)
        if nodes:
            node.join(nodes[0].address)
        nodes.append(node)
    wait_until(lambda: all(len(node.members()) == 12 for node in nodes))
    gevent.sleep(1)  # the last links find their places

    # Those without a link between them talk over others.
    answers = [answer for node in nodes for answer in node.run(call_everybody, nodes)]
    print(f"{len(answers)} calls answered, the last one: {answers[-1]}")
    print("links of each node:", [len(node.neighbours()) for node in nodes])
    spread(nodes[0], "twelve", nodes)

    dead, left = nodes[:3], nodes[3:]
    for node in dead:
        node.abandon()  # as if its OS process was killed: it says nothing to anybody
    wait_until(lambda: all(len(node.members()) == 9 for node in left))
    print("members now:", len(left[0].members()))
    spread(left[0], "nine", left)
    print(left[-1].run(call_everybody, left)[0])

    left[0].switch_topology(FullMesh())  # for all of them; nothing is lost meanwhile
    wait_until(lambda: all(len(node.neighbours()) == 8 for node in left))
    print("links of each node:", [len(node.neighbours()) for node in left])
    for node in left:
        node.stop()


if __name__ == "__main__":
    main()
