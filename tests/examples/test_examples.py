"""Each example is run as its reader would run it, and prints what its comments promise."""

from __future__ import annotations

import re

import pytest

from tests.examples.programs import ROOT, run

PID = r"<[\w-]+@127\.0\.0\.1 \d+>"
# By example: the lines it prints, each a regular expression, in this order; other lines, of logs, may stand between.
PRINTED = {
    "counter": ["15", "1"],
    "links": [
        r"quotient 2\.5",
        rf"linked process {PID} ended: ZeroDivisionError division by zero",
        rf"monitored process {PID} ended: normal",
    ],
    "supervised": [
        r"25\.0",
        rf"25\.0 by {PID} instead of {PID}",
        r"\[\('hundred', 'worker', 'permanent'\), \('thousand', 'worker', 'permanent'\)\]",
    ],
    "two_nodes": [
        r"\['client@127\.0\.0\.1', 'server@127\.0\.0\.1'\]",
        r"\('hello Ada, from server@127\.0\.0\.1', \('Ada',\)\)",
        r"\('hello Grace, from server@127\.0\.0\.1', \('Ada', 'Grace'\)\)",
        r"NodeDown\(node='server@127\.0\.0\.1', reason='leave'\)",
    ],
    "moving_name": [
        r"a book billed on left@127\.0\.0\.1",
        r"killing left@127\.0\.0\.1",
        r"a pen billed on right@127\.0\.0\.1",
    ],
    "ring_overlay": [
        r"n5@sim has links to \['n4@sim', 'n6@sim'\]",
        r"n5@sim has links to \['n3@sim', 'n6@sim'\]",
        r"\[\['bob@127\.0\.0\.1', 'cy@127\.0\.0\.1'\], .*\['ann@127\.0\.0\.1', 'bob@127\.0\.0\.1'\]\]",
        r"\[\['bob@127\.0\.0\.1'\], \['ann@127\.0\.0\.1'\]\]",
    ],
    "overlays": [
        r"144 calls answered, the last one: hello Ada, from n11@127\.0\.0\.1",
        r"links of each node: \[[1-5](, [1-5]){11}\]",
        "twelve: heard on 12 nodes, 12 times in all",
        "members now: 9",
        "nine: heard on 9 nodes, 9 times in all",
        r"hello Ada, from n3@127\.0\.0\.1",
        r"links of each node: \[8(, 8){8}\]",
    ],
    "channels": [
        r"200 parts of 1 MiB stored, [1-9]\d* calls answered meanwhile, the slowest in \d\.\d{3} s",
        r"orders: \['popcorn'\]",
        "not delivered: noproc",
    ],
}
PARTS = {"billing"}  # modules of an example


def test_every_example_is_run():
    assert {path.stem for path in (ROOT / "examples").glob("*.py")} == set(PRINTED) | PARTS


@pytest.mark.timeout(30)
@pytest.mark.parametrize("example", PRINTED)
def test_it_prints_what_it_promises(example, tmp_path):
    printed = run(f"examples/{example}.py", folder=tmp_path)
    left = iter(printed)
    for expected in PRINTED[example]:
        assert any(re.fullmatch(expected, line) for line in left), (expected, printed)
