"""The servers that count. This module is all that the other nodes run of the program."""

from typing import Any

from examples.wordcount.corpus import count_words
from partisan_actors import Remote, self_pid
from partisan_actors.behaviours import GenServer, cast


class Worker(GenServer):
    """Counts the words of what it is given. It keeps nothing, so another can take its place at any time."""

    def init(self, worker: str, coordinator: Remote) -> None:
        # Whoever started it, and wherever: the coordinator hears of it from itself.
        cast(coordinator, ("ready", worker, self_pid()))

    def handle_call(self, content: bytes, caller: Any) -> dict[str, int]:
        return dict(count_words(content))
