"""The fit: epochs with validation, early stopping, checkpoints, and a resume that continues the same run.

Files of a run folder (all written to a temporary name and renamed):

``config.toml``, ``environment.json``, ``split.json``
    what was asked, on what machine, which clips were trained on and validated on;
``last.keras``
    after every epoch: weights, optimizer state, and the state of the fit (epoch, best epoch, patience, history) in
    its metadata. It is the one thing that a resume reads, so a kill between two files cannot make them disagree;
``best.keras``
    the epoch with the lowest validation loss (weighted as in training);
``history.csv``
    one line per epoch;
``state.json``
    ``finished`` once the fit has ended.
"""

from __future__ import annotations

import csv
import dataclasses
import importlib.util
import json
import logging
import math
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from crnn_weak import config as configuration
from crnn_weak.config import Config
from crnn_weak.errors import DependencyError, FeatureStoreError, RunError
from crnn_weak.features.scaler import Scaler
from crnn_weak.features.store import FeatureStore
from crnn_weak.model.archive import ModelMetadata, load_model, save_model
from crnn_weak.model.crnn import build_model, draw_weights
from crnn_weak.model.environment import environment
from crnn_weak.model.losses import compile_model
from crnn_weak.storage import write_text
from crnn_weak.training.batches import StoreBatches, for_keras
from crnn_weak.training.split import validation_split

__all__ = ["HISTORY_COLUMNS", "is_finished", "train"]

log = logging.getLogger(__name__)

HISTORY_COLUMNS = (
    "epoch", "loss", "strong_loss", "weak_loss", "val_loss", "val_strong_loss", "val_weak_loss", "seconds",
)  # fmt: skip

#: Called after every batch with the number of batches done in this run and the number of batches in all.
Progress = Callable[[int, int], None]


@dataclass
class _FitState:
    """What early stopping and the history must remember over a kill."""

    epoch: int = 0  # finished epochs
    best_epoch: int = 0
    best_loss: float = math.inf
    wait: int = 0
    history: list[dict[str, float]] = field(default_factory=list)


def is_finished(run_dir: str | Path) -> bool:
    """Return whether the fit in a run folder has ended."""
    try:
        return bool(json.loads((Path(run_dir) / "state.json").read_text(encoding="utf-8"))["finished"])
    except (OSError, ValueError, KeyError):
        return False


