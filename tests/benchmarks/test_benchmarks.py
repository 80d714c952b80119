"""The benchmarks run, whatever they measure, and say it in well-formed lines. No figure is judged."""

from __future__ import annotations

import importlib.util
import io
import json
import subprocess
import sys
from typing import Any

import pytest
from rich.console import Console

from benchmarks import __main__ as command
from benchmarks import rounds
from benchmarks.catalogue import BENCHES, FLOOR, OURS, PEER, groups, measured_by, missing
from benchmarks.measuring import FULL, SMOKE
from benchmarks.report import json_lines, table
from tests.benchmarks.commands import run as run_module

NAMES = [bench.name for bench in BENCHES]
KEYS = ["bench", "system", "unit", "median", "min", "max", "runs"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run_module([sys.executable, "-m", "benchmarks", *arguments])


def lines_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def systems_of(name: str) -> set[str]:
    """Who is measured in a bench, and the ratios that this gives."""
    systems = {system for system in (OURS, FLOOR, PEER) if system not in missing() and measured_by(system, [name])}
    return systems | {f"{OURS} / {system}" for system in systems - {OURS}}


def test_everything_is_measured_and_said(tmp_path):  # some 8 s on two quiet cores
    done = run("--smoke", "--json", str(tmp_path / "lines"))
    assert done.returncode == 0, done.stdout + done.stderr
    lines = lines_of(done.stdout)
    assert {(line["bench"], line["system"]) for line in lines} == {
        (name, system) for name in NAMES for system in systems_of(name)
    }
    for line in lines:
        assert list(line) == KEYS and line["runs"] == 1
        assert line["unit"] and line["min"] == line["median"] == line["max"] >= 0, line
    assert lines_of((tmp_path / "lines").read_text()) == lines
    assert all(name in done.stdout.partition("wanted")[2] for name in NAMES)


def test_one_alone(tmp_path):
    done = run("--smoke", "--only", "call_100k_waiting", "--repeat", "2")
    assert done.returncode == 0, done.stderr
    assert {(line["bench"], line["runs"]) for line in lines_of(done.stdout)} == {("call_100k_waiting", 2)}


def test_each_group_has_an_os_process_of_its_own_but_where_figures_mean_nothing(monkeypatch):
    measured = []
    monkeypatch.setattr(rounds, "_measure", lambda outcome, system, names, smoke: measured.append((system, names)))
    rounds.run_rounds(set(NAMES), 1, False, lambda text: None)
    assert [names for system, names in measured if system == OURS] == list(groups(set(NAMES)).values())
    measured.clear()
    rounds.run_rounds(set(NAMES), 1, True, lambda text: None)
    (names,) = (names for system, names in measured if system == OURS)
    assert names[0] == "idle_memory" and sorted(names) == sorted(NAMES)


@pytest.mark.parametrize("arguments", [["--only", "nothing"], ["--repeat", "0"], ["call"]])
def test_what_it_does_not_understand(arguments, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmarks", *arguments])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 2 and "error" in capsys.readouterr().err


def test_each_has_a_name_a_group_and_a_meaning():
    assert len(set(NAMES)) == len(NAMES) and all(bench.unit and bench.meaning for bench in BENCHES)
    assert [name for names in groups(set(NAMES)).values() for name in names] == NAMES
    assert measured_by(OURS, NAMES) == NAMES
    assert set(NAMES) - {"call_100k_waiting"} == set(measured_by(FLOOR, NAMES))


def test_a_ratio_is_taken_within_a_round():
    figures = {"call": {OURS: [10.0, 40.0, 60.0], FLOOR: [10.0, 20.0, 20.0]}, "idle_memory": {OURS: [512.4]}}
    lines = {(line["bench"], line["system"]): line for line in map(json.loads, json_lines(figures))}
    assert [*lines] == [("call", OURS), ("call", FLOOR), ("call", f"{OURS} / {FLOOR}"), ("idle_memory", OURS)]
    assert lines["call", f"{OURS} / {FLOOR}"] == dict(
        zip(KEYS, ["call", f"{OURS} / {FLOOR}", "ratio", 2.0, 1.0, 3.0, 3], strict=True)
    )
    assert lines["idle_memory", OURS]["median"] == 512
    shown = io.StringIO()
    Console(width=200, file=shown).print(table(figures))
    text = shown.getvalue()
    assert "40 (10-60)" in text and "2.00" in text and "remote_call_1" not in text


def test_without_pykka(monkeypatch):
    measured, said = [], []
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(rounds, "_measure", lambda outcome, system, names, smoke: measured.append((system, names)))
    rounds.run_rounds({"call", "cast"}, 2, True, said.append)
    assert measured == [(OURS, ["call", "cast"]), (FLOOR, ["call", "cast"])] * 2
    assert said[0].startswith("pykka is not installed")


def test_what_cannot_be_measured_is_said_and_the_rest_goes_on(monkeypatch):
    monkeypatch.setattr(rounds, "TIME_LIMIT", 0.001)
    outcome = rounds.run_rounds({"ring_100"}, 1, True, lambda text: None)
    assert outcome.figures == {} and [text.split(",")[0] for text in outcome.failures] == [
        system for system in (OURS, FLOOR, PEER) if system not in missing()
    ]


def test_counts_shrink_with_the_scale():
    assert FULL.count(300_000) == 300_000
    assert SMOKE.count(300_000) == 3_000 and SMOKE.count(100) == 10
