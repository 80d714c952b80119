"""What holds for the source as such: its sizes, its manners, and the names that it offers."""

from __future__ import annotations

import ast
import importlib
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sources import parsed

ROOT = Path(__file__).parent.parent
LIBRARY = ("partisan_actors", "behaviours", "topologies")
MODULE_LINES = 500
FUNCTION_LINES = 50
# For a function that says why in a comment `# hot path: ...`, with what was measured.
HOT_FUNCTION_LINES = 70

# What api.md promises of this version, importable from the package itself.
FACE = """
    Node Channel
    self_pid current_node spawn spawn_link spawn_monitor spawn_opt
    send receive link unlink monitor demonitor send_exit trap_exits
    register unregister whereis registered global_names
    send_after cancel_timer sleep pause run_blocking monitor_nodes process_info processes
    message register_type
    Pid Ref TimerRef Remote Global Via ProcessInfo
    Exit Down NodeUp NodeDown Undelivered Crash
    ActorError CallError CallTimeout NoProcess NoConnection ServerExit StartError JoinError NameTaken
    NotSendable NotAProcess WouldBlock ReceiveTimeout UnknownRequest ProcessExit
""".split()
CALLS = """
    GenServer call cast reply send_request wait_response receive_response check_response
    multi_call abcast stop enter_loop
""".split()
SURFACE = {
    "partisan_actors": FACE,
    "partisan_actors.broadcast": ["broadcast", "BroadcastHandler", "register_handler"],
    "partisan_actors.topologies": [
        *"FullMesh ClientServer Static HyParView XBot Scamp find_topology topology_names".split(),
    ],
    "partisan_actors.behaviours": [*CALLS, "Supervisor", "ChildSpec"],
    "partisan_actors.behaviours.gen_server": [
        *CALLS,
        *"RequestId Continue Stop Ignore Timeout Hibernate Reply NoReply TimedOut".split(),
    ],
    "partisan_actors.behaviours.supervisor": ["Supervisor", "ChildSpec", "ChildInfo"],
    "partisan_actors.behaviours.sys": ["get_state", "replace_state", "suspend", "resume"],
}

PUT_OFF = re.compile(r"\b(TODO|FIXME|XXX)\b")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def python_files(*folders: str) -> list[Path]:
    """Every Python file below these folders of the checkout; `rglob` follows no links."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


@pytest.fixture(scope="module", autouse=True)
def forgotten() -> Iterator[None]:
    """Half a million objects, which every garbage collection of the tests to come would walk."""
    yield
    parsed.cache_clear()


def place(path: Path, line: int = 1) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


def length(function: Function) -> int:
    """Lines from `def` to the last, its docstring's not counted."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    if ast.get_docstring(function, clean=False) is None:
        return lines
    documentation = function.body[0]
    return lines - ((documentation.end_lineno or documentation.lineno) - documentation.lineno + 1)


def too_long(path: Path, tree: ast.Module) -> Iterator[str]:
    """The functions of the file that are longer than they may be."""
    lines = path.read_text(encoding="utf-8").splitlines()
    for node in ast.walk(tree):
        if isinstance(node, Function):
            hot = any("# hot path:" in line for line in lines[node.lineno - 1 : node.end_lineno])
            if length(node) > (HOT_FUNCTION_LINES if hot else FUNCTION_LINES):
                yield f"{path.name}:{node.lineno} {node.name}: {length(node)} lines"


def native_sleeps(tree: ast.Module) -> Iterator[int]:
    """The lines that name `time.sleep`, however it was imported."""
    modules = {"time"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.asname for alias in node.names if alias.name == "time" and alias.asname}
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=module), attr="sleep") if module in modules:
                yield node.lineno
            case ast.ImportFrom(module="time", names=names) if any(alias.name == "sleep" for alias in names):
                yield node.lineno


def unfinished(text: str) -> Iterator[int]:
    """The lines with a comment that puts work off."""
    if not PUT_OFF.search(text):
        return  # to find comments takes a hundred times longer
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and PUT_OFF.search(token.string):
            yield token.start[0]


def is_overload(node: ast.stmt) -> bool:
    """Whether it only tells the type checker of one way to call the function that follows."""
    return isinstance(node, Function) and "overload" in {ast.unparse(decorator) for decorator in node.decorator_list}


