"""A counter in fifteen lines: a server, a call, a cast."""

from partisan_actors import Node, UnknownRequest
from partisan_actors.behaviours import GenServer, call, cast


class Counter(GenServer):
    def init(self, start=0):
        self.count = start

    def handle_call(self, request, caller):
        match request:
            case ("add", n):
                self.count += n
                return self.count
            case _:
                raise UnknownRequest(request)

    def handle_cast(self, request):
        self.count = 0


if __name__ == "__main__":
    with Node("demo@127.0.0.1", listen=None):
        counter = Counter.start_link(10, name="counter")
        print(call(counter, ("add", 5)))  # 15
        cast("counter", "reset")
        print(call("counter", ("add", 1)))  # 1
