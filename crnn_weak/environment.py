"""Preparation of the import of Keras, and its versions, devices and threads."""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib
import importlib.util
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from crnn_weak.errors import DependencyError
from crnn_weak.parallel import default_jobs

_PACKAGES = (
    "crnn-weak", "keras", "tensorflow", "tensorflow-cpu", "jax", "torch", "numpy", "scipy", "librosa", "h5py",
)  # fmt: skip


def installed_version(*packages: str) -> str | None:
    """Return the version of the first installed one of several distributions, or None."""
    for package in packages:
        with contextlib.suppress(PackageNotFoundError):
            return version(package)
    return None


def backend_name() -> str:
    """Return the backend that Keras will use: ``KERAS_BACKEND``, else ``keras.json``, else TensorFlow."""
    home = Path(os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras"))
    configured = "tensorflow"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        configured = str(json.loads((home / "keras.json").read_text(encoding="utf-8"))["backend"])
    return os.environ.get("KERAS_BACKEND") or configured


@functools.cache
def prepare_caches() -> None:
    """Give numba (of librosa) and matplotlib a temporary folder where the user has no home to write in.

    Containers and clusters may have none, and numba then refuses to be imported.
    """
    home = os.path.expanduser("~")
    places = [home, *filter(os.path.exists, (f"{home}/.cache", f"{home}/.config"))]
    if all(os.access(place, os.W_OK) for place in places):
        return
    folder = tempfile.mkdtemp(prefix="crnn-weak-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ.setdefault("NUMBA_CACHE_DIR", folder)
    os.environ.setdefault("MPLCONFIGDIR", folder)
    if home == "~":  # a user without a name: libraries raise many kinds of errors
        os.environ["HOME"] = folder


def prepare_environment() -> None:
    """Set what TensorFlow reads at its import; what the user has set stays. Refuse a backend that is not installed."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # the largest single switch for speed on many CPUs
    backend = backend_name()  # also the name of its package
    if backend not in sys.modules and importlib.util.find_spec(backend) is None:
        raise DependencyError(
            f"the Keras backend {backend!r} is not installed: pip install 'crnn-weak[cpu]' for TensorFlow, "
            "or set KERAS_BACKEND to an installed one (jax, torch)."
        )
    if backend == "tensorflow" and "tensorflow" not in sys.modules:
        with held_back_stderr():
            importlib.import_module("tensorflow")


@contextlib.contextmanager
def held_back_stderr() -> Iterator[None]:
    """Keep TensorFlow's native lines, which no variable stops, off the terminal; show them after an error."""
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except Exception:
            os.dup2(saved, 2)
            held.seek(0)
            sys.stderr.write(held.read().decode(errors="replace"))
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def set_threads(n_threads: int, *, deterministic: bool = False) -> None:
    """Give the backend `n_threads` threads in this process; call before the first operation.

    Only with one thread is training repeatable: oneDNN sums in varying order, also with deterministic operations.
    """
    os.environ["OMP_NUM_THREADS"] = str(n_threads)
    prepare_environment()
    import keras

    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    with contextlib.suppress(RuntimeError):  # the runtime has started; its thread count stays what it was
        tf.config.threading.set_intra_op_parallelism_threads(n_threads)
        tf.config.threading.set_inter_op_parallelism_threads(n_threads)
    if deterministic:
        tf.config.experimental.enable_op_determinism()


def n_threads() -> int:
    """Return how many operations TensorFlow may run side by side in this process."""
    import tensorflow as tf

    stated = tf.config.threading.get_inter_op_parallelism_threads() or os.environ.get("TF_NUM_INTEROP_THREADS", 0)
    return int(stated) or default_jobs()


def precision_fault() -> str:
    """Return what is wrong with the type of Keras' numbers, or an empty text."""
    import keras

    if keras.config.floatx() != "float16":
        return ""
    return "Keras computes in float16, too narrow to train in; set floatx to float32 in ~/.keras/keras.json."


def has_gpu() -> bool:
    """Return whether TensorFlow sees a GPU."""
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def environment() -> dict[str, Any]:
    """Return what a result depends on besides its configuration: versions, machine, devices."""
    description: dict[str, Any] = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "n_cpus": os.cpu_count(),
        "packages": {name: installed_version(name) for name in _PACKAGES if installed_version(name)},
    }
    if "keras" in sys.modules:
        import keras

        description["backend"] = keras.backend.backend()
        description["precision"] = str(keras.config.dtype_policy().name)
        with contextlib.suppress(AttributeError):  # Keras cannot list the devices of every backend
            description["devices"] = [str(device) for device in keras.distribution.list_devices()]
    return description
