"""Imports go one way, and nothing imports TensorFlow before it is needed."""

import ast
import graphlib
from pathlib import Path

import pytest
from helpers import run_fresh

import crnn_weak
from crnn_weak.cli import COMMANDS

PACKAGE = Path(__file__).resolve().parents[2] / "crnn_weak"

#: From the ground up; a room may import from its own rung and from those before it in this list.
RUNGS = (
    ("errors", "files", "paper", "bundled"),
    ("config",),
    ("parallel", "environment", "run_files"),
    ("labels", "audio"),
    ("synthesis", "data"),
    ("features",),
    ("model",),
    ("metrics", "training"),
    ("figures",),
    ("detection",),
    ("runs", "saliency"),
    ("report",),
    ("cli",),  # the dispatcher loads a command by its name, so it is below the commands
    ("experiments",),
    ("commands",),
    ("__main__",),
)
RUNG = {name: number for number, names in enumerate(RUNGS) for name in names}


def module_name(path):
    parts = ("crnn_weak", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


#: module -> its file
MODULES = {module_name(path): path for path in PACKAGE.rglob("*.py")}


def imported_modules(name):
    """Return the modules that a module imports, inside function bodies too."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if name in MODULES else node.module for name in names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found - {name, "crnn_weak"}


def test_imports_go_one_way_and_in_no_circle():
    graph = {name: imported_modules(name) & set(MODULES) for name in sorted(set(MODULES) - {"crnn_weak"})}
    wrong = [
        f"{name} imports {other}, which stands above it"
        for name, others in graph.items()
        for other in sorted(others)
        if RUNG[other.split(".")[1]] > RUNG[name.split(".")[1]]
    ]
    assert wrong == []
    graphlib.TopologicalSorter(graph).prepare()  # raises where modules form a circle


POSIX_ONLY = {"grp", "posix", "pty", "pwd", "resource", "syslog", "termios"}


def test_no_module_imports_what_only_posix_has():
    for name in MODULES:
        assert not POSIX_ONLY & {other.partition(".")[0] for other in imported_modules(name)}, name


#: Slow to import.
SLOW = ("tensorflow", "keras", "librosa", "scipy", "matplotlib")


def test_importing_the_package_imports_no_tensorflow():
    done = run_fresh("import crnn_weak, crnn_weak.figures.clip; crnn_weak.preset('paper')", SLOW)
    assert (done.stdout, done.stderr) == ("\n", "")


@pytest.mark.parametrize("command", ["", *sorted(COMMANDS)])
def test_every_command_has_help_with_an_example_and_without_tensorflow(command):
    done = run_fresh(f"from crnn_weak.cli import main; assert main({[*command.split(), '--help']}) == 0", SLOW)
    assert "example" in done.stdout
    assert (done.stdout.splitlines()[-1], done.stderr) == ("", "")


def test_the_public_names_are_there():
    for name in crnn_weak.__all__:
        assert getattr(crnn_weak, name) is not None
