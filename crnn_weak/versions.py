"""Versions of the package, Keras and its backend, read without importing any of them."""

from __future__ import annotations

import json
import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["BACKEND_PACKAGES", "backend_name", "installed_version", "version_line"]

#: Keras backend -> distributions that provide it.
BACKEND_PACKAGES = {
    "tensorflow": ("tensorflow", "tensorflow-cpu", "tensorflow-macos"),
    "jax": ("jax",),
    "torch": ("torch",),
    "openvino": ("openvino",),
}


def installed_version(*packages: str) -> str | None:
    """Return the version of the first installed one of several distributions, or None."""
    for package in packages:
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    return None


def backend_name() -> str:
    """Return the backend that Keras will use: ``KERAS_BACKEND``, else ``keras.json``, else TensorFlow."""
    named = os.environ.get("KERAS_BACKEND")
    if named:
        return named
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    try:
        return str(json.loads((home / "keras.json").read_text(encoding="utf-8"))["backend"])
    except (OSError, ValueError, KeyError, TypeError):
        return "tensorflow"


def version_line() -> str:
    """Return one line: the package's version, Keras' and the backend's."""
    from crnn_weak import __version__

    backend = backend_name()
    keras = installed_version("keras") or "(not installed)"
    of_backend = installed_version(*BACKEND_PACKAGES.get(backend, (backend,))) or "(not installed)"
    return f"crnn-weak {__version__}, Keras {keras}, backend {backend} {of_backend}"
