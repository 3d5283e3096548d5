"""A model file that describes itself: the ``.keras`` archive with one more member, ``crnn_weak.json``.

Loading runs no code from the file: Keras' safe mode stays on, and the member is JSON.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import h5py
import keras
import msgspec
import numpy as np

from crnn_weak import config as configuration
from crnn_weak.config import Config
from crnn_weak.errors import CrnnWeakError, ModelFileError
from crnn_weak.features.log_mel import Scaler
from crnn_weak.files import decode_json, decode_toml, replace_file
from crnn_weak.labels.names import check_classes

_MEMBER = "crnn_weak.json"
_ADVICE = "Copy the model again, or train it again."
_EXPECTED = "Expected a .keras file written by crnn-weak train."
#: Weights do not compress: a member that unpacks to more than this many times the file's size fills the memory.
_MAX_GROWTH = 100


class _ScalerValues(msgspec.Struct):
    mean: list[float]
    std: list[float]


class _Content(msgspec.Struct):
    schema: Literal[1]
    classes: Annotated[list[str], msgspec.Meta(min_length=1, max_length=65_536)]
    config_toml: str
    scaler: _ScalerValues
    operating_point: dict[str, Any] = {}
    provenance: dict[str, Any] = {}


@dataclass(frozen=True)
class ModelMetadata:
    """The description in a model file."""

    classes: tuple[str, ...]  # in the order of the outputs' last axis
    config: Config
    scaler: Scaler
    #: As `crnn_weak.detection.postprocessing.OperatingPoint.to_dict` writes it; empty for the configuration's own.
    operating_point: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)  # training data, date and versions


def save_model(model: keras.Model, path: str | Path, metadata: ModelMetadata) -> None:
    """Write a model file, whole or not at all."""
    with replace_file(path) as temporary:
        model.save(temporary)
        content = _Content(
            schema=1,
            classes=list(metadata.classes),
            config_toml=configuration.to_toml(metadata.config),
            scaler=_ScalerValues(metadata.scaler.mean.tolist(), metadata.scaler.std.tolist()),
            operating_point=dict(metadata.operating_point),
            provenance=dict(metadata.provenance),
        )
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.writestr(_MEMBER, json.dumps(msgspec.to_builtins(content), indent=1, ensure_ascii=False))


def load_model(path: str | Path, *, compile: bool = False) -> tuple[keras.Model, ModelMetadata]:
    """Load a model file, or refuse it with a ModelFileError; `compile` restores losses and optimizer state as well."""
    path = Path(path)
    metadata = read_metadata(path)
    _check_sizes(path, metadata)
    try:
        model = keras.models.load_model(path, compile=compile, safe_mode=True)
    except Exception as error:  # Keras raises whatever its parts raise; a reader needs one line
        reason = " ".join(str(error).split())[:200]
        raise ModelFileError(f"{path}: cannot be loaded ({reason}). {_ADVICE}") from error
    if not isinstance(model, keras.Model):
        raise ModelFileError(f"{path}: holds no model. {_ADVICE}")
    _check_shapes(path, model, metadata)
    return model, metadata


def read_metadata(path: str | Path) -> ModelMetadata:
    """Return the description in a model file, without building the model; raises as `load_model` does."""
    (data,) = _read_members(Path(path), _MEMBER)
    where = f"{path}, {_MEMBER}"
    content = decode_json(data, _Content, where, advice=_ADVICE, error=ModelFileError)
    try:
        config = configuration.from_dict(decode_toml(content.config_toml.encode(), "config_toml"))
        scaler = Scaler(np.array(content.scaler.mean), np.array(content.scaler.std))
        classes = check_classes(content.classes, "classes")
    except CrnnWeakError as error:
        raise ModelFileError(f"{where}: {error} {_ADVICE}") from None
    if len(scaler.mean) != (n_mels := config.features.n_mels):
        raise ModelFileError(f"{where}: {len(scaler.mean)} mel bands (scaler), expected {n_mels}. {_ADVICE}")
    return ModelMetadata(classes, config, scaler, content.operating_point, content.provenance)


def _read_members(path: Path, *names: str) -> list[bytes]:
    """Return members of the archive; refuse other files, damaged ones and compression bombs."""
    if not path.is_file():
        raise ModelFileError(f"{path}: no such model file. {_EXPECTED}")
    try:
        if not zipfile.is_zipfile(path):
            raise ModelFileError(f"{path}: not a .keras file, or a damaged one. {_ADVICE}")
        with zipfile.ZipFile(path) as archive:
            sizes = {item.filename: item.file_size for item in archive.infolist()}
            if sum(sizes.values()) > _MAX_GROWTH * path.stat().st_size:
                raise ModelFileError(f"{path}: unpacks to {sum(sizes.values()):,} bytes, too many for a model file.")
            for name in names:
                if name not in sizes:
                    raise ModelFileError(f"{path}: holds no {name}, so this package did not write it. {_EXPECTED}")
            return [archive.read(name) for name in names]
    except ModelFileError:
        raise
    except Exception as error:  # damaged archives make zipfile and zlib raise errors of many kinds
        raise ModelFileError(f"{path}: a damaged model file ({error}). {_ADVICE}") from None


def _check_sizes(path: Path, metadata: ModelMetadata) -> None:
    """Refuse a file whose description asks for larger arrays than its weights and its features have."""
    described, stored = _read_members(path, "config.json", "model.weights.h5")
    description = decode_json(described, dict, f"{path}, config.json", advice=_ADVICE, error=ModelFileError)
    largest = max(metadata.config.features.n_frames, metadata.config.features.n_mels, len(metadata.classes))
    arrays: list[h5py.Dataset] = []
    try:
        with h5py.File(io.BytesIO(stored), "r") as file:
            file.visititems(lambda _, item: arrays.append(item) if isinstance(item, h5py.Dataset) else None)
            if sum(array.nbytes for array in arrays) > len(stored):
                raise ModelFileError(f"{path}: its weights are cut off. {_ADVICE}")
            largest = max([largest, *(size for array in arrays for size in array.shape)])
        asked = max(_described_sizes(description), default=0)
    except (OSError, RuntimeError, ValueError, TypeError, KeyError) as error:  # and of too many levels
        raise ModelFileError(f"{path}: its weights are damaged ({error}). {_ADVICE}") from None
    if asked > largest:
        raise ModelFileError(f"{path}: asks for a layer of size {asked}, its weights have at most {largest}. {_ADVICE}")


def _described_sizes(value: Any) -> Iterator[int]:
    """Yield the sizes in Keras' description of a model: all whole numbers except seeds and the optimizer's."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if "seed" not in name and name not in ("compile_config", "shared_object_id"):
                yield from _described_sizes(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _described_sizes(inner)
    elif isinstance(value, int):
        yield value


def _check_shapes(path: Path, model: keras.Model, metadata: ModelMetadata) -> None:
    """Refuse a model whose input and outputs are not those of its description."""
    features, n_classes = metadata.config.features, len(metadata.classes)
    outputs = [name for name in ("strong", "weak") if name in model.output_names]
    shapes = {name: tuple(model.get_layer(name).output.shape) for name in outputs}
    for what, found, allowed in (
        ("input", tuple(model.input_shape), [(None, frames, features.n_mels) for frames in (None, features.n_frames)]),
        ("output strong", shapes.get("strong"), [(None, n, n_classes) for n in (None, features.n_frames)]),
        ("output weak", shapes.get("weak"), [(None, n_classes)]),
    ):
        if found not in allowed:
            raise ModelFileError(
                f"{path}: {what} of shape {found}, expected {allowed[-1]} by its classes and features. {_ADVICE}"
            )
