"""The experiments on overlays run in small, are kept, and become tables and plots. No figure is judged."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.figures import commands
from benchmarks.overlays import figures, real, runs
from benchmarks.overlays.catalogue import EXPERIMENTS
from benchmarks.overlays.grids import grids_of, tcp_grid
from benchmarks.overlays.machine import about_here
from benchmarks.overlays.page import BEGIN, END, write_part
from benchmarks.overlays.published import paper, wanted
from benchmarks.overlays.rows import COLUMNS, Row, Run, RunFile, json_lines
from benchmarks.overlays.runs import Failed, Order
from benchmarks.overlays.summary import Summary, number, spread
from tests.benchmarks.commands import run as run_module

PNG = b"\x89PNG\r\n"
PLOTS = ["degrees", "plumtree", "reliability", "routing", "xbot", "xbot-map"]
SIMULATED = [name for name, experiment in EXPERIMENTS.items() if not experiment.alone]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run_module([sys.executable, "-m", "benchmarks.overlays", *arguments], 120.0)


def made(seed: int = 1, rows: list[Row] | None = None, name: str = "storm") -> Run:
    """A run of an experiment that was never made."""
    about = about_here() | {"core_seconds": 1.5, "seconds": 2.0, "peak_mb": 50}
    return Run(name, seed, {"nodes": 8}, about, rows if rows is not None else [Row("parts", 1)])


# The commands.


@pytest.mark.timeout(180)
def test_all_that_is_simulated_is_run_once_kept_and_drawn(tmp_path):  # some 10 s on two quiet cores
    command = ["figures", "--smoke", "--jobs", "2", "--only", ",".join(SIMULATED), "--results", str(tmp_path)]
    done = run(*command)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = tmp_path / "overlays"
    for name in SIMULATED:
        (found,) = RunFile(folder, name).read()
        assert found.parameters == EXPERIMENTS[name].smoke and found.rows and found.about["commit"]
        with (folder / f"{name}.csv").open(newline="") as file:
            heading, *rows = csv.reader(file)
        assert tuple(heading) == COLUMNS and len(rows) == len(found.rows)
    assert sorted(path.stem for path in folder.glob("*.png")) == PLOTS
    assert all((folder / f"{name}.png").read_bytes().startswith(PNG) for name in PLOTS)
    page = (folder / "figures.md").read_text()
    assert all(f"## {EXPERIMENTS[name].title}\n" in page for name in SIMULATED)
    raw = {name: (folder / f"{name}.jsonl").read_bytes() for name in SIMULATED}
    again = run(*command)
    assert again.stdout == done.stdout and again.stderr.startswith("0 runs")
    assert {name: (folder / f"{name}.jsonl").read_bytes() for name in SIMULATED} == raw
    assert (folder / "figures.md").read_text() == page


def test_one_alone_says_lines_and_a_table():
    done = run("hyparview", "--smoke", "--seeds", "2", "--jobs", "2", "--with", "cycles=2")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert {(line["experiment"], line["seed"]) for line in lines} == {("hyparview", 1), ("hyparview", 2)}
    assert [line["parameters"]["cycles"] for line in lines if "about" in line] == [2, 2]
    assert "mean path" in done.stdout.rpartition("}")[2]


@pytest.mark.timeout(120)
def test_a_cluster_over_real_tcp():
    done = run("tcp-hyparview", "--smoke", "--with", "nodes=4", "--with", "processes=2", "--with", "idle=0.1")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    values = {line["figure"]: line["value"] for line in lines if "value" in line and line["x"] is None}
    assert values["joins that failed"] == 0 and values["calls answered"] == 100.0
    assert {"memory of a node", "idle, of one core for a node", "calls answered after the kill"} <= set(values)


@pytest.mark.parametrize(
    "arguments",
    [["nothing"], ["storm", "--seeds", "0"], ["storm", "--with", "cycles=1"], ["storm", "--with", "nodes=x"]]
    + [["figures", *rest] for rest in (["--only", "nothing"], ["--jobs", "0"], ["--smoke"], ["--seeds", "0"])],
)
def test_what_it_does_not_understand(arguments):
    assert run(*arguments).returncode == 2


def test_one_command_makes_the_paper_s_figures_and_those_of_overlays():
    paper, overlays = commands(["--wan", "delay.sh", "--results", "there", "--jobs", "2"])
    assert paper == ["benchmarks.paper", "--results", "there", "--wan", "delay.sh"]
    assert overlays == ["benchmarks.overlays", "figures", "--results", "there", "--again", "--jobs", "2"]
    (paper, overlays) = commands(["--redraw"])
    assert (paper, overlays) == (["benchmarks.paper", "--redraw"], ["benchmarks.overlays", "figures", "--redraw"])
    assert commands(["--figures", "1,3"]) == [["benchmarks.paper", "--figures", "1,3"]]
    assert commands(["--figures", "xbot", "--resume"]) == [["benchmarks.overlays", "figures", "--only", "xbot"]]
    assert len(commands(["--figures", "xbot,8", "--smoke"])) == 2


# What is kept.


def test_runs_survive_their_lines(tmp_path):
    file = RunFile(tmp_path / "new", "storm")
    assert file.read() == []
    runs_ = [made(2), made(1, [Row("reached", 99.5, "%", "xbot", 80), Row("parts", 2)])]
    file.write(runs_)
    assert file.read() == [runs_[1], runs_[0]]
    assert file.table.read_text().splitlines()[1].startswith("storm,1,xbot,reached,80,99.5,%,")
    file.remove()
    assert file.read() == [] and not file.table.exists()


def test_what_an_interruption_leaves_is_passed_over(tmp_path):
    file = RunFile(tmp_path, "storm")
    whole, half = list(json_lines(made(1))), list(json_lines(made(2)))
    file.lines.write_text("\n".join([*whole, *half[:-1], half[-1][:20]]))
    assert [found.seed for found in file.read()] == [1]


def test_only_what_is_missing_is_run(tmp_path, monkeypatch, capsys):
    asked: list[list[Order]] = []

    def run_all(orders, jobs):
        asked.append(list(orders))
        for order in orders:
            yield (
                Failed(order, "it broke") if order.seed == 2 else made(order.seed)._replace(parameters=order.parameters)
            )

    monkeypatch.setattr(runs, "run_all", run_all)
    command = ["--only", "storm", "--results", str(tmp_path), "--seeds", "3"]
    assert figures.run_figures(command) == 1
    assert figures.run_figures(command) == 1
    assert [[order.seed for order in orders] for orders in asked] == [[1, 2, 3], [2]]
    # Runs of other parameters are kept from what does not mean them.
    assert figures.run_figures([*command, "--smoke"]) == 0
    assert asked[-1] == [] and "--again" in capsys.readouterr().err
    assert figures.run_figures([*command, "--smoke", "--again"]) == 0
    assert [order.seed for order in asked[-1]] == [1]
    assert [found.parameters for found in RunFile(tmp_path / "overlays", "storm").read()] == [
        EXPERIMENTS["storm"].smoke
    ]


def test_a_run_that_fails_is_said_and_the_rest_goes_on():
    orders = [Order("storm", 1, {"nodes": -1}), Order("storm", 2, {"nodes": 3})]
    first, second = sorted(runs.run_all(orders, 2), key=lambda outcome: isinstance(outcome, Run))
    assert isinstance(first, Failed) and first.order == orders[0] and isinstance(second, Run) and second.seed == 2


# What is shown.


def test_medians_and_ranges():
    found = Summary([made(seed, [Row("parts", seed), Row("reached", 90 + seed, "%", "", 80)]) for seed in (3, 1, 2)])
    assert found.values("parts") == [1, 2, 3] and spread(found.values("parts")) == "2 (1 to 3)"
    assert found.medians("reached") == ([80], [92], [91], [93])
    assert found.figures() == ["parts"] and found.unit("reached") == "%"
    assert found.about()[0] == "nodes 8; seeds 1 to 3"
    assert Summary([made(1), made(4)]).about()[0] == "nodes 8; seeds 1, 4"
    assert spread([]) == "-" and spread([2.0, 2.0]) == "2"


def test_numbers_are_short():
    numbers = [number(value) for value in (12345.6, 123.456, 1.23456, 0.0123456, 0.00003, 0, 5)]
    assert numbers == ["12,346", "123.46", "1.235", "0.012", "3.0e-05", "0", "5"]


def test_the_part_of_a_page_is_replaced_and_the_rest_stays(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Before\n")
    found = {"storm": Summary([made()])}
    for _ in range(2):
        write_part(page, found, {"storm": [tmp_path / "plots" / "a.png"]})
        text = page.read_text()
        assert text.startswith("# Before\n\n" + BEGIN) and text.endswith(END + "\n")
        assert "| parts | 1 |" in text and "![a](plots/a.png)" in text
    page.write_text(text + "# After\n")
    write_part(page, {}, {})
    assert page.read_text() == f"# Before\n\n{BEGIN}\n\n{END}\n# After\n"


def test_the_paper_s_values_are_of_figures_that_there_are():
    assert paper("hyparview", "mean path") == "6.385" and wanted("hyparview", "reached, one pass", 80) == "100"
    assert paper("hyparview", "nothing") == wanted("hyparview", "nothing") == ""
    rows = [Row("nodes of this degree", 100.0, "%", x=5), Row("reached, one pass", 99.9, "%", x=90)]
    shape, failures = grids_of("hyparview", Summary([made(1, rows), made(2, [])]))
    assert shape.rows[-1] == ["nodes of degree 5, %", "~100", "≥ 99.5", "50 (0 to 100)"]
    assert failures.rows == [["90", "~100", "-", "99.9", "-", "-"]]


def lines_over_tcp() -> list[dict[str, object]]:
    states = [
        {"figure": "links", "of_a_node": {"5": 9}, "one_way": 0},
        {"figure": "sessions", "of_a_node": 5.5},
        {"figure": "memory", "KB_per_node": 800.0},
        {"figure": "processor time", "seconds_per_node": 0.5},
        {"figure": "descriptors", "most_of_a_process": 99},
    ]
    talk = [
        {"figure": "calls of any to any", "answered": 19, "of": 20, "p50_s": 0.01, "most_s": None},
        {"figure": "broadcast 1", "reached": 9, "of": 10, "seconds": 20.0},
        {"figure": "broadcast 2", "reached": 10, "of": 10, "seconds": 0.1},
    ]
    return [
        {"figure": "joined", "seconds": 3.0, "failed": 0},
        {"figure": "every node knows all", "seconds": None},
        *states,
        *talk,
        {"figure": "idle", "cores": 0.1, "microseconds_per_node_and_second": 400.0},
        {"figure": "killed at once", "nodes": 3},
        {"figure": "the others know that", "seconds": 1.5},
        *talk,
        *states,
        *({**line, "figure": f"{line['figure']} after a rest", "answered": 20} for line in talk),
    ]


def test_what_is_said_of_real_tcp_becomes_rows():
    rows = list(real.rows_of(lines_over_tcp()))
    values = {row.figure: row.value for row in rows}
    assert values["calls answered"] == values["calls answered after the kill"] == 95.0
    assert values["calls answered, and after a minute"] == 100.0
    assert values["reached once by each of 2 broadcasts, at the least"] == 90.0
    assert "and each knows all, after" not in values and values["and the others know, after"] == 1.5
    found = Summary([made(1, rows)._replace(parameters={"topology": "full_mesh", "nodes": 1000})])
    grid = tcp_grid({"tcp-full-mesh": found})
    assert grid.headings == ["", "full mesh, 1,000"]
    assert ["all have joined, s", "3"] in grid.rows and ["links of a node: from, to", "5, 5"] in grid.rows


def test_each_experiment_has_all_its_parameters_in_small():
    for name, experiment in EXPERIMENTS.items():
        assert list(experiment.full) == list(experiment.smoke), name
        assert experiment.title and experiment.seeds >= 1 and experiment.minutes > 0
    assert len({experiment.title for experiment in EXPERIMENTS.values()}) == len(EXPERIMENTS)
    assert Path(figures.PAGE).name == "figures.md"
