"""``crnn-weak doctor``: what an issue report needs. A part that fails is one line, and the others still print."""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import shutil
from collections.abc import Callable
from functools import partial
from importlib import import_module, metadata, util
from pathlib import Path

from crnn_weak import cli
from crnn_weak.bundled import EVERYDAY, EVERYDAY_CC, EVERYDAY_TERMS
from crnn_weak.environment import held_back_stderr, precision_fault, prepare_environment
from crnn_weak.parallel import default_jobs

_REQUIRED = (
    "keras", "numpy", "scipy", "librosa", "soundfile", "soxr", "h5py", "scikit-learn", "dcase_util", "sed_eval",
    "matplotlib", "joblib", "tqdm", "Jinja2", "msgspec", "filelock", "tomli-w", "numba", "Pillow", "setuptools<82",
)  # fmt: skip
#: extra of setup.py -> its packages, and what needs them
_EXTRAS = {
    "dask": (("dask", "distributed"), "grid --scheduler"),
    "psds": (("sed_scores_eval", "pandas"), "evaluate --threshold-free: PSDS"),
    "tensorboard": (("tensorboard",), "train --tensorboard"),
    "onnx": (("onnx", "tf2onnx"), "export --format onnx"),
}
_LEAST_FREE_BYTES = 2 * 10**9


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "example: crnn-weak doctor    (exit code 1 where something is missing; paste it into an issue)"


def run(args: argparse.Namespace) -> int:
    """Print each part; return 1 where one failed."""
    print(f"{'versions':<14} {cli.version_line()}; Python {platform.python_version()}, {platform.platform()}")
    parts: dict[str, Callable[[], str]] = {"devices": _devices, "audio": _audio, "disk": _disk, "model": _model}
    parts |= {name: partial(_version, name) for name in _REQUIRED}
    n_problems = 0
    for name, describe in parts.items():
        try:
            print(f"{name:<14} {describe()}")
        except Exception as error:  # whatever a broken installation raises is what the report is for
            n_problems += 1
            advice = " ".join(str(error).split())
            if name in _REQUIRED:
                advice = f"not installed. pip install {shlex.quote(name)}"
            print(f"{name:<14} PROBLEM: {advice}")
    for name, (packages, feature) in _EXTRAS.items():
        missing = any(util.find_spec(package) is None for package in packages)
        state = f"not installed. pip install 'crnn-weak[{name}]'" if missing else "installed"
        print(f"extra {name:<11} {feature}: {state}")
    print(f"{n_problems} problem(s) found." if n_problems else "No problem found.")
    return 1 if n_problems else 0


def _version(requirement: str) -> str:
    if requirement.startswith("setuptools"):
        import_module("pkg_resources")  # sed_eval needs it; later versions have none
    return metadata.version(requirement.partition("<")[0])


def _devices() -> str:
    prepare_environment()
    with held_back_stderr():
        keras = import_module("keras")
        devices = [str(device) for device in keras.distribution.list_devices()]
    if fault := precision_fault():
        raise OSError(fault)
    precision = keras.config.dtype_policy().name
    return f"{', '.join(devices)}; precision {precision}; {default_jobs()} of {os.cpu_count()} CPUs"


def _audio() -> str:
    soundfile = import_module("soundfile")
    return f"libsndfile {soundfile.__libsndfile_version__}, reads {', '.join(soundfile.available_formats())}"


def _model() -> str:
    read = import_module("crnn_weak.model.archive").read_metadata
    default, larger = (f"{path.stem}, {len(read(path).classes)} classes" for path in (EVERYDAY_CC, EVERYDAY))
    return f"{default} (default); {larger}, {EVERYDAY_TERMS}"


def _disk() -> str:
    free = shutil.disk_usage(Path.cwd()).free
    if free < _LEAST_FREE_BYTES or not os.access(Path.cwd(), os.W_OK):
        raise OSError(f"{Path.cwd()}: {free / 1e9:.1f} GB free. The default grid needs 2 GB in a writable folder.")
    return f"{free / 1e9:.1f} GB free here"
