"""Scenarios: a short campaign, the same run again, and what a failure says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from structlog.testing import capture_logs

from partisan_actors.testing import Trace, scenarios
from partisan_actors.testing.__main__ import main
from partisan_actors.testing.faults import FAULTS, storm

ROOT = Path(__file__).parent.parent.parent
NAMES = sorted(scenarios.SCENARIOS.keys() - scenarios.LONG)  # test_checked_cluster has those with fewer nodes
TRACED = ("calls", "global_names", "hyparview", "monitors")


@pytest.fixture(autouse=True)
def logs():
    with capture_logs() as entries:
        yield entries


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_a_short_campaign(name, seed):
    scenarios.run(name, seed)


@pytest.mark.parametrize("seed", [39, 136])
def test_islands_whose_nodes_asked_in_vain_for_a_place_elsewhere(seed):
    """Nobody noticed that broadcasts did not get across; by these seeds, as long as they lead there."""
    scenarios.run("hyparview", seed)


def test_a_spawn_on_a_node_whose_next_life_is_there_at_once():
    """The process is of that life, and so its monitor does not fire for the crash of the one before."""
    scenarios.run("hyparview", 395)


def test_a_join_of_one_that_left_through_one_that_is_just_told_of_that():
    """Others told it of the leave before the newcomer said that it was back, and it was let go of."""
    scenarios.run("hyparview", 664)


def lines(seed, hash_seed, *names):
    """What the command says of each run, without the time that it took."""
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-m", "partisan_actors.testing", "--seed", str(seed), *names]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=50, check=True)
    return [line.rpartition(",")[0] for line in done.stdout.splitlines()[: len(names)]]


def test_whole_nodes_have_the_same_trace_in_another_interpreter():
    here = []
    for name in TRACED:
        trace = Trace(keep=0)
        scenarios.run(name, 3, trace)
        here.append(f"{name} seed 3: ok, {trace.count} events, trace {trace.digest[:16]}")
    assert lines(3, "5", *TRACED) == here


@pytest.fixture
def broken(monkeypatch):
    def broken(seed, trace):
        if seed == 8:
            raise AssertionError("something is lost")

    monkeypatch.setitem(scenarios.SCENARIOS, "broken", broken)


def test_a_failure_says_its_seed_and_the_command_that_brings_it_again(broken, capsys):
    assert main(["--seed", "7", "--runs", "3", "broken"]) == 1
    said = capsys.readouterr().out
    assert "broken seed 7: ok" in said
    assert "broken seed 8: FAILED" in said
    assert "replay: python -m partisan_actors.testing --seed 8 broken" in said
    assert "3 runs, 1 failed" in said


def test_without_names_all_run_and_the_long_ones_once(monkeypatch, capsys):
    ran = []
    every = {name: lambda seed, trace, name=name: ran.append((name, seed)) for name in ("calls", "hundred")}
    monkeypatch.setattr(scenarios, "SCENARIOS", every)
    monkeypatch.setattr("partisan_actors.testing.__main__.SCENARIOS", every)
    assert main(["--seed", "7", "--runs", "2"]) == 0
    assert ran == [("calls", 7), ("hundred", 7), ("calls", 8)]
    assert main(["--seed", "7", "--runs", "2", "hundred"]) == 0
    assert ran[3:] == [("hundred", 7), ("hundred", 8)]


def test_a_name_that_is_none_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["nothing"])
    assert "there are calls" in capsys.readouterr().err


def test_a_trace_is_written(tmp_path, capsys):
    path = tmp_path / "trace"
    assert main(["--trace", str(path), "full_mesh"]) == 0
    assert len(path.read_text().splitlines()) > 100


class Sky:
    """A simulation that writes down what a storm does to it."""

    def __init__(self, names):
        self.nodes = {name: name for name in names}
        self.log = []
        self.now = 0.0

    def run(self, seconds):
        self.now += seconds

    def __getattr__(self, name):
        return lambda *args, **options: self.log.append((name, args, options))


def test_a_storm_ends_in_calm_and_brings_back_whom_it_ended():
    sky, back = Sky("abcdef"), []
    storm(sky, Random(1), 200.0, back.append, spare="a")
    crashed = [args[0] for name, args, _ in sky.log if name == "crash"]
    assert sky.log[-1][0] == "heal"
    assert back == crashed
    assert 2 <= len(crashed) <= 3
    assert "a" not in [args[0] for name, args, _ in sky.log if name in ("crash", "pause")]
    assert {name for name, _, _ in sky.log} == {"crash", "pause", "partition", "heal"}
    assert {options.get("one_way") for name, _, options in sky.log if name == "partition"} == {None, False, True}


def test_a_storm_of_some_faults_has_no_others():
    sky = Sky("abc")
    storm(sky, Random(1), 100.0, print, faults=["pause"])
    assert {name for name, _, _ in sky.log} == {"pause", "heal"}
    assert set(FAULTS) >= {"pause", "heal"}
