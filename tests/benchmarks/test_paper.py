"""The paper's figures are measured and drawn, of ours and of Erlang, whatever comes out; and the arithmetic of it."""

from __future__ import annotations

import csv
import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.paper import erlang, load, ours, workloads
from benchmarks.paper.catalogue import (
    AFFINITY,
    CHANNELS,
    ERLANG,
    FIGURES,
    ONE,
    OURS,
    SIXTEEN,
    SMOKE_FIGURES,
    TUNED,
    UNTUNED,
    System,
    size_name,
)
from benchmarks.paper.plots import draw
from benchmarks.paper.published import ACTORS, published
from benchmarks.paper.records import COLUMNS, Cell, Measurement, Order, Outcome, RawFiles, read_measurements
from benchmarks.paper.rounds import Missing, Plan, flaw, run_child, run_rounds
from benchmarks.paper.summary import best_ratios, bound, group, summarize, use_of, value_at
from benchmarks.paper.tables import figure_table, shown, summary_table
from tests.benchmarks.commands import run as run_module
from tests.conditions import wait_until

MICRO, ECHO, KVS = FIGURES[2], FIGURES[5], FIGURES[7]
PNG = b"\x89PNG\r\n"
ORDER = Order(OURS, 1, 1, False, "micro", (Cell(64, 2), Cell(128, 2)), 0.01, 5.0)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run_module([sys.executable, "-m", "benchmarks.paper", *arguments], 140.0)


def outcome(cell: Cell, messages: int = 100, median_us: int = 1000, cut: bool = False, cpu: int = 0) -> Outcome:
    """Of a cell that took a second."""
    return Outcome(*cell, messages, 1_000_000, median_us, 2 * median_us, cpu, cpu, 3 * cpu, cut)


def measured(figure: int, system: System, outcome: Outcome, repetition: int = 1) -> Measurement:
    drawn = FIGURES[figure - 1]
    return Measurement(figure, repetition, system.name, drawn.workload, *system[1:], drawn.round_trip, outcome)


def text_of(table: object) -> str:
    console = Console(width=500, highlight=False)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


# The command.


ONE_OF_EACH_WORKLOAD = (2, 6, 7)  # all eight take some 25 s


