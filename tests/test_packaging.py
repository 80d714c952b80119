"""What is installed is what the checkout shows, under its own name only.

The wheel is built from the sdist, as an installer without a wheel would do it, and imported in a virtual environment of
its own that sees the declared requirements and nothing else of this one. No network: the requirements are linked in.
"""

from __future__ import annotations

import ast
import configparser
import importlib.metadata
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.sources import parsed

ROOT = Path(__file__).parent.parent
SOURCES = {
    "partisan_actors": ROOT / "partisan_actors",
    "partisan_actors/behaviours": ROOT / "behaviours",
    "partisan_actors/topologies": ROOT / "topologies",
}
IMPORT_ALL = """
import importlib, pathlib, sys
import partisan_actors
root = pathlib.Path(partisan_actors.__file__).parent
assert root.is_relative_to(sys.prefix), root
for path in sorted(root.rglob("*.py")):
    parts = path.relative_to(root.parent).with_suffix("").parts
    if parts[-1] != "__main__":
        print(importlib.import_module(".".join(parts).removesuffix(".__init__")).__name__)
"""


def run(*command: object, cwd: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run to the end, without the environment's Python settings; what it said is in the failure."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    arguments = [str(part) for part in command]
    done = subprocess.run(arguments, cwd=cwd, env=environment, capture_output=True, text=True, timeout=50)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def configuration() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the sdist holds, of a copy: setuptools leaves files in its tree, and packs what lies in build/."""
    folder = tmp_path_factory.mktemp("sdist")
    made = shutil.ignore_patterns(".git", ".venv*", "build", "dist", "*.egg-info", "__pycache__", ".*_cache")
    copy = Path(shutil.copytree(ROOT, folder / "copy", symlinks=True, ignore=made))
    results = copy / "benchmarks" / "results"
    results.mkdir(exist_ok=True)
    (results / "raw.csv").touch()  # as a measurement leaves it
    run(sys.executable, "-c", f"from setuptools import build_meta as m; m.build_sdist({str(folder)!r})", cwd=copy)
    (packed,) = folder.glob("*.tar.gz")
    run(sys.executable, "-m", "tarfile", "-e", packed, folder, cwd=folder)
    return folder / packed.name.removesuffix(".tar.gz")


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, from the sdist."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-c", f"from setuptools import build_meta as m; m.build_wheel({str(folder)!r})", cwd=sdist)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def clean_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a virtual environment that has the wheel, what the wheel requires, and nothing else."""
    folder = tmp_path_factory.mktemp("clean")
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    (site,) = folder.glob("lib/python3*/site-packages")
    for entry in sorted(required_files(wheel)):
        (site / entry.name).symlink_to(entry)
    python = folder / "bin" / "python"
    install = (sys.executable, "-m", "pip", "--python", python, "install", "--no-index", "--no-cache-dir", wheel)
    run(*install, cwd=folder)
    return python


def required_files(wheel: Path) -> set[Path]:
    """The files and folders here of what the wheel requires, and of what that requires."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        lines = archive.read(name).decode().splitlines()
    waiting = [line.removeprefix("Requires-Dist: ") for line in lines if line.startswith("Requires-Dist: ")]
    found: set[Path] = set()
    seen: set[str] = set()
    while waiting:
        requirement = Requirement(waiting.pop())
        if requirement.name in seen or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        seen.add(requirement.name)
        distribution = importlib.metadata.distribution(requirement.name)
        waiting += distribution.requires or []
        tops = {file.parts[0] for file in distribution.files or () if file.parts[0] not in ("..", "__pycache__")}
        found |= {Path(str(distribution.locate_file(top))) for top in tops}
    return found


def test_packages_are_the_folders_of_the_tree(configuration):
    listed = configuration["options"]["packages"].split()
    folders = {
        "/".join((name, *path.parent.relative_to(source).parts)).replace("/", ".")
        for name, source in SOURCES.items()
        for path in source.rglob("*.py")
    }
    assert sorted(folders) == sorted(listed)
    assert listed == sorted(listed)


def test_every_package_has_an_init(configuration):
    links = {"partisan_actors.behaviours", "partisan_actors.topologies"}
    for package in configuration["options"]["packages"].split():
        folder = ROOT / package.replace(".", "/")
        assert (folder / "__init__.py").is_file(), package
        assert folder.is_symlink() == (package in links), package


def test_the_links_show_the_folders():
    for name in ("behaviours", "topologies"):
        link = ROOT / "partisan_actors" / name
        assert link.is_symlink()
        assert link.readlink() == Path("..") / name


@pytest.mark.parametrize("name", ["behaviours", "topologies"])
def test_a_folder_is_not_importable_under_its_short_name(name):
    done = run(sys.executable, "-c", f"import {name}", cwd=ROOT, check=False)
    assert done.returncode == 1
    assert "ImportError" in done.stderr
    assert f"partisan_actors.{name}" in done.stderr.splitlines()[-1]


def test_the_sdist_has_no_measurements(sdist):
    assert (sdist / "partisan_actors").is_dir()
    assert not (sdist / "benchmarks").exists() and not list(sdist.rglob("raw.csv"))


def test_the_wheel_has_every_file(wheel):
    expected = {
        f"{name}/{path.relative_to(source).as_posix()}"
        for name, source in SOURCES.items()
        for path in (*source.rglob("*.py"), source / "py.typed")
    }
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        metadata = archive.read(next(name for name in archive.namelist() if name.endswith("/METADATA"))).decode()
        licensed = any(name.endswith("/licenses/LICENSE") for name in archive.namelist())
    assert names == expected
    assert licensed
    assert "License-Expression: Apache-2.0" in metadata


@pytest.mark.timeout(100)
def test_the_wheel_imports_away_from_the_checkout(clean_python, configuration, tmp_path):
    imported = run(clean_python, "-W", "error", "-c", IMPORT_ALL, cwd=tmp_path).stdout.split()
    assert set(configuration["options"]["packages"].split()) <= set(imported)


@pytest.mark.timeout(100)
@pytest.mark.parametrize("name", ["behaviours", "topologies"])
def test_the_wheel_takes_no_other_name(clean_python, name, tmp_path):
    done = run(clean_python, "-c", f"import {name}", cwd=tmp_path, check=False)
    assert f"No module named '{name}'" in done.stderr


def test_importing_patches_nothing(clean_python, tmp_path):
    program = "import partisan_actors; from gevent.monkey import saved; print(sorted(saved))"
    assert run(clean_python, "-c", program, cwd=tmp_path).stdout == "[]\n"


def imported_by(*folders: str) -> Iterator[str]:
    """The top-level names that the files of these folders import."""
    for folder in folders:
        for path in (ROOT / folder).rglob("*.py"):
            if folder == "partisan_actors" and path.relative_to(ROOT / folder).parts[0] == "testing":
                continue  # has an extra of its own
            for node in ast.walk(parsed(path)):
                match node:
                    case ast.Import(names=names):
                        yield from (alias.name.partition(".")[0] for alias in names)
                    case ast.ImportFrom(module=str(module), level=0):
                        yield module.partition(".")[0]


@pytest.mark.parametrize(
    ("folders", "extras"),
    [
        (("partisan_actors", "behaviours", "topologies"), ()),
        (("partisan_actors/testing",), ("testing",)),
        (("examples",), ("demo",)),
        (("benchmarks",), ("bench", "demo")),
        (("tests",), ("test", "testing", "demo")),
    ],
)
def test_what_is_imported_is_declared(configuration, folders, extras):
    lines = configuration["options"]["install_requires"].splitlines()
    for extra in extras:
        lines += configuration["options.extras_require"][extra].splitlines()
    declared = {Requirement(line).name for line in lines if line.strip()}
    distributions = importlib.metadata.packages_distributions()
    # Examples and the programs of tests run by their paths, and find their neighbours without a package.
    neighbours = {path.stem for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in ("", ".py")}
    foreign = set(imported_by(*folders)) - set(sys.stdlib_module_names) - neighbours - {"partisan_actors", *folders}
    foreign -= {"_common"}  # of the Python peers' own files, which benchmarks/bench_partisan_actors.py joins
    assert {name for name in foreign if not declared & set(distributions.get(name, ()))} == set()
