"""The server of `moving_name.py`, in a module of its own so that every node can import it."""

from partisan_actors import self_pid
from partisan_actors.behaviours import GenServer


class Billing(GenServer):
    def handle_call(self, request, caller):
        return f"{request} billed on {self_pid().node}"
