"""A model file that describes itself: the ``.keras`` archive with one more member, ``crnn_weak.json``.

The member holds the classes, the whole configuration, the scaler, the decisions and where the model comes from.
``keras.models.load_model`` opens the same file (once `crnn_weak.model` is imported). Loading runs no code from the
file: Keras' safe mode stays on, and the member is JSON.
"""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras

from crnn_weak import config as configuration
from crnn_weak.config import Config
from crnn_weak.errors import CrnnWeakError, ModelFileError
from crnn_weak.features.scaler import Scaler
from crnn_weak.model import losses, pooling  # noqa: F401  (registers loss, optimizer and layers with Keras)
from crnn_weak.model.fast import layers  # noqa: F401  (registers the layers with Keras)

__all__ = ["ModelMetadata", "load_model", "read_metadata", "save_model", "update_metadata"]

_MEMBER = "crnn_weak.json"
_SCHEMA = 1


@dataclass(frozen=True)
class ModelMetadata:
    """What a model file says of itself.

    Attributes
    ----------
    classes : tuple of str
        In the order of the outputs' last axis.
    config : Config
        The whole configuration of the training run.
    scaler : Scaler
        Standardises the log mel input.
    decisions : mapping
        How scores become events, as `crnn_weak.events.decode.OperatingPoint.to_dict` writes it; empty for
        the configuration's own.
    provenance : mapping
        Trained on what, when, with which versions.
    """

    classes: tuple[str, ...]
    config: Config
    scaler: Scaler
    decisions: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the text of the archive's member."""
        content = {
            "schema": _SCHEMA,
            "classes": list(self.classes),
            "config_toml": configuration.to_toml(self.config),
            "scaler": self.scaler.to_dict(),
            "decisions": dict(self.decisions),
            "provenance": dict(self.provenance),
        }
        return json.dumps(content, indent=1, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, *, where: str) -> ModelMetadata:
        """Read the text of the archive's member; `where` names the file in messages."""
        import tomllib

        try:
            content = json.loads(text)
            if content["schema"] != _SCHEMA:
                raise ModelFileError(
                    f"{where}: written with schema {content['schema']}, this version reads {_SCHEMA}. "
                    "Use the crnn_weak version that wrote it, or train again."
                )
            return cls(
                classes=tuple(content["classes"]),
                config=configuration.from_dict(tomllib.loads(content["config_toml"])),
                scaler=Scaler.from_dict(content["scaler"]),
                decisions=content["decisions"],
                provenance=content["provenance"],
            )
        except ModelFileError:
            raise
        except (KeyError, TypeError, ValueError, CrnnWeakError) as error:
            raise ModelFileError(
                f"{where}: its {_MEMBER} is damaged ({error}). Train or copy the model again."
            ) from None


def save_model(model: keras.Model, path: str | Path, metadata: ModelMetadata) -> None:
    """Write a model file; the name appears only when the file is whole."""
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.tmp.keras")  # Keras insists on the suffix
    model.save(temporary)
    with zipfile.ZipFile(temporary, "a") as archive:
        archive.writestr(_MEMBER, metadata.to_json())
    os.replace(temporary, path)


def _check_archive(path: Path) -> None:
    if not path.is_file():
        raise ModelFileError(f"{path}: no such model file. Expected a .keras file written by crnn-weak train.")
    if not zipfile.is_zipfile(path):
        raise ModelFileError(f"{path}: not a .keras file, or a damaged one. Copy it again, or train again.")


def read_metadata(path: str | Path) -> ModelMetadata:
    """Return what a model file says of itself, without building the model.

    Raises
    ------
    ModelFileError
        The file is missing, damaged, or was not written by this package.
    """
    path = Path(path)
    _check_archive(path)
    try:
        with zipfile.ZipFile(path) as archive:
            text = archive.read(_MEMBER).decode("utf-8")
    except KeyError:
        raise ModelFileError(
            f"{path}: a Keras file without {_MEMBER}, so its classes and features are not known. "
            "Expected a model written by crnn-weak train."
        ) from None
    except (OSError, zipfile.BadZipFile, UnicodeDecodeError) as error:
        raise ModelFileError(f"{path}: a damaged model file ({error}). Copy it again, or train again.") from None
    return ModelMetadata.from_json(text, where=str(path))


def update_metadata(path: str | Path, metadata: ModelMetadata) -> None:
    """Replace what a model file says of itself (tuned decisions, say); weights and optimizer state stay."""
    path = Path(path)
    _check_archive(path)
    temporary = path.with_name(f".{path.stem}.tmp.keras")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(temporary, "w") as target:
        for item in source.infolist():
            if item.filename != _MEMBER:
                with source.open(item) as member, target.open(item, "w") as copy:
                    shutil.copyfileobj(member, copy)
        target.writestr(_MEMBER, metadata.to_json())
    os.replace(temporary, path)


def load_model(path: str | Path, *, compile: bool = False) -> tuple[keras.Model, ModelMetadata]:
    """Load a model file.

    Parameters
    ----------
    path : path
        Written by `save_model`.
    compile : bool
        Restore losses and optimizer state as well, to go on training.

    Raises
    ------
    ModelFileError
        The file is missing, damaged, or was not written by this package.
    """
    path = Path(path)
    metadata = read_metadata(path)
    try:
        model = keras.models.load_model(path, compile=compile, safe_mode=True)
    except Exception as error:  # Keras raises whatever its parts raise; a reader needs one line
        reason = " ".join(str(error).split())[:200]
        raise ModelFileError(f"{path}: cannot be loaded ({reason}). Copy it again, or train again.") from error
    n_outputs = model.get_layer("weak").output.shape[-1] if "weak" in model.output_names else None
    if n_outputs != len(metadata.classes):
        raise ModelFileError(f"{path}: {n_outputs} weak outputs for {len(metadata.classes)} classes. Train again.")
    return model, metadata
