"""The identity of a run: all that its results depend on beside its configuration.

A run folder is resumed, or taken as done, only for the same identity. Otherwise an old model would be kept under new
labels, or a test clip could have been trained on.
"""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from crnn_weak.errors import ModelFileError, RunError
from crnn_weak.files import read_json, write_json
from crnn_weak.run_files import RunFiles

if TYPE_CHECKING:
    from crnn_weak.features.store import FeatureStore

__all__ = ["Identity", "check_identity", "identity_of", "write_identity"]

log = logging.getLogger(__name__)


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Dependencies of a run's results; the content of ``identity.json``.

    Attributes
    ----------
    classes : list of str
        In the order of the outputs.
    training_data, testing_data : str
        Digests of the clip ids, tags and events of a split.
    initial_model, teacher : str or None
        Digests of the model that a fine-tuned run started from, and of the one that gave the strong targets.
    """

    classes: list[str]
    training_data: str
    testing_data: str
    initial_model: str | None = None
    teacher: str | None = None


def identity_of(
    train: FeatureStore, test: FeatureStore, *, initial_model: str | Path | None = None, teacher: str = ""
) -> Identity:
    """Return the identity of a run on two stores.

    Parameters
    ----------
    train, test : FeatureStore
    initial_model : path, optional
        Model file that the run is fine-tuned from.
    teacher : str
        Model file of self-training's first model; empty where there is none.

    Raises
    ------
    ModelFileError
        A model file cannot be read.
    """
    return Identity(
        classes=list(train.classes),
        training_data=_data_digest(train),
        testing_data=_data_digest(test),
        initial_model=None if initial_model is None else _digest(Path(initial_model)),
        teacher=_digest(Path(teacher)) if teacher else None,
    )


def _data_digest(store: FeatureStore) -> str:
    """Return the digest of a split's clips, tags and events: the same wherever the data and the store lie."""
    digest = hashlib.sha256(json.dumps([store.split, store.clip_ids]).encode())
    digest.update(np.ascontiguousarray(store.tags, dtype=np.uint8).tobytes())
    for clip_id in store.clip_ids:
        events = store.events.get(clip_id)  # None: not labeled, which differs from no events
        rows = None if events is None else sorted((event.onset, event.offset, event.label) for event in events)
        digest.update(json.dumps(rows).encode())
    return digest.hexdigest()[:32]


def _digest(model: Path) -> str:
    try:
        with model.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:32]
    except OSError as error:
        raise ModelFileError(
            f"{model}: cannot be read ({error.strerror}). Expected a .keras file written by crnn-weak train."
        ) from None


def check_identity(files: RunFiles, asked: Identity) -> None:
    """Refuse a run folder whose run depends on something else.

    Raises
    ------
    RunError
        The message names what differs and the two ways out.
    """
    if not files.identity.exists():
        if files.config.exists():
            log.warning(
                "%s: written by an earlier version, so its data cannot be compared with those of now", files.folder
            )
        return
    stored = read_json(files.identity, Identity, advice="Choose another folder with --out, or --overwrite this one.")
    differences = []
    if stored.classes != asked.classes:
        differences.append(f"classes {_shown(stored.classes)}, now {_shown(asked.classes)}")
    else:  # other classes make other digests too
        if stored.training_data != asked.training_data:
            differences.append("training clips or their labels")
        if stored.testing_data != asked.testing_data:
            differences.append("test clips or their labels")
    if stored.initial_model != asked.initial_model:
        differences.append("the model that it starts from (--from)")
    if stored.teacher != asked.teacher:
        differences.append("the model that gives its strong targets (targets.teacher)")
    if differences:
        raise RunError(
            f"{files.folder}: holds a run that differs in {' and in '.join(differences)}. "
            "Choose another folder with --out, or start anew with --overwrite."
        )


def _shown(classes: list[str]) -> str:
    names = ", ".join(map(repr, classes[:5]))
    return f"{names}, ... ({len(classes)})" if len(classes) > 5 else names


def write_identity(files: RunFiles, identity: Identity) -> None:
    """Write ``identity.json``."""
    write_json(files.identity, msgspec.to_builtins(identity))
