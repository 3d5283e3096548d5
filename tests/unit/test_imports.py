"""Imports go one way, and nothing imports TensorFlow before it is needed."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "crnn_weak"

#: From the ground up; a module may import from its own rung and from those above it in this list.
RUNGS = (
    ("errors", "paper", "files"),
    ("timing", "settings", "config", "parallel", "owner", "dask_tasks"),
    ("data",),
    ("features",),
    ("model",),
    ("training",),
    ("detection", "metrics", "saliency"),
    ("report",),
    ("commands", "cli", "experiments", "__main__"),
)
RUNG = {name: number for number, names in enumerate(RUNGS) for name in names}


def module_level_imports(path):
    """Return the parts of the package that a module imports when it is itself imported."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "crnn_weak":
            parts = node.module.split(".")
            yield from ([parts[1]] if len(parts) > 1 else [alias.name for alias in node.names])
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("crnn_weak."))


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path):
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if own == "__init__":
        return
    for name in module_level_imports(path):
        if name in RUNG:
            assert RUNG[name] <= RUNG[own], f"{path.name} imports crnn_weak.{name}, which stands above it"


def loaded(code):
    """Return which of the slow packages a fresh interpreter has loaded after running `code`."""
    slow = ("tensorflow", "keras", "librosa", "scipy", "matplotlib")
    script = f"import sys\n{code}\nprint(*[m for m in {slow} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1].split()


def test_importing_the_package_imports_no_tensorflow():
    assert loaded("import crnn_weak; crnn_weak.preset('paper')") == []


def test_help_imports_no_tensorflow():
    assert loaded("from crnn_weak.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass") == []


@pytest.mark.parametrize("command", sorted(__import__("crnn_weak.cli", fromlist=["COMMANDS"]).COMMANDS))
def test_every_command_has_help_with_an_example_and_without_tensorflow(command):
    code = f"from crnn_weak.cli import main\ntry: main([{command!r}, '--help'])\nexcept SystemExit: pass"
    assert loaded(code) == []
    done = subprocess.run(
        [sys.executable, "-m", "crnn_weak", command, "--help"], capture_output=True, text=True, check=True
    )
    assert "example" in done.stdout


def test_the_public_names_are_there():
    import crnn_weak

    for name in crnn_weak.__all__:
        assert getattr(crnn_weak, name) is not None
