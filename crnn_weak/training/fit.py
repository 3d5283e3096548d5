"""The fit: epochs with validation, early stopping, checkpoints, and a resume that continues the same run.

``last.keras`` is written after every epoch: weights, optimizer state, and the state of the fit (epoch, best epoch,
patience, history) in its metadata. A resume takes weights and progress from it alone, so a kill between two files
cannot make them disagree. `crnn_weak.run_files` names all files of a run folder.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import logging
import math
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from crnn_weak import config as configuration
from crnn_weak.config import Config, check_continues
from crnn_weak.errors import DependencyError, FeatureStoreError, RunError
from crnn_weak.features.scaler import Scaler
from crnn_weak.features.store import FeatureStore
from crnn_weak.files import convert_document, delete_files, read_json, replace_file, write_json, write_text
from crnn_weak.labels.names import source_recording
from crnn_weak.model.archive import ModelMetadata, load_model, save_model
from crnn_weak.model.crnn import build_model, reinitialize_weights
from crnn_weak.model.environment import environment
from crnn_weak.model.losses import compile_model
from crnn_weak.run_files import FitState, RunFiles, Split, read_optional, write_history
from crnn_weak.training.augmentation import learning_rate, loss_factors
from crnn_weak.training.batches import StoreBatches, for_keras
from crnn_weak.training.pretrained import copy_weights, frame_scores, freeze
from crnn_weak.training.split import choose_clips, validation_split

__all__ = ["HISTORY_COLUMNS", "is_finished", "train"]

log = logging.getLogger(__name__)

HISTORY_COLUMNS = (
    "epoch", "loss", "strong_loss", "weak_loss", "val_loss", "val_strong_loss", "val_weak_loss", "seconds",
)  # fmt: skip

#: Called after every batch with the number of batches done in this run and the number of batches in all.
Progress = Callable[[int, int], None]


@dataclass
class _EarlyStopping:
    """The state of early stopping and the history, kept over a kill."""

    epoch: int = 0  # finished epochs
    best_epoch: int = 0
    best_loss: float = math.inf
    wait: int = 0
    history: list[dict[str, float]] = field(default_factory=list)


@dataclass
class _Fit:
    """A model in training."""

    model: keras.Model
    metadata: ModelMetadata
    state: _EarlyStopping


def is_finished(run_dir: str | Path) -> bool:
    """Return whether the fit in a run folder has ended."""
    try:
        return bool(read_optional(RunFiles(run_dir).state, FitState).get("finished"))
    except RunError:
        return False  # the fit goes on from the last epoch and writes it again


def train(
    config: Config,
    store: FeatureStore,
    run_dir: str | Path,
    *,
    overwrite: bool = False,
    initial_model: str | Path | None = None,
    on_begin: Callable[[], None] | None = None,
    on_batch: Progress | None = None,
    tensorboard: bool = False,
) -> Path:
    """Fit one model and return the path of its best epoch.

    Whatever can be refused is refused before anything in the folder is written or deleted.

    Parameters
    ----------
    config : Config
    store : FeatureStore
        The training clips. The validation clips are taken from it; the test clips are never seen here.
    run_dir : path
        Made if it is not there.
    overwrite : bool
        Delete the run in `run_dir` and start anew, instead of continuing it.
    initial_model : path, optional
        A model file to start from (fine-tuning); see `crnn_weak.training.pretrained.copy_weights`.
    on_begin : callable, optional
        Called when the model is built, just before the first file is written.
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
        `run_dir` holds a run of another configuration, or of other clips.
    FeatureStoreError
        The store's features are not those of the configuration.
    """
    files = RunFiles(run_dir)
    if tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise DependencyError("--tensorboard needs TensorBoard: pip install 'crnn-weak[tensorboard]'.")
    if store.features != config.features:
        raise FeatureStoreError(
            f"{store.path}: its features differ from the run's configuration. "
            "Rebuild with `crnn-weak features build --overwrite`, or pass the configuration stored in the file."
        )
    is_longer = not overwrite and _is_longer(files, config)
    if is_finished(files.folder) and not (overwrite or is_longer):
        return files.best_model

    rows = _split_rows(config, store, None if overwrite or not files.last_model.exists() else files.split)
    ids = np.asarray(store.clip_ids)
    split = {name: ids[part].tolist() for name, part in zip(("training", "validation"), rows, strict=True)}
    keras.utils.set_random_seed(config.training.seed)
    fit = (None if overwrite else _restore(files, config)) or _begin(config, store, rows[0], initial_model)
    batches = _batches(fit, config, store, rows)
    files.folder.mkdir(parents=True, exist_ok=True)
    if overwrite:
        delete_files(files.written())
    if is_longer:
        # First, so that a kill leaves no scores of the shorter training under the new configuration.
        delete_files([*files.of_best_model(), files.state])
    if on_begin is not None:
        on_begin()
    write_text(files.config, configuration.to_toml(config))
    write_json(files.split, split)
    around = environment()
    write_json(files.environment, around)
    log.info(
        "Keras %s on %s, %s, devices: %s", around["packages"].get("keras"), around["backend"], around["precision"],
        ", ".join(around.get("devices", ())) or "not listed",
    )  # fmt: skip
    callbacks = [keras.callbacks.TensorBoard(str(files.tensorboard))] if tensorboard else []
    _run_epochs(fit, config, batches, files, on_batch, callbacks)
    state = fit.state
    done = {"finished": True, "epoch": state.epoch, "best_epoch": state.best_epoch, "best_val_loss": state.best_loss}
    write_json(files.state, done)
    return files.best_model


def _split_rows(config: Config, store: FeatureStore, begun: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows to train and to validate on; those of a run that has begun are the ones that it wrote."""
    if begun is not None and begun.exists():
        position = {clip_id: row for row, clip_id in enumerate(store.clip_ids)}
        stored = read_json(begun, Split)
        if not position.keys() >= {*stored.training, *stored.validation}:
            raise RunError(f"{begun}: lists clips that are not in {store.path}. Choose another folder.")
        training, validation = (
            np.array([position[clip_id] for clip_id in ids]) for ids in (stored.training, stored.validation)
        )
        return training, validation
    settings = config.training
    chosen = choose_clips(len(store), settings.n_clips, settings.seed)
    recordings = [source_recording(store.clip_ids[row]) for row in chosen]
    training, validation = validation_split(store.tags[chosen], settings.validation_fraction, settings.seed, recordings)
    return chosen[training], chosen[validation]


