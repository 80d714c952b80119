"""Which part of the package may import which, and the check of it: `python -m tests.import_directions`.

Every import counts, wherever it stands: in a function, under TYPE_CHECKING, through `import_module("...")`. A module
that is in no part has no rule, which is a violation too, so that a new part has to be placed here first.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["PURE", "Violation", "modules", "violations"]

PACKAGE = "partisan_actors"
FACE = ""  # the package itself, partisan_actors/__init__.py, as a part

_STREAM = ("errors", "processes", "wire", "transport")
_CLUSTER = (*_STREAM, "distribution", "topologies", "cluster")

# A part's own modules are always allowed. "processes.identity" allows that module and no other of its folder.
RULES: dict[str, tuple[str, ...]] = {
    "errors": (),
    "options": ("errors", "transport", "topologies"),
    "processes": ("errors",),
    "wire": ("errors", "processes.identity"),
    "transport": ("errors", "processes.clock"),
    "topologies": (),
    "behaviours": ("errors", "processes"),
    "distribution": _STREAM,
    "cluster": _CLUSTER,
    "groups": _CLUSTER,
    "rpc": _CLUSTER,
    "broadcast": _CLUSTER,
    "parameters": _CLUSTER,
    "discovery": _CLUSTER,
    "observe": (*_CLUSTER, "behaviours"),
}
# `testing` builds whole nodes, and `cli` is a user like any other.
UNBOUND = (FACE, "node", "testing", "cli")

# The doors to the outside: what only some parts may import, of the standard library and of gevent. A name stands
# for everything below it, too.
_SOCKETS = ("socket", "ssl", "select", "selectors", "gevent.socket", "gevent.ssl", "gevent.server", "gevent.select")
_WAITING = ("gevent", "threading", "time", "asyncio", "subprocess", "multiprocessing", "secrets")
SOCKETS_ALLOWED = ("transport", "discovery", "observe", *UNBOUND)
# Where the protocols are: parts, and single modules.
PURE = (
    "wire",
    "topologies",
    "behaviours.restart",
    *(f"cluster.{name}" for name in ("membership", "member_table", "records", "suspicion", "probing", "peer_service")),
    "cluster.verdicts",
    "cluster.overlay_run",
    "cluster.islands",
    *(f"cluster.view_{name}" for name in ("events", "messages", "news", "parameters")),
    *(f"cluster.{name}" for name in ("global_names", "name_events", "name_table")),
    *(f"cluster.broadcast_{name}" for name in ("births", "events", "log", "marks", "roots", "terms")),
    *(f"cluster.plumtree{name}" for name in ("", "_beyond", "_exchange", "_missing", "_newcomer", "_pulls")),
    *(f"cluster.plumtree_{name}" for name in ("repair", "trees")),
    "processes.lateness",
    *(f"distribution.{name}" for name in ("machine", "session", "session_events", "stream")),
    *(f"distribution.{name}" for name in ("admission", "dialling", "strangers")),
    *(f"distribution.{name}" for name in ("outbox", "outbox_events", "outboxes", "inbox", "log_batches")),
    *(f"distribution.causal{name}" for name in ("", "_label", "_stamps", "_log", "_channels", "_events")),
    *(
        f"distribution.{name}"
        for name in ("conduit", "conduit_events", "conduit_pace", "conduit_reading", "conduit_wire", "route_dialling")
    ),
    *(f"distribution.rout{name}" for name in ("ing", "ing_events", "ing_parameters", "e_table")),
    *(f"distribution.{name}" for name in ("look_ups", "saying", "behind")),
    *(f"distribution.{name}" for name in ("carrier", "streams", "flows", "assembly", "stream_dialling", "channels")),
    *(f"testing.{name}" for name in ("virtual_time", "network", "trace", "layers", "links")),
    *(f"testing.{name}" for name in ("checked_overlay", "overlay_world", "overlay_events", "peer_services")),
    *(f"testing.{name}" for name in ("members", "simulated_node", "protocols", "churn")),
)


class Violation(NamedTuple):
    """One import that the rules do not allow."""

    path: Path
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}"


class _Import(NamedTuple):
    line: int
    target: str
    relative: bool


def modules(package: Path) -> dict[str, Path]:
    """Every module below the folder `package`, links followed, by its name within the package ("" is the package)."""
    found: dict[str, Path] = {}
    for path in _python_files(package):
        parts = path.relative_to(package).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def violations(package: Path) -> list[Violation]:
    """What the rules forbid in the folder `package`, sorted by place."""
    found = modules(package)
    return sorted(
        Violation(path, line, text) for name, path in found.items() for line, text in _violations_of(name, path, found)
    )


def _violations_of(name: str, path: Path, known: dict[str, Path]) -> Iterator[tuple[int, str]]:
    part = name.partition(".")[0]
    if part not in RULES and part not in UNBOUND:
        yield 1, f"{PACKAGE}.{name} belongs to no part that tests/import_directions.py knows"
        return
    for line, target, relative in _imports(path, known):
        if relative:
            yield line, "a relative import; write the module's full name"
        elif target == PACKAGE or target.startswith(PACKAGE + "."):
            if not _allowed(part, target.removeprefix(PACKAGE).removeprefix(".")):
                yield line, f"{part or PACKAGE} must not import {target}"
        elif reason := _closed_door(name, target):
            yield line, f"{name} must not import {target}: {reason}"


def _allowed(part: str, target: str) -> bool:
    if part in UNBOUND or (target and target.partition(".")[0] == part):
        return True
    return target != FACE and any(_is_within(target, allowed) for allowed in RULES[part])


def _closed_door(name: str, target: str) -> str | None:
    if name.partition(".")[0] not in SOCKETS_ALLOWED and any(_is_within(target, closed) for closed in _SOCKETS):
        return "only transport touches sockets"
    if any(_is_within(name, pure) for pure in PURE) and any(_is_within(target, closed) for closed in _WAITING):
        return "it does no I/O, reads no clock and waits for nothing"
    return None


def _is_within(target: str, above: str) -> bool:
    return target == above or target.startswith(above + ".")


def _imports(path: Path, known: dict[str, Path]) -> Iterator[_Import]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        match node:
            case ast.Import(names=names):
                for alias in names:
                    yield _Import(node.lineno, alias.name, False)
            case ast.ImportFrom(module=module, names=names, level=level):
                for alias in names:
                    yield _Import(node.lineno, _target(module or "", alias.name, known), level > 0)
            case ast.Call(func=function, args=[ast.Constant(value=str(target)), *_]):
                called = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
                if called in ("import_module", "__import__"):
                    yield _Import(node.lineno, target, target.startswith("."))


def _target(module: str, name: str, known: dict[str, Path]) -> str:
    """What `from module import name` imports: the module of that name when there is one, else `module` itself."""
    if module != PACKAGE and not module.startswith(PACKAGE + "."):
        return f"{module}.{name}"
    inner = f"{module}.{name}".removeprefix(PACKAGE + ".")
    # A folder without __init__.py is no module, but what is below it are.
    if inner in known or any(other.startswith(inner + ".") for other in known):
        return f"{module}.{name}"
    return module


def _python_files(folder: Path) -> Iterable[Path]:
    """Path.rglob does not follow links to folders, and two of our parts are such links."""
    for entry in sorted(folder.iterdir()):
        if entry.is_dir():
            yield from _python_files(entry)
        elif entry.suffix == ".py":
            yield entry


def main() -> int:
    """Print each violation in this checkout, a line each; 1 when there is one."""
    package = Path(__file__).parent.parent / PACKAGE
    found = violations(package)
    for violation in found:
        print(violation)
    print(f"import directions: {len(modules(package))} modules, {len(found)} violations")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