@pytest.mark.timeout(300)
def test_figures_are_measured_and_drawn(tmp_path):
    figures = ",".join(map(str, ONE_OF_EACH_WORKLOAD))
    done = run("--smoke", "--figures", figures, "--results", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    with (tmp_path / "raw.csv").open(newline="") as file:
        heading, *rows = csv.reader(file)
    assert tuple(heading) == COLUMNS
    found = read_measurements((tmp_path / "raw.jsonl").read_text().splitlines())
    assert rows == [[str(field) for field in measurement.row()] for measurement in found]
    expected = {
        (figure.number, system.name, cell)
        for figure in SMOKE_FIGURES
        if figure.number in ONE_OF_EACH_WORKLOAD
        for system in figure.systems
        for cell in figure.cells
        if system.is_ours or erlang.installed()
    }
    assert set(group(found)) == expected
    for figure in FIGURES:
        if figure.number not in ONE_OF_EACH_WORKLOAD:
            continue
        assert (tmp_path / f"figure-{figure.number}.png").read_bytes().startswith(PNG)
        assert f"Figure {figure.number}: " in done.stdout
    redrawn = run("--smoke", "--figures", figures, "--redraw", "--results", str(tmp_path))
    assert redrawn.stdout == done.stdout
    if not erlang.installed():
        pytest.skip("Erlang's part was not run: erl, erlc and epmd are not installed")


@pytest.mark.parametrize(
    "arguments", [["--figures", "9"], ["--figures", ""], ["--repeat", "0"], ["--seconds", "2", "--limit", "1"]]
)
def test_what_it_does_not_understand(arguments):
    assert run(*arguments).returncode == 2


# What is measured.


def test_the_paper_s_cells():
    assert [figure.number for figure in FIGURES] == list(range(1, 9))
    assert {figure.round_trip for figure in FIGURES} == {1, 20}
    assert {size for figure in FIGURES for size in figure.sizes} == {1 << 10, 512 << 10, 8 << 20}
    assert [system.parallelism for system in FIGURES[1].systems] == [8, 16, 32, 64, 128]
    assert FIGURES[0].systems == (ONE, SIXTEEN, AFFINITY, CHANNELS, ERLANG, UNTUNED, TUNED)
    for figure in FIGURES:
        for size in figure.sizes:
            assert all(len(values) == len(ACTORS) for values in published(figure.number, size).values())


def test_the_smoke_run_has_every_system_and_figure():
    assert {system for figure in SMOKE_FIGURES for system in figure.systems} >= set(FIGURES[0].systems)
    assert [figure.number for figure in SMOKE_FIGURES] == [figure.number for figure in FIGURES]


def test_how_messages_of_a_configuration_travel():
    order = ORDER._replace(parallelism=16)
    assert [channel.name for channel in ours.channels_of(order)] == ["default"]
    assert ours.send_options(order, 3) == {}
    assert ours.send_options(order._replace(affinity=True), 3) == {"partition_key": 3}
    four = order._replace(channels=4, affinity=True)
    assert [channel.parallelism for channel in ours.channels_of(four)] == [16] * 4
    assert ours.send_options(four, 3) == {"channel": "vnode", "partition_key": 3}


def test_erlang_out_of_the_box_has_no_flags():
    assert erlang.vm_flags("disterl") == []
    assert [text for text in erlang.vm_flags("disterl_untuned") if "sndbuf" in text] != []
    assert "+zdbbl" in erlang.vm_flags("disterl_tuned")


def test_keys_are_drawn_as_in_the_paper():
    chance = random.Random(1)
    keys = [workloads.key_of(chance) for _ in range(10_000)]
    assert 4_800 < sum(keys) / len(keys) < 5_200
    assert 0.6 < sum(0 <= key < 10_000 for key in keys) / len(keys) < 0.75  # one standard deviation


def test_stored_values_differ_and_are_bounded():
    assert len({workloads.value_of(number, 64) for number in range(100)}) == 100
    assert [workloads.slots_of(size) for size in (1 << 10, 512 << 10, 8 << 20)] == [10000, 170, 10]
    assert all(len(workloads.value_of(1, size)) == size for size in (64, 1024, 8 << 20))
    for size in (64, 1024, 512 << 10, 8 << 20):
        assert size * workloads.slots_of(size) * workloads.VNODES <= workloads.STORED


def test_numbers_are_short():
    numbers = [shown(value) for value in (12345.6, 123.4, 12.34, 1.234, 0.01234)]
    assert numbers == ["12,346", "123", "12.3", "1.23", "0.0123"]
    assert [size_name(size) for size in (64, 1024, 524288, 8388608)] == ["64 B", "1 KB", "512 KB", "8 MB"]


def test_percentiles():
    one = [0.004, 0.001, 0.003, 0.002]
    assert [ours.percentile([one], share) for share in (0.0, 0.5, 0.99, 1.0)] == [1000, 2000, 4000, 4000]
    fast, slow = [0.001] * 100, [0.5]
    assert [ours.percentile([fast, slow], share) for share in (0.5, 0.51)] == [1000, 500_000]
    assert ours.percentile([fast, slow, slow], 0.5) == 500_000
    assert ours.percentile([[], []], 0.5) == 0


def test_processor_time_is_that_of_the_process():
    before = load.processor_time(os.getpid())
    assert 0 <= before <= load.processor_time(os.getpid())
    assert load.processor_time(2**30) == 0
    assert load.Load(5, 7, 9).since(load.Load(1, 2, 3)) == load.Load(4, 5, 6)


# What is kept.


def test_orders_and_measurements_survive_their_text(tmp_path):
    assert Order.from_json(ORDER.to_json()) == ORDER
    found = [measured(3, CHANNELS, outcome(Cell(64, 16), cut=True)), measured(5, ERLANG, outcome(Cell(1024, 32)))]
    with RawFiles(tmp_path / "new") as files:
        for measurement in found:
            files.write(measurement)
    assert read_measurements((tmp_path / "new" / "raw.jsonl").read_text().splitlines()) == found
    assert (tmp_path / "new" / "raw.csv").read_text().splitlines() == [
        "app,transport,concurrency,channels,monotonic,parallelism,affinity,bytes,messages,RTT ms,time us",
        "micro,partisan_actors,16,4,false,16,true,64,100,20,1000000",
        "echo,disterl,32,1,false,1,false,1024,100,1,1000000",
    ]


def test_lines_of_either_side_are_told_from_the_rest():
    erlang_line = (
        '{"size": 64, "actors": 2, "messages": 9, "time_us": 1000, "median_us": 5, "p99_us": 7, '
        '"near_cpu_us": 1, "far_cpu_us": 2, "busy_us": 3, "cut": true}'
    )
    assert Outcome.from_line(erlang_line) == Outcome(64, 2, 9, 1000, 5, 7, 1, 2, 3, True)
    assert Outcome.from_line(outcome(Cell(64, 2)).to_json()) == outcome(Cell(64, 2))
    for line in ("", "ready", "{nodedown,far}", '{"size": 64}', erlang_line[:-1], erlang_line.replace("size", "bytes")):
        assert Outcome.from_line(line) is None, line


# The rounds.


def planned(*figures: int, repetitions: int = 1, code: str = "there", wan: Path | None = None) -> Plan:
    return Plan(tuple(FIGURES[number - 1] for number in figures), repetitions, 0.01, 5.0, wan, code)


def test_systems_take_turns_within_a_repetition():
    asked: list[tuple[str, float]] = []

    def child(plan: Plan, round_trip: float, order: Order) -> tuple[list[Outcome], str]:
        asked.append((order.transport, round_trip))
        return [outcome(cell) for cell in order.cells], ""

    found = list(run_rounds(planned(5, repetitions=2, wan=Path("wan")), lambda text: None, child))
    assert [transport for transport, _ in asked[:4]] == [OURS, OURS, "disterl", "disterl_untuned"]
    assert [transport for transport, _ in asked[4:]] == [OURS, "disterl", "disterl_untuned", OURS]
    assert {round_trip for _, round_trip in asked} == {1}
    assert len(found) == 2 * 4 * 12 and not any(isinstance(result, Missing) for result in found)
    assert {
        one.round_trip for one in run_rounds(planned(6), lambda text: None, child) if isinstance(one, Measurement)
    } == {0}


def test_without_erlang_it_is_not_asked():
    found = list(run_rounds(planned(5, code=""), lambda text: None, lambda plan, _, order: ([], "gone")))
    assert {result.system for result in found} == {ONE.name, CHANNELS.name}


def test_what_fails_is_said_and_the_rest_goes_on():
    def child(plan: Plan, round_trip: float, order: Order) -> tuple[list[Outcome], str]:
        good = [outcome(cell) for cell in order.cells if cell.actors < 64]
        return good[:2], "it broke" if order.cells[0].actors == 64 or len(order.cells) > 2 else ""

    found = list(run_rounds(planned(2, 3, code=""), lambda text: None, child))
    missing = [result for result in found if isinstance(result, Missing)]
    assert {result.reason for result in missing} == {"it broke", "nothing came of it"}
    assert all(result.failed for result in missing)
    kept = [result.outcome.actors for result in found if isinstance(result, Measurement) and result.system == ONE.name]
    assert kept == [16, 32]


def test_a_cell_that_was_cut_off_ends_its_size_only():
    def child(plan: Plan, round_trip: float, order: Order) -> tuple[list[Outcome], str]:
        outcomes = []
        for cell in order.cells:
            outcomes.append(outcome(cell, cut=cell == Cell(1024, 32)))
            if outcomes[-1].cut:
                break
        return outcomes, ""

    figure = replace(FIGURES[5], systems=(ONE,))
    plan = planned()._replace(figures=(figure,))
    found = list(run_rounds(plan, lambda text: None, child))
    left_out = [result.cell for result in found if isinstance(result, Missing)]
    assert left_out == [Cell(1024, 64), Cell(1024, 128)]
    assert len(found) == len(figure.cells)


def test_a_median_of_requests_that_were_cut_off_is_none():
    cut = outcome(Cell(64, 16), cut=True)
    assert flaw(MICRO, cut) and not flaw(ECHO, cut)
    assert flaw(ECHO, outcome(Cell(64, 16), messages=0))
    assert not flaw(MICRO, outcome(Cell(64, 16)))


def test_a_child_that_takes_too_long_ends_with_what_it_started(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.paper.rounds.START_LIMIT", 2.0)
    slow = tmp_path / "slow"
    slow.write_text(
        f"#!/bin/sh\necho '{outcome(Cell(64, 2)).to_json()}'\nsleep 100 &\necho $! > {tmp_path}/pid\nwait\n"
    )
    slow.chmod(0o755)
    plan = planned(wan=slow)
    found, error = run_child(plan, 1, ORDER._replace(seconds=0.1, limit=0.3))
    assert found == [outcome(Cell(64, 2))] and "not over" in error
    state = Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}/stat")

    def ended() -> bool:
        try:
            return state.read_text().rpartition(")")[2].split()[0] == "Z"
        except FileNotFoundError:
            return True

    # It was sent SIGKILL; the kernel takes a moment to carry that out.
    wait_until(ended, what="the end of what it started")


def test_a_child_that_fails_says_why(tmp_path):
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho first >&2\necho no such queue >&2\nexit 3\n")
    broken.chmod(0o755)
    assert run_child(planned(wan=broken), 20, ORDER) == ([], "no such queue")


# What is made of it.


def test_medians_have_ranges_and_means_have_standard_errors():
    assert summarize(MICRO, [3.0, 1.0, 2.0]) == (2.0, 1.0, 3.0, False)
    assert summarize(ECHO, [1.0, 3.0], cut=True) == (2.0, 1.0, 3.0, True)
    assert summarize(ECHO, [5.0]) == (5.0, 5.0, 5.0, False)


def test_the_best_of_ours_where_it_is_furthest_ahead():
    few, many = Cell(512 << 10, 16), Cell(512 << 10, 128)
    results = group(
        [
            measured(3, ONE, outcome(few, median_us=20_000)),
            measured(3, AFFINITY, outcome(few, median_us=10_000)),
            measured(3, ERLANG, outcome(few, median_us=20_000)),
            measured(3, ONE, outcome(many, median_us=10_000)),
            measured(3, ERLANG, outcome(many, messages=40, median_us=50_000)),
            measured(6, CHANNELS, outcome(few, messages=300)),
            measured(6, ERLANG, outcome(few, messages=100)),
            measured(6, UNTUNED, outcome(few, messages=10, cut=True)),
        ]
    )
    assert best_ratios(results, MICRO) == [(5.0, 2.0, many, ONE, ERLANG)]
    assert best_ratios(results, ECHO) == [(3.0, 3.0, few, CHANNELS, ERLANG)]  # what was cut off is no rival
    text = text_of(summary_table(results, FIGURES))
    assert "2.50x the requests/s" in text
    assert "5.00x" in text and "3.00x" in text and "38.07x" in text and "13.5x" in text


def test_what_a_cell_uses():
    one = measured(6, CHANNELS, outcome(Cell(1_000_000, 50), messages=100, cpu=250_000))
    assert use_of([one, one]) == (0.25, 0.25, 0.75, 2_000_000.0, 25.0)
    kvs = measured(8, CHANNELS, outcome(Cell(1_000_000, 50), messages=100))
    assert use_of([kvs]).in_flight == pytest.approx(5_400_000)


@pytest.mark.parametrize(
    ("system", "messages", "cpu", "expected"),
    [
        (ONE, 750, 100_000, "the round trip"),
        (ONE, 100, 900_000, "one core"),
        (ERLANG, 100, 600_000, "the machine's cores"),
        (ERLANG, 100, 100_000, "what may be in flight"),
    ],
)
def test_what_bounds_a_cell(system, messages, cpu, expected):
    one = measured(6, system, outcome(Cell(1_000_000, 16), messages=messages, cpu=cpu))
    assert bound([one], cores=2).startswith(expected)
    assert f"{messages * 0.02:.2f} MB a round trip" in bound([one], cores=2)


def test_without_delay_there_is_no_round_trip_to_wait_for():
    one = measured(6, ONE, outcome(Cell(64, 16), messages=1))._replace(round_trip=0.0)
    assert bound([one], cores=2).startswith("nothing that was measured")
    assert "round trip" not in bound([one], cores=2)


def test_tables_and_plots_show_what_there_is(tmp_path):
    cells = ECHO.cells
    found = [measured(6, ONE, outcome(cell, messages=100 + 7 * cell.actors), run) for cell in cells for run in (1, 2)]
    found += [measured(6, UNTUNED, outcome(cell, messages=3, cut=cell.actors > 32)) for cell in cells[-4:]]
    results = group(found)
    text = text_of(figure_table(results, ECHO, delayed=True))
    assert "212 ± 0" in text and ">3 ± 0" in text and "paper 2019 (draft): disterl" in text and "46.1" in text
    assert "round trip of 20 ms" in text
    assert "paper 2019" not in text_of(figure_table(results, ECHO, delayed=False))
    assert value_at(results, ECHO, ERLANG, cells[0]) is None
    assert draw(results, ECHO, True, tmp_path).read_bytes().startswith(PNG)
    assert draw(group([]), MICRO, False, tmp_path).name == "figure-3.png"