def _begin(config: Config, store: FeatureStore, training: np.ndarray, initial_model: str | Path | None) -> _Fit:
    """Return a new model, compiled, with its scaler."""
    provenance = {"data": store.provenance, "n_clips": len(store), "n_listed": store.n_listed}
    metadata = ModelMetadata(store.classes, config, Scaler.fit(store, training), provenance=provenance)
    model, settings = build_model(config, n_classes=len(store.classes)), config.training
    reinitialize_weights(model, settings.seed)
    if initial_model is not None:
        copy_weights(initial_model, model, metadata)
    freeze(model, settings.freeze)
    compile_model(
        model,
        config.loss_weights,
        learning_rate=learning_rate(config, len(training) // min(settings.batch_size, len(training))),
        # Its values are one for each clip, so they take weights of clips as well.
        masked=config.targets.strong != "repeat" or config.training.loss_weighting != "fixed",
        layerwise_lr_decay=settings.layerwise_lr_decay,
        ema_momentum=config.training.ema_momentum,
    )
    return _Fit(model, metadata, _EarlyStopping())


def _batches(
    fit: _Fit, config: Config, store: FeatureStore, rows: tuple[np.ndarray, np.ndarray]
) -> tuple[StoreBatches, StoreBatches]:
    """Return the batches to train on and those to validate on."""
    settings, scaler = config.training, fit.metadata.scaler
    scores = frame_scores(config.targets.teacher, store) if config.targets.strong == "self_training" else None
    common: dict[str, Any] = {
        "batch_size": settings.batch_size, "target_settings": config.targets, "frame_scores": scores,
    }  # fmt: skip
    training = StoreBatches(store, rows[0], scaler, seed=settings.seed, augmentation=config.augmentation, **common)
    return training, StoreBatches(store, rows[1], scaler, **common)


def _run_epochs(
    fit: _Fit,
    config: Config,
    batches: tuple[StoreBatches, StoreBatches],
    files: RunFiles,
    on_batch: Progress | None,
    callbacks: list[keras.callbacks.Callback],
) -> None:
    settings, (training, validation) = config.training, batches
    model, state = fit.model, fit.state
    unaveraged = _Unaveraged(config.training.ema_momentum > 0)
    callbacks = [*callbacks, unaveraged]
    if on_batch is not None:
        callbacks = [*callbacks, _Batches(on_batch, state, len(training), settings.epochs)]
    training.loss_factors = loss_factors(config, 0, None)  # or the input would have no place for them
    fit_input, validation_input = for_keras(training), for_keras(validation)
    while state.epoch < settings.epochs and not (settings.patience and state.wait >= settings.patience):
        began = time.perf_counter()
        training.set_epoch(state.epoch)
        training.loss_factors = loss_factors(config, state.epoch, state.history[-1] if state.history else None)
        _seed_dropout(model, settings.seed, state.epoch)
        fitted = model.fit(
            fit_input, initial_epoch=state.epoch, epochs=state.epoch + 1, shuffle=False, verbose=0, callbacks=callbacks
        )
        row = {name: float(values[-1]) for name, values in fitted.history.items()}
        if unaveraged.weights is not None:
            # Copies: under JAX the weights would share memory with the averages, which the next step gives away.
            model.set_weights(model.get_weights())
        for name, value in model.evaluate(validation_input, verbose=0, return_dict=True).items():
            row[f"val_{name}"] = float(value)
        row |= {"epoch": state.epoch + 1, "seconds": round(time.perf_counter() - began, 3)}
        if not math.isfinite(row["val_loss"]) or not math.isfinite(row["loss"]):
            raise RunError(
                f"{files.folder}: the loss is not a number after epoch {state.epoch + 1}. "
                "Lower training.learning_rate, or check the features."
            )
        _after_epoch(fit, row, files, unaveraged.weights)
        log.debug("%s epoch %d val_loss %.4f", files.folder, state.epoch, row["val_loss"])


def _after_epoch(fit: _Fit, row: dict[str, float], files: RunFiles, unaveraged: list[np.ndarray] | None) -> None:
    """Record an epoch and save its model; `unaveraged` are the weights to go on with where the model holds averages."""
    state = fit.state
    state.epoch += 1
    state.history.append({name: row[name] for name in HISTORY_COLUMNS if name in row})
    if row["val_loss"] < state.best_loss:
        state.best_loss, state.best_epoch, state.wait = row["val_loss"], state.epoch, 0
    else:
        state.wait += 1
    provenance = {**fit.metadata.provenance, "epoch": state.epoch, "fit": dataclasses.asdict(state)}
    metadata = dataclasses.replace(fit.metadata, provenance=provenance)
    if unaveraged is not None:
        if state.best_epoch == state.epoch:
            # Before last.keras: killed in between, the epoch is done again.
            save_model(fit.model, files.best_model, metadata)
        fit.model.set_weights(unaveraged)
    save_model(fit.model, files.last_model, metadata)
    _publish(files, state, copy_best=unaveraged is None)


def _publish(files: RunFiles, state: _EarlyStopping, *, copy_best: bool) -> None:
    """Make the best model and the history agree with the last model; on resume too, in case a kill came in between."""
    if copy_best and state.best_epoch == state.epoch:
        with replace_file(files.best_model) as temporary:
            shutil.copyfile(files.last_model, temporary)
    write_history(files.history, HISTORY_COLUMNS, state.history)


def _is_longer(files: RunFiles, config: Config) -> bool:
    """Return whether more epochs are asked for than those of the run that is there; refuse another run."""
    if not files.config.exists():
        return False
    stored = configuration.load_config(files.config)
    check_continues(stored, config, files.folder)
    n_stored, n_asked = stored.training.epochs, config.training.epochs
    if n_stored < n_asked:
        log.info("%s: goes on, with at most %d epochs instead of %d", files.folder, n_asked, n_stored)
    return n_stored < n_asked


def _restore(files: RunFiles, config: Config) -> _Fit | None:
    if not files.last_model.exists():
        return None
    model, metadata = load_model(files.last_model, compile=True)
    state = convert_document(metadata.provenance.get("fit"), _EarlyStopping, f"{files.last_model}: state of the fit")
    log.info("%s: resumed after epoch %d", files.folder, state.epoch)
    provenance = {name: value for name, value in metadata.provenance.items() if name not in ("epoch", "fit")}
    _publish(files, state, copy_best=not config.training.ema_momentum)
    return _Fit(model, dataclasses.replace(metadata, config=config, provenance=provenance), state)


def _seed_dropout(model: keras.Model, seed: int, epoch: int) -> None:
    """Set each dropout layer's generator by (seed, epoch): a resumed epoch draws what the unbroken run would draw."""
    for index, layer in enumerate(model.layers):
        generator = getattr(layer, "seed_generator", None)
        if generator is not None:
            state = np.random.SeedSequence([seed, epoch, index]).generate_state(2) % (2**31)
            generator.state.assign(state.astype(generator.state.dtype))


class _Unaveraged(keras.callbacks.Callback):
    """Keeps the weights at an epoch's end: `fit` leaves a model with the optimizer's averages."""

    def __init__(self, is_averaging: bool) -> None:
        super().__init__()
        self._is_averaging = is_averaging
        self.weights: list[np.ndarray] | None = None

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self._is_averaging:
            self.weights = self.model.get_weights()


class _Batches(keras.callbacks.Callback):
    """Tells how many batches are done."""

    def __init__(self, on_batch: Progress, state: _EarlyStopping, n_batches: int, n_epochs: int) -> None:
        super().__init__()
        self._on_batch, self._state, self._n_batches, self._n_epochs = on_batch, state, n_batches, n_epochs

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._on_batch(self._state.epoch * self._n_batches + batch + 1, self._n_epochs * self._n_batches)
