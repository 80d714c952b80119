"""Nodes that are stopped, killed, and started again under their name."""

from __future__ import annotations

import time

from partisan_actors import NodeDown, NodeUp, NoProcess, Remote, Undelivered, monitor_nodes, receive, send
from partisan_actors.behaviours import call
from tests.conditions import wait_until
from tests.faults.talkers import item
from tests.faults.traffic import Residue, Traffic, warm_up
from tests.integration.programs import NodeProgram, Programs
from tests.nodes import Nodes, session_between
import pytest

CHANNELS = [{"name": "default"}, {"name": "bulk", "parallelism": 4}]
