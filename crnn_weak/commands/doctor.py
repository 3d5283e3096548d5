"""``crnn-weak doctor``: what an issue report needs: versions, backend, devices, threads, disk, extras."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from crnn_weak.versions import BACKEND_PACKAGES, backend_name, installed_version, version_line

_REQUIRED = (
    "keras", "numpy", "scipy", "librosa", "soundfile", "soxr", "h5py", "scikit-learn", "dcase_util", "sed_eval",
    "matplotlib", "joblib", "tqdm", "Jinja2", "msgspec", "filelock", "tomli-w",
)  # fmt: skip
_LEAST_FREE_BYTES = 2 * 10**9


class Extra(NamedTuple):
    """An optional extra: the distributions that it installs, and what it gives."""

    packages: tuple[str, ...]
    gives: str


#: The extras of setup.py that add a feature.
EXTRAS: dict[str, Extra] = {
    "dask": Extra(("dask", "distributed"), "grid --scheduler: features and training on several machines"),
    "psds": Extra(("sed_scores_eval", "pandas"), "evaluate --threshold-free: PSDS; EventList.to_pandas"),
    "tensorboard": Extra(("tensorboard",), "train --tensorboard"),
    "onnx": Extra(("onnx", "tf2onnx"), "export --format onnx"),
    "completion": Extra(("shtab",), "completion: commands and options in the shell"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = "example: crnn-weak doctor    (exit code 1 where something is missing; paste it into an issue)"


def run(args: argparse.Namespace) -> int:
    """Print the description; return 1 where a problem was found."""
    problems: list[str] = []
    sections = (
        ("installation", _installation(problems)),
        ("backend", _backend(problems)),
        ("machine", _machine(problems)),
        ("packages", _packages(problems)),
        ("optional extras", _extras()),
    )
    for title, rows in sections:
        print(title)
        for name, text in rows:
            print(f"  {name:<16} {text}")
    for problem in problems:
        print(f"problem: {problem}")
    print(f"{len(problems)} problem(s) found." if problems else "No problem found.")
    return 1 if problems else 0


def _installation(problems: list[str]) -> Iterator[tuple[str, str]]:
    starter_model = Path(__file__).parents[1] / "detection" / "starter" / "starter.keras"
    yield "versions", version_line()
    yield "python", f"{platform.python_version()} ({platform.python_implementation()})"
    yield "package", str(Path(__file__).parents[1])
    there = starter_model.is_file()
    yield "starter model", f"{starter_model.stat().st_size / 1e6:.1f} MB" if there else "missing"
    if not there:
        problems.append("the starter model is missing: demo, and detect without --model, need it. Install again.")


def _backend(problems: list[str]) -> Iterator[tuple[str, str]]:
    from crnn_weak.errors import DependencyError
    from crnn_weak.model.environment import held_back_stderr, prepare_environment

    name = backend_name()
    yield "name", f"{name} ({'from KERAS_BACKEND' if os.environ.get('KERAS_BACKEND') else 'default or keras.json'})"
    if name not in BACKEND_PACKAGES:
        problems.append(f"KERAS_BACKEND is {name!r}: expected one of {', '.join(BACKEND_PACKAGES)}.")
        return
    try:
        prepare_environment()
        with held_back_stderr():
            keras = importlib.import_module("keras")
            devices = [str(device) for device in keras.distribution.list_devices()]
    except DependencyError as error:
        problems.append(str(error))
        return
    except Exception as error:  # whatever a broken installation raises is what the report is for
        problems.append(f"Keras on {name} cannot be imported: {type(error).__name__}: {error}")
        return
    yield "devices", ", ".join(devices) or "none listed"
    yield "precision", str(keras.config.dtype_policy().name)
    yield "image format", str(keras.config.image_data_format())


def _machine(problems: list[str]) -> Iterator[tuple[str, str]]:
    from crnn_weak.parallel.local import default_jobs

    yield "system", platform.platform()
    yield "processors", f"{os.cpu_count()}, of which this process may use {default_jobs()}"
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "TF_ENABLE_ONEDNN_OPTS"):
        if name in os.environ:
            yield name, os.environ[name]
    folder = Path.cwd()
    free = shutil.disk_usage(folder).free
    yield "disk", f"{free / 1e9:.1f} GB free here, {'writable' if os.access(folder, os.W_OK) else 'not writable'}"
    if free < _LEAST_FREE_BYTES:
        problems.append(f"{folder}: {free / 1e9:.1f} GB free; the default grid needs {_LEAST_FREE_BYTES / 1e9:.0f} GB.")


def _packages(problems: list[str]) -> Iterator[tuple[str, str]]:
    missing = []
    for package in _REQUIRED:
        found = installed_version(package)
        if found is None:
            missing.append(package)
        yield package, found or "missing"
    if missing:
        problems.append(f"missing: pip install {' '.join(missing)}")
    try:
        soundfile = importlib.import_module("soundfile")
        formats = soundfile.available_formats()
        shown = ", ".join(name for name in ("WAV", "FLAC", "OGG", "MP3") if name in formats)
        yield "libsndfile", f"{soundfile.__libsndfile_version__}; reads {shown}"
    except (ImportError, OSError) as error:
        problems.append(f"no audio can be read: {error}")


def _extras() -> Iterator[tuple[str, str]]:
    for name, extra in EXTRAS.items():
        versions = {package: installed_version(package) for package in extra.packages}
        if all(versions.values()):
            yield name, f"{', '.join(f'{package} {found}' for package, found in versions.items())}: {extra.gives}"
        else:
            yield name, f"not installed: {extra.gives}. pip install 'crnn-weak[{name}]'"