def exported(tree: ast.Module) -> list[str] | None:
    """The names of `__all__`, or None without one."""
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id="__all__")], value=ast.List() | ast.Tuple() as names):
                return list(ast.literal_eval(names))
    return None


def test_modules_are_short():
    sizes = {place(path): len(path.read_text(encoding="utf-8").splitlines()) for path in python_files(*LIBRARY)}
    assert sizes
    assert {name: lines for name, lines in sizes.items() if lines > MODULE_LINES} == {}


def test_functions_are_short():
    assert [text for path in python_files(*LIBRARY) for text in too_long(path, parsed(path))] == []


def test_a_function_is_measured_without_its_docstring(tmp_path):
    path = tmp_path / "sample.py"

    def found(lines: int, comment: str = "") -> list[str]:
        body = "\n".join(["    1"] * (lines - 1 - bool(comment)))
        path.write_text(f'def f():\n    """One.\n\n    Two.\n    """\n{comment}{body}\n')
        return list(too_long(path, ast.parse(path.read_text())))

    assert found(FUNCTION_LINES) == []
    assert found(FUNCTION_LINES + 1) == [f"sample.py:1 f: {FUNCTION_LINES + 1} lines"]
    assert found(HOT_FUNCTION_LINES, "    # hot path: a call costs 60 ns\n") == []
    assert found(HOT_FUNCTION_LINES + 1, "    # hot path: a call costs 60 ns\n") != []


def test_modules_open_with_what_they_are():
    undescribed = [place(path) for path in python_files(*LIBRARY, "tests") if not ast.get_docstring(parsed(path))]
    assert undescribed == []


def test_tests_never_sleep():
    assert [place(path, line) for path in python_files("tests") for line in native_sleeps(parsed(path))] == []


@pytest.mark.parametrize(
    "text", ["import time\ntime.sleep(1)", "from time import sleep", "import time as t\nt.sleep(1)"]
)
def test_every_way_to_sleep_is_seen(text):
    assert list(native_sleeps(ast.parse(text))) != []


def test_nothing_is_put_off():
    files = python_files(*LIBRARY, "tests", "examples", "benchmarks")
    assert [place(path, line) for path in files for line in unfinished(path.read_text(encoding="utf-8"))] == []


def test_what_is_put_off_is_seen():
    assert list(unfinished("a = 'TODO'\n# a todo list\n# " + "TODO: all of it\n")) == [3]


def test_the_library_prints_nothing():
    prints = [
        place(path, node.lineno)
        for path in python_files(*LIBRARY)
        if path.name != "cli.py"
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Name) and node.id == "print"
    ]
    assert prints == []


def test_no_import_is_relative():
    relative = [
        place(path, node.lineno)
        for path in python_files(*LIBRARY, "tests", "examples", "benchmarks")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []


def test_what_is_public_is_documented():
    undocumented = [
        f"{place(path, node.lineno)} {node.name}"
        for path in python_files(*LIBRARY)
        for node in parsed(path).body
        if isinstance(node, Function | ast.ClassDef)
        and node.name in (exported(parsed(path)) or ())
        and not is_overload(node)
        and not ast.get_docstring(node)
    ]
    assert undocumented == []


def test_every_exported_name_is_there_once():
    for path in python_files(*LIBRARY):
        names = exported(parsed(path)) or []
        assert len(names) == len(set(names)), place(path)


@pytest.mark.parametrize("module", SURFACE)
def test_the_public_surface(module):
    imported = importlib.import_module(module)
    assert [name for name in SURFACE[module] if not hasattr(imported, name)] == []
    assert [name for name in SURFACE[module] if imported.__all__.count(name) != 1] == []
    assert [name for name in imported.__all__ if not hasattr(imported, name)] == []


def test_a_call_has_one_meaning_in_both_places():
    behaviours = importlib.import_module("partisan_actors.behaviours")
    gen_server = importlib.import_module("partisan_actors.behaviours.gen_server")
    assert [name for name in CALLS if getattr(behaviours, name) is not getattr(gen_server, name)] == []


@pytest.mark.parametrize("page", sorted(path.name for path in ROOT.glob("*.md")))
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", (ROOT / page).read_text(encoding="utf-8"))
    local = [link for link in links if "://" not in link and not link.startswith("mailto:")]
    assert [link for link in local if not (ROOT / link).exists()] == []
