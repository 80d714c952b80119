"""Two nodes beside Erlang and the Python peers: what each says is taken for what it is, and what fails is said."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmarks import distribution, pair
from benchmarks.children import run_command
from benchmarks.comparison import (
    COMPARED_WITH,
    best_of,
    json_lines,
    others_of,
    peers_table,
    ratios_table,
    systems_table,
)
from benchmarks.peers import OURS_AS_A_PEER, Peer, groups_of, result_of, run_peer
from benchmarks.systems import ERLANG_NAMES, Run, run_erlang
from tests.benchmarks.commands import ROOT, run

HARNESS = Path(__file__).parent / "peers"
GOOD = """
import json, os, sys
assert "PYTHONPATH" not in os.environ and sys.argv[1:] == ["--runs", "1", "--only", "remote_call"], sys.argv
print("a system that logs to standard output")
print(json.dumps({"version": "7.1", "remote_call_c1_rps": 1000.0, "remote_call_c128_rps": 2000.0}))
"""
FAILING = "raise SystemExit('no such transport')"
PEER = {
    "system": "casty",
    "version": "0.30.2",
    "python": "3.12.1",
    "runs": 1,
    "remote_call_c1_rps": 2300,
    "remote_call_c16_rps": "FAILED: TimeoutError()",
    "remote_call_c128_rps": 20600.5,
    "remote_call_c128_rps__range": [16100.0, 38900.0],
    "remote_tell_100_mps": 75000.0,
    "remote_tell_64k_MBps": 251.0,
    "remote_tell_1m_mps": 372.0,
    "remote_tell_1m_MBps": 390.0,
    "remote_tell_1m_lost_fraction": 0.25,
    "idle_p50_us": 505.0,
    "mixed_p50_us": 10500.0,
    "mixed_p99_us": 30100.0,
    "mixed_bulk_MBps": 130.0,
}
BENCHES = ["call_1", "call_16", "call_128", "cast_100B", "cast_1KiB", "bulk_1", "mixed_one_connection"]


def lines_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def rounds(*values: float) -> dict[int, float]:
    return dict(enumerate(values))


def text_of(table: object) -> str:
    console = Console(width=500, highlight=False)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


# The command.


def test_peers_are_measured_in_the_same_run(tmp_path):  # some 5 s on two quiet cores
    shutil.copy(HARNESS / "_common.py", tmp_path)
    (tmp_path / "bench_good.py").write_text(GOOD)
    (tmp_path / "bench_failing.py").write_text(FAILING)
    flags = ["--peers", str(tmp_path), "--peer", f"good={sys.executable}", "--peer", f"failing={sys.executable}"]
    flags += ["--only", "call_1", "--only", "call_128", "--repeat", "1", "--seconds", "0.02"]
    flags += ["--json", str(tmp_path / "lines")]
    done = run([sys.executable, "-m", "benchmarks.distribution", *flags])
    assert done.returncode == 1, done.stdout + done.stderr  # for the one that fails
    assert done.stderr.splitlines()[-1].endswith("loopback: failing printed no figures: no such transport")
    lines = lines_of(done.stdout)
    assert lines_of((tmp_path / "lines").read_text()) == lines
    systems, benches = ("partisan_actors", OURS_AS_A_PEER, "good"), ("call_1", "call_128")
    assert {(line["system"], line["bench"]) for line in lines if line["metric"] == "per_s"} == {
        ("socket", "call_1"),
        *((system, bench) for system in systems for bench in benches),
    }
    assert {(line["bench"], line["version"], line["median"]) for line in lines if line["system"] == "good"} == {
        ("call_1", "7.1", 1000),
        ("call_128", "7.1", 2000),
    }
    assert "good 7.1" in done.stdout


def test_ours_measures_what_the_peers_do():
    path = os.pathsep.join(map(str, (HARNESS, ROOT)))
    file = ROOT / "benchmarks" / "bench_partisan_actors.py"
    done = run([sys.executable, str(file), "--only", "remote_tell"], PYTHONPATH=path, BENCH_T="0.01")
    (said,) = lines_of(done.stdout)
    assert said.pop("system") == "partisan_actors" and said.pop("version")
    assert set(said) == {
        *(f"remote_tell_{name}_mps" for name in ("100", "1k", "64k", "1m")),
        *(f"remote_tell_{name}_MBps" for name in ("64k", "1m")),
    }
    assert min(said.values()) > 0 and done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--peer", "good=python3"],  # without a folder
        ["--peers", str(HARNESS), "--peer", "good"],  # without an interpreter
        ["--peers", str(HARNESS), "--peer", "good=python3"],  # there is no such file
        ["--round-trips", "20"],  # with nothing that delays
    ],
)
def test_what_it_does_not_understand(arguments, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["distribution", *arguments])
    with pytest.raises(SystemExit) as caught:
        distribution.parse_arguments()
    assert caught.value.code == 2


@pytest.mark.parametrize(("arguments", "expected"), [([], [0]), (["--wan", "delay"], [0, 1, 20])])
def test_the_default_is_what_can_be_measured(arguments, expected, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["distribution", *arguments])
    assert distribution.parse_arguments().round_trips == expected


# What a system says.


def test_metrics_of_a_peer_are_ours():
    result = result_of("casty", f"a log line\n{json.dumps(PEER)}\n", "", BENCHES)
    assert result.version == "0.30.2"
    assert result.benches == {
        "call_1": {"per_s": 2300},
        "call_128": {"per_s": 20600.5},
        "cast_100B": {"per_s": 75000},
        "bulk_1": {"mb_per_s": 390},
        "mixed_one_connection": {"p50_us": 10500, "p99_us": 30100, "bulk_mb_per_s": 130},
    }
    assert result.failures == [
        "casty, remote_call_c16_rps: FAILED: TimeoutError()",
        "casty, remote_tell_1m_MBps: 25.0% of the messages were lost, the figure is of the others",
    ]


def test_only_what_is_wanted_is_taken():
    result = result_of("casty", json.dumps(PEER), "", ["call_1", "bulk_16"])
    assert result.benches == {"call_1": {"per_s": 2300}} and result.failures == []
    assert groups_of(["call_1", "call_128", "bulk_16"]) == ["remote_call"]
    assert groups_of(["bulk_1", "mixed_one_connection", "mixed_on_16"]) == ["remote_tell", "mixed"]


def test_a_group_that_failed_is_said():
    said = {"version": "1", "remote_call_c1_rps": 5.0, "errors": {"mixed": [1, f"{'x' * 900}\nBrokenPipeError"]}}
    result = result_of("tapio", json.dumps(said), "", BENCHES)
    assert result.benches == {"call_1": {"per_s": 5}}
    (failure,) = result.failures
    assert failure.startswith("tapio, mixed: ... x") and failure.endswith("x BrokenPipeError") and len(failure) < 450


@pytest.mark.parametrize(
    ("output", "errors", "reason"),
    [("", "Traceback\n  ...\nImportError: ray\n", "Traceback ... ImportError: ray"), ("[1]\n3", "", "[1] 3")],
)
def test_a_peer_without_figures_is_said(output, errors, reason):
    assert result_of("ray", output, errors, BENCHES) == ({}, [f"ray printed no figures: {reason}"], "")


def test_a_peer_without_an_interpreter_is_said(tmp_path):
    result = run_peer(Peer("ray", tmp_path / "bench_ray.py", str(tmp_path / "none")), Run(["call_1"], 0.01))
    assert result.benches == {} and "No such file" in result.failures[0]


def test_a_peer_is_not_asked_for_what_it_does_not_measure(tmp_path):
    assert run_peer(Peer("ray", tmp_path, "none"), Run(["bulk_16"], 0.01)) == ({}, [], "")


def test_erlang_says_what_it_measured(tmp_path):
    script = tmp_path / "run.sh"
    lines = ["erl\tgs_call C=16\tper_s\t41000.5", "erl\tgs_call C=16\tother\t1", "erl\tgs_call C=1\tper_s\t9000", "x"]
    lines += [f"erl\tcast S=1048576 C={senders}\tmb_per_s\t{senders}00" for senders in (9, 128)]
    lines.append("erl\tcast S=1048576 C=16\tmb_per_s\t900")
    script.write_text("#!/bin/sh\ncat <<'EOF'\n" + "\n".join(lines) + "\nEOF\n")
    script.chmod(0o755)
    assert run_erlang(script, Run(["call_16"], 0.01)) == ({"call_16": {"per_s": 41000.5}}, [], "")
    assert run_erlang(script, Run(["bulk_16_on_16", "mixed_channels"], 0.01)).benches == {"bulk_16": {"mb_per_s": 900}}
    script.write_text("#!/bin/sh\necho no epmd >&2\nexit 3\n")
    assert run_erlang(script, Run(["call_16"], 0.01)) == ({}, ["erlang, exit status 3: no epmd"], "")


def test_what_takes_too_long_is_ended():
    done = run_command([sys.executable, "-c", "import signal; signal.pause()"], limit=0.1)
    assert done.returncode == -signal.SIGKILL and done.stderr == "\nnot over after 0 s"


def test_a_round_trip_is_a_delay_each_way():
    assert Run([], 1.0).behind(["a", "b"]) == ["a", "b"]
    delayed = Run([], 1.0, 20, Path("delay"))
    assert delayed.behind(["a", "b"]) == ["delay", "10000", "a", "b"] and delayed.network == "20 ms"


# What is shown.


def test_the_best_peer_has_the_most_or_waits_least():
    values = {"casty": rounds(10, 30, 20), "tapio": rounds(15, 16, 90), "ray": rounds(18)}
    assert best_of("per_s", values) == "casty"
    assert best_of("p50_us", values) == "tapio"
    assert best_of("per_s", {}) == ""


def test_tables_and_lines():
    figures = {
        ("loopback", "partisan_actors", "call_1", "per_s"): rounds(4000, 5000, 6000),
        ("loopback", "erlang", "call_1", "per_s"): rounds(16000, 10000, 3000),
        ("loopback", OURS_AS_A_PEER, "call_1", "per_s"): rounds(4400, 4400),
        ("loopback", "casty", "call_1", "per_s"): rounds(2000, 2000, 2000),
        ("loopback", "tapio", "call_1", "per_s"): rounds(1000),
        ("loopback", "partisan_actors", "bulk_16", "mb_per_s"): rounds(900),
        ("loopback", OURS_AS_A_PEER, "mixed_channels", "p50_us"): rounds(800),
    }
    versions = {"casty": "0.30.2"}
    lines = [json.loads(line) for line in json_lines(figures, versions)]
    assert lines[0] == {
        "network": "loopback", "system": "partisan_actors", "bench": "call_1", "metric": "per_s",
        "runs": 3, "median": 5000, "min": 4000, "max": 6000,
    }  # fmt: skip
    assert [(line["system"], line["version"]) for line in lines if "version" in line] == [("casty", "0.30.2")]
    assert "5,000 (4,000-6,000)" in text_of(systems_table(figures)) and "0.50" in text_of(systems_table(figures))
    rows = text_of(peers_table(figures, OURS_AS_A_PEER, ["casty", "tapio", "ray"], versions))
    cells = [[cell.strip() for cell in row.split("│")] for row in rows.splitlines() if row.count("│") == 7]
    assert {cell[4]: cell[6] for cell in cells if cell[5] != "800 (800-800)"} == {
        "partisan_actors": "2.50", OURS_AS_A_PEER: "2.20", "casty 0.30.2": "1.00", "tapio": "0.50", "ray": "",
    }  # fmt: skip
    assert "bulk_16" not in rows and rows.count("ray") == 1  # in a row of what others measured, not of ours alone


def test_ratios_are_of_what_one_round_measured():
    figures = {
        ("1 ms", "partisan_actors", "bulk_1", "mb_per_s"): rounds(100, 200, 400),
        ("1 ms", "partisan_actors", "bulk_128_on_16", "mb_per_s"): rounds(300, 400, 400),
        ("1 ms", "erlang", "bulk_128", "mb_per_s"): {2: 200.0},  # it failed in the others
        ("1 ms", "erlang", "mixed_one_connection", "p99_us"): rounds(1000, 1000, 0),
        ("1 ms", "partisan_actors", "mixed_channels", "p99_us"): rounds(10, 30, 20),
        ("loopback", "erlang", "bulk_128", "mb_per_s"): rounds(7),  # ours did not come
    }
    lines = [line for line in map(json.loads, json_lines(figures, {})) if line["metric"] == "ratio"]
    said = {"network": "1 ms", "system": "partisan_actors", "metric": "ratio"}
    bulk = said | {"bench": "bulk_128_on_16", "of": "mb_per_s"}
    assert lines == [
        bulk | {"to": "partisan_actors bulk_1", "runs": 3, "median": 2, "min": 1, "max": 3},
        bulk | {"to": "erlang bulk_128", "runs": 1, "median": 2, "min": 2, "max": 2},
        said
        | {"bench": "mixed_channels", "of": "p99_us", "to": "erlang mixed_one_connection"}
        | {"runs": 2, "median": 0.02, "min": 0.01, "max": 0.03},
    ]
    rows = text_of(ratios_table(figures)).splitlines()
    assert [row.split("│")[-2].strip() for row in rows if "│ 1 ms" in row] == [
        "2.00 (1.00-3.00)",
        "2.00 (2.00-2.00)",
        "0.02 (0.01-0.03)",
    ]


def test_what_is_compared_is_measured():
    erlangs = set(ERLANG_NAMES.values())
    for one in COMPARED_WITH:
        assert one.bench in pair.BENCHES
        assert one.other in {"partisan_actors": set(pair.BENCHES), "erlang": erlangs, "socket": {"call_1"}}[one.system]
        assert one.other in others_of(one.system, [one.bench])
