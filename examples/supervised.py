"""A supervised tree: a worker crashes, its supervisor starts it again, and callers hardly notice."""

from partisan_actors import Node, sleep, whereis
from partisan_actors.behaviours import ChildSpec, GenServer, Supervisor, call, cast


class Divider(GenServer):
    def init(self, dividend):
        self.dividend = dividend

    def handle_call(self, divisor, caller):
        return self.dividend / divisor

    def handle_cast(self, divisor):
        self.dividend /= divisor  # by zero: the server crashes, and starts again with its first state


class Shop(Supervisor):
    strategy = "one_for_one"

    def init(self):
        return [
            ChildSpec("hundred", (Divider, 100), kwargs={"name": "hundred"}),
            ChildSpec("thousand", (Divider, 1000), kwargs={"name": "thousand"}),
        ]


if __name__ == "__main__":
    with Node("supervised@127.0.0.1", listen=None):
        shop = Shop.start_link()
        before = whereis("hundred")
        print(call("hundred", 4))  # 25.0
        cast("hundred", 0)  # crashes it; the log shows the whole traceback
        while whereis("hundred") in (before, None):
            sleep(0.001)
        print(call("hundred", 4), "by", whereis("hundred"), "instead of", before)
        print([(child.id, child.type, child.restart) for child in Supervisor.which_children(shop)])
