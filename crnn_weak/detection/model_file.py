"""Find the model file that a path or run folder stands for."""

from __future__ import annotations

from pathlib import Path

from crnn_weak.errors import ModelFileError, RunError
from crnn_weak.run_files import RunFiles

__all__ = ["STARTER_MODEL", "model_file"]

#: The model that comes with the package.
STARTER_MODEL = Path(__file__).parent / "starter" / "starter.keras"


def model_file(path: str | Path | None = None) -> Path:
    """Return the model file that a path means: a ``.keras`` file, a run folder (its ``best.keras``), or the starter.

    Raises
    ------
    ModelFileError
        There is no such file, or no starter model has been made.
    RunError
        The folder holds no ``best.keras``: no run has finished an epoch there.
    """
    if path is None:
        if not STARTER_MODEL.is_file():
            raise ModelFileError(
                "no --model was given and there is no starter model; make one with "
                "`python scripts/starter_model.py`, or pass a run folder or a .keras file."
            )
        return STARTER_MODEL
    path = Path(path)
    if not path.is_dir():
        if not path.exists():
            raise ModelFileError(f"{path}: no such model. Expected a run folder or a .keras file.")
        return path
    best = RunFiles(path).best_model
    if not best.is_file():
        below = sorted(path.glob(f"**/{best.name}"))
        hint = f"Did you mean {below[0].parent}?" if below else "Train one with crnn-weak train."
        raise RunError(f"{path}: the folder holds no {best.name}. {hint}")
    return best
