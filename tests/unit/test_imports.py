"""Imports go one way, and nothing imports TensorFlow before it is needed."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from crnn_weak.cli import COMMANDS

PACKAGE = Path(__file__).resolve().parents[2] / "crnn_weak"

#: From the ground up; a room may import from its own rung and from those before it in this list.
RUNGS = (
    ("errors", "files", "paper", "timing"),
    ("config",),
    ("parallel", "environment", "run_files"),
    ("labels", "audio"),
    ("synthesis", "data"),
    ("features",),
    ("model",),
    ("metrics", "training"),
    ("detection",),
    ("runs", "saliency", "figures"),
    ("report",),
    ("cli",),  # the dispatcher loads a command by its name, so it is below the commands
    ("experiments",),
    ("commands",),
    ("__main__",),
)
RUNG = {name: number for number, names in enumerate(RUNGS) for name in names}


def imported_modules(path):
    """Return the modules of the package that a file imports, inside function bodies too."""
    known = {module_name(other) for other in PACKAGE.rglob("*.py")}
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {name if (name := f"{node.module}.{alias.name}") in known else node.module for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.split(".")[0] == "crnn_weak"} - {module_name(path)}


def module_name(path):
    parts = ("crnn_weak", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def rung(name):
    """Return the number of a module's rung: its own, or that of its room."""
    place = name.removeprefix("crnn_weak.")
    room = place.split(".")[0]
    assert room in RUNG, f"{name}: give the room {room} a place in RUNGS"
    return RUNG.get(place, RUNG[room])


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path):
    if path == PACKAGE / "__init__.py":
        return
    own = rung(module_name(path))
    for name in imported_modules(path) - {"crnn_weak"}:
        assert rung(name) <= own, f"{path.name} imports {name}, which stands above it"


def test_no_circle_between_files():
    graph = {module_name(path): imported_modules(path) for path in PACKAGE.rglob("*.py")}
    done = set()

    def visit(name, trail):
        assert name not in trail, " -> ".join([*trail[trail.index(name) :], name])
        if name not in done:
            for other in graph.get(name, ()):
                visit(other, [*trail, name])
            done.add(name)

    for name in graph:
        visit(name, [])


def run_fresh(code):
    """Run `code` in a fresh interpreter; return what it printed, and which of the slow packages it has loaded."""
    slow = ("tensorflow", "keras", "librosa", "scipy", "matplotlib")
    script = f"import sys\n{code}\nprint(*[m for m in {slow} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    *printed, loaded = done.stdout.splitlines()
    return printed, loaded.split()


def test_importing_the_package_imports_no_tensorflow():
    assert run_fresh("import crnn_weak; crnn_weak.preset('paper')") == ([], [])


@pytest.mark.parametrize("command", ["", *sorted(COMMANDS)])
def test_every_command_has_help_with_an_example_and_without_tensorflow(command):
    printed, loaded = run_fresh(f"from crnn_weak.cli import main; assert main({[*command.split(), '--help']}) == 0")
    assert any("example" in line for line in printed)
    assert loaded == []


def test_the_public_names_are_there():
    import crnn_weak

    for name in crnn_weak.__all__:
        assert getattr(crnn_weak, name) is not None