def train(
    config: Config,
    store: FeatureStore,
    run_dir: str | Path,
    *,
    resume: bool = True,
    initial_model: str | Path | None = None,
    on_batch: Progress | None = None,
    tensorboard: bool = False,
) -> Path:
    """Fit one model and return the path of its best epoch.

    Parameters
    ----------
    config : Config
    store : FeatureStore
        The training clips. The validation clips are taken from it; the testing clips are never seen here.
    run_dir : path
        Made if it is not there.
    resume : bool
        Continue what lies in `run_dir`; False starts again and needs an empty or missing folder.
    initial_model : path, optional
        A model file to start from (fine-tuning): every layer whose shape fits takes its weights.
    on_batch : callable, optional
        Called after every batch with (batches done, batches in all).
    tensorboard : bool
        Write TensorBoard logs to ``run_dir/tensorboard`` (needs the package ``tensorboard``).

    Returns
    -------
    Path
        ``run_dir/best.keras``.

    Raises
    ------
    DependencyError
        TensorBoard is asked for and not installed.
    RunError
        `run_dir` holds a run of another configuration, or (without `resume`) any run.
    FeatureStoreError
        The store's features are not those of the configuration.
    """
    run_dir = Path(run_dir)
    if tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise DependencyError("--tensorboard needs TensorBoard: pip install 'crnn-weak[tensorboard]'.")
    if store.features != config.features:
        raise FeatureStoreError(
            f"{store.path}: its features differ from the run's configuration. "
            "Rebuild with `crnn-weak features build --overwrite`, or pass the configuration stored in the file."
        )
    _open_run(run_dir, config, resume)
    if is_finished(run_dir):
        return run_dir / "best.keras"

    training, validation = validation_split(store.tags, config.training.validation_fraction, config.training.seed)
    ids = np.asarray(store.clip_ids)
    split = {"training": ids[training].tolist(), "validation": ids[validation].tolist()}
    write_text(run_dir / "split.json", json.dumps(split, indent=0))

    keras.utils.set_random_seed(config.training.seed)
    restored = _restore(run_dir, config)
    if restored is None:
        scaler = Scaler.fit(store, training)
        provenance = {"data": store.provenance, "n_clips": len(store), "n_listed": store.n_listed}
        metadata = ModelMetadata(store.classes, config, scaler, provenance=provenance)
        model, state = build_model(config, n_classes=len(store.classes)), _FitState()
        draw_weights(model, config.training.seed)
        if initial_model is not None:
            _copy_weights(initial_model, model)
        compile_model(model, config.loss_weights, learning_rate=config.training.learning_rate)
    else:
        model, metadata, state = restored
    around = environment()
    write_text(run_dir / "environment.json", json.dumps(around, indent=1))
    log.info(
        "Keras %s on %s, %s, devices: %s", around["packages"].get("keras"), around["backend"], around["precision"],
        ", ".join(around.get("devices", ())) or "not listed",
    )  # fmt: skip
    _fit(model, metadata, state, config, store, (training, validation), run_dir, on_batch, tensorboard)
    done = {"finished": True, "epoch": state.epoch, "best_epoch": state.best_epoch, "best_val_loss": state.best_loss}
    write_text(run_dir / "state.json", json.dumps(done, indent=1))
    return run_dir / "best.keras"


def _fit(
    model: keras.Model,
    metadata: ModelMetadata,
    state: _FitState,
    config: Config,
    store: FeatureStore,
    rows: tuple[np.ndarray, np.ndarray],
    run_dir: Path,
    on_batch: Progress | None,
    tensorboard: bool,
) -> None:
    settings = config.training
    batches = StoreBatches(store, rows[0], metadata.scaler, batch_size=settings.batch_size, seed=settings.seed)
    held_out = StoreBatches(store, rows[1], metadata.scaler, batch_size=settings.batch_size)
    fit_input, held_out_input = for_keras(batches), for_keras(held_out)
    callbacks: list[keras.callbacks.Callback] = []
    if on_batch is not None:
        callbacks.append(_Batches(on_batch, state, len(batches), settings.epochs))
    if tensorboard:
        callbacks.append(keras.callbacks.TensorBoard(str(run_dir / "tensorboard")))
    while state.epoch < settings.epochs and not (settings.patience and state.wait >= settings.patience):
        began = time.perf_counter()
        batches.set_epoch(state.epoch)
        _seed_dropout(model, settings.seed, state.epoch)
        fitted = model.fit(
            fit_input, initial_epoch=state.epoch, epochs=state.epoch + 1, shuffle=False, verbose=0, callbacks=callbacks
        )
        row = {name: float(values[-1]) for name, values in fitted.history.items()}
        for name, value in model.evaluate(held_out_input, verbose=0, return_dict=True).items():
            row[f"val_{name}"] = float(value)
        row |= {"epoch": state.epoch + 1, "seconds": round(time.perf_counter() - began, 3)}
        if not math.isfinite(row["val_loss"]) or not math.isfinite(row["loss"]):
            raise RunError(
                f"{run_dir}: the loss is not a number after epoch {state.epoch + 1}. "
                "Lower training.learning_rate, or check the store with `crnn-weak features verify`."
            )
        _after_epoch(model, metadata, state, row, run_dir)
        log.debug("%s epoch %d val_loss %.4f", run_dir, state.epoch, row["val_loss"])


