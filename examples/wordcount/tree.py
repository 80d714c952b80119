"""Who supervises whom, and on which node it runs.

Job                        rest_for_one, on the first node
├── coordinator            on the first node
└── Workers                one_for_one, on the first node
    ├── left-1, left-2     on the node "left", or else on "right"
    └── right-1, right-2   on the node "right", or else on "left"
"""

from examples.wordcount.coordinator import Coordinator
from examples.wordcount.counting import Worker
from partisan_actors import Pid, Remote
from partisan_actors.behaviours import ChildSpec, Supervisor

FIRST, LEFT, RIGHT = "first@127.0.0.1", "left@127.0.0.1", "right@127.0.0.1"
# A worker, and the nodes that it may run on, the preferred one first.
PLACES = {
    "left-1": [LEFT, RIGHT],
    "left-2": [LEFT, RIGHT],
    "right-1": [RIGHT, LEFT],
    "right-2": [RIGHT, LEFT],
}


class Workers(Supervisor):
    """Keeps the workers running, each by itself."""

    def init(self) -> list[ChildSpec]:
        coordinator = Remote("coordinator", FIRST)
        return [ChildSpec(worker, (Worker, worker, coordinator), node=nodes) for worker, nodes in PLACES.items()]


class Job(Supervisor):
    """All of the work. A coordinator that starts again knows no worker, so they start again after it."""

    strategy = "rest_for_one"

    def init(self, paths: list[str], observer: Pid) -> list[ChildSpec]:
        return [
            ChildSpec("coordinator", (Coordinator, paths, observer), kwargs={"name": "coordinator"}),
            ChildSpec("workers", Workers, type="supervisor"),
        ]