def _after_epoch(
    model: keras.Model, metadata: ModelMetadata, state: _FitState, row: dict[str, float], run_dir: Path
) -> None:
    state.epoch += 1
    state.history.append({name: row[name] for name in HISTORY_COLUMNS if name in row})
    if row["val_loss"] < state.best_loss:
        state.best_loss, state.best_epoch, state.wait = row["val_loss"], state.epoch, 0
    else:
        state.wait += 1
    provenance = {**metadata.provenance, "epoch": state.epoch, "fit": dataclasses.asdict(state)}
    save_model(model, run_dir / "last.keras", dataclasses.replace(metadata, provenance=provenance))
    _publish(run_dir, state)


def _publish(run_dir: Path, state: _FitState) -> None:
    """Make best.keras and history.csv agree with last.keras; done again on resume, in case a kill came in between."""
    if state.best_epoch == state.epoch:
        temporary = run_dir / ".best.tmp.keras"
        shutil.copyfile(run_dir / "last.keras", temporary)
        os.replace(temporary, run_dir / "best.keras")
    temporary = run_dir / "history.csv.tmp"
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, HISTORY_COLUMNS, restval="")
        writer.writeheader()
        writer.writerows(state.history)
    os.replace(temporary, run_dir / "history.csv")


def _open_run(run_dir: Path, config: Config, resume: bool) -> None:
    run_dir.mkdir(parents=True, exist_ok=True)
    path = run_dir / "config.toml"
    if path.exists():
        if not resume:
            raise RunError(f"{run_dir}: holds a run already. Choose another folder, or resume it.")
        stored = configuration.load_config(path)
        # More epochs than before is the one change that continues the same run.
        as_before = dataclasses.replace(
            config, training=dataclasses.replace(config.training, epochs=stored.training.epochs)
        )
        if stored != as_before:
            raise RunError(
                f"{run_dir}: holds a run of another configuration (see its config.toml). Choose another folder, "
                "or delete this one."
            )
        if stored.training.epochs < config.training.epochs:
            (run_dir / "state.json").unlink(missing_ok=True)
    write_text(path, configuration.to_toml(config))


def _restore(run_dir: Path, config: Config) -> tuple[keras.Model, ModelMetadata, _FitState] | None:
    if not (run_dir / "last.keras").exists():
        return None
    model, metadata = load_model(run_dir / "last.keras", compile=True)
    state = _FitState(**metadata.provenance["fit"])
    log.info("%s: resumed after epoch %d", run_dir, state.epoch)
    provenance = {name: value for name, value in metadata.provenance.items() if name not in ("epoch", "fit")}
    _publish(run_dir, state)
    return model, dataclasses.replace(metadata, config=config, provenance=provenance), state


def _copy_weights(source: str | Path, model: keras.Model) -> None:
    """Take the weights of every layer that fits by name and shape; a changed class list leaves the outputs new."""
    trained, _ = load_model(source)
    named = {layer.name: layer for layer in trained.layers}
    for layer in model.layers:
        weights = named[layer.name].get_weights() if layer.name in named else []
        if weights and [w.shape for w in weights] == [w.shape for w in layer.get_weights()]:
            layer.set_weights(weights)
        elif layer.weights:
            log.info("fine-tuning: layer %s starts anew", layer.name)


def _seed_dropout(model: keras.Model, seed: int, epoch: int) -> None:
    """Set each dropout layer's generator by (seed, epoch): a resumed epoch draws what the unbroken run would draw."""
    for index, layer in enumerate(model.layers):
        generator = getattr(layer, "seed_generator", None)
        if generator is not None:
            state = np.random.SeedSequence([seed, epoch, index]).generate_state(2) % (2**31)
            generator.state.assign(state.astype(generator.state.dtype))


class _Batches(keras.callbacks.Callback):
    """Tells how many batches are done."""

    def __init__(self, on_batch: Progress, state: _FitState, n_batches: int, n_epochs: int) -> None:
        super().__init__()
        self._on_batch, self._state, self._n_batches, self._n_epochs = on_batch, state, n_batches, n_epochs

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._on_batch(self._state.epoch * self._n_batches + batch + 1, self._n_epochs * self._n_batches)
