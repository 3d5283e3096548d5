"""The fit: epochs with validation, early stopping, checkpoints, and a resume that continues the same run.

``last.keras`` holds weights, optimizer state and, in its metadata, the progress of the fit. A resume takes all from it
alone, so a kill between two files cannot make them disagree. A pretrained model gives weights or frame scores.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import importlib.util
import logging
import math
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from crnn_weak import config as configuration
from crnn_weak.config import Config, FeatureConfig
from crnn_weak.data.base import choose_clips, stratified_split
from crnn_weak.environment import environment, precision_fault
from crnn_weak.errors import ConfigError, DependencyError, ModelFileError, RunError, nearest_names
from crnn_weak.features.log_mel import Scaler
from crnn_weak.features.store import FeatureStore, differing_features
from crnn_weak.files import convert_document, delete_files, make_folder, read_json, replace_file, write_json, write_text
from crnn_weak.labels.names import source_recording
from crnn_weak.model.archive import ModelMetadata, load_model, save_model
from crnn_weak.model.crnn import build_model, reinitialize_weights
from crnn_weak.model.losses import compile_model
from crnn_weak.run_files import RunFiles, Split, check_continues, read_optional, write_history
from crnn_weak.training.augmentation import learning_rate, loss_factors
from crnn_weak.training.batches import StoreBatches, for_keras
from crnn_weak.training.mixing import MixedBatches
from crnn_weak.training.targets import StrongTargets

log = logging.getLogger(__name__)

Batches = StoreBatches | MixedBatches
# A mean loss of the last sixth of the epochs below this share of that of the sixth before them.
_STILL_FALLING = 0.97
# Clips that are scored at a time.
_BATCH = 64
HISTORY_COLUMNS = (
    "epoch", "loss", "strong_loss", "weak_loss", "val_loss", "val_strong_loss", "val_weak_loss", "seconds",
)  # fmt: skip


@dataclass
class _Progress:
    """Finished epochs, early stopping and history of a fit; kept over a kill in ``last.keras``."""

    epoch: int = 0
    best_epoch: int = 0
    best_loss: float = math.inf
    wait: int = 0
    history: list[dict[str, int | float]] = field(default_factory=list)


@dataclass
class _Fit:
    """A model in training."""

    config: Config
    files: RunFiles
    model: keras.Model
    metadata: ModelMetadata
    progress: _Progress


def fit_has_ended(run_dir: str | Path) -> bool:
    """Return whether the fit in a run folder has ended; a damaged state is written again after the last epoch."""
    try:
        return read_optional(RunFiles(run_dir).state, dict[str, Any]).get("finished") is True
    except RunError:
        return False


def train(
    config: Config,
    store: FeatureStore,
    run_dir: str | Path,
    *,
    overwrite: bool = False,
    initial_model: str | Path | None = None,
    on_begin: Callable[[], None] | None = None,
    on_batch: Callable[[int, int], None] | None = None,
    tensorboard: bool = False,
) -> Path:
    """Fit one model on the training clips of a store, and return the path of its best epoch, ``best.keras``.

    The validation clips are taken from the same store. A run in `run_dir` is continued, unless `overwrite` deletes it;
    one of another configuration or other clips is refused, before anything in the folder is written or deleted.
    `initial_model` is a model file to fine-tune. `on_begin` is called just before the first file is written, `on_batch`
    after every batch with the numbers of batches done and of all. `tensorboard` writes logs into the folder.
    """
    files = RunFiles(run_dir)
    if tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise DependencyError("--tensorboard needs TensorBoard: pip install 'crnn-weak[tensorboard]'.")
    store.check_features(config.features)
    stored = check_continues(files, config, overwrite=overwrite)
    is_longer = stored is not None and stored.training.epochs < config.training.epochs
    if fit_has_ended(files.folder) and not (overwrite or is_longer):
        return files.best_model
    rows = _split_rows(config, store, None if overwrite or not files.last_model.exists() else files.split)
    keras.utils.set_random_seed(config.training.seed)
    fit = (None if overwrite else _restore(config, files)) or _begin(config, files, store, rows[0], initial_model)
    targets = _targets(config, store)
    batches = _batches(fit, store, rows, targets)
    make_folder(files.folder)
    if overwrite:
        delete_files(files.written())
    if is_longer:
        # First, so that a kill leaves no scores of the shorter training under the new configuration.
        delete_files([*files.of_best_model(), files.state])
    if on_begin is not None:
        on_begin()
    _write_record(config, files, store, rows)
    callbacks = [keras.callbacks.TensorBoard(str(make_folder(files.tensorboard)))] if tensorboard else []
    if on_batch is not None:
        callbacks.append(_calls_after_batch(fit, len(batches[0]), on_batch))
    _run_epochs(fit, *batches, callbacks)
    progress = fit.progress
    _say_whether_falling(config, progress.history)
    state: dict[str, Any] = {"epoch": progress.epoch, "best_epoch": progress.best_epoch}
    state["best_val_loss"] = progress.best_loss
    if config.operating_point.class_thresholds:
        if _own_scores_decide(config):
            # Those of the published model: a run killed before this line has no others.
            model, metadata = load_model(files.best_model)
            targets.scores = _own_scores(model, metadata.scaler, targets, rows[0])
        state["active_frames"] = targets.active_frames(rows[0]).tolist()  # of each class, in a recording that has it
    write_json(files.state, {"finished": True, **state})
    return files.best_model


def _calls_after_batch(fit: _Fit, n_batches: int, on_batch: Callable[[int, int], None]) -> keras.callbacks.Callback:
    """Return a callback that tells `on_batch` the numbers of batches done and of all."""
    n_epochs = fit.config.training.epochs

    def on_train_batch_end(batch: int, logs: Any) -> None:
        on_batch(fit.progress.epoch * n_batches + batch + 1, n_epochs * n_batches)

    return keras.callbacks.LambdaCallback(on_train_batch_end=on_train_batch_end)


def _say_whether_falling(config: Config, history: Sequence[dict[str, float]]) -> None:
    """Log where the loss of mixed examples still fell, by the last two sixths of the epochs."""
    losses, n_last = [row["loss"] for row in history], max(1, len(history) // 6)
    before, last = losses[-2 * n_last : -n_last], losses[-n_last:]
    if config.is_mixed and before and np.mean(last) < _STILL_FALLING * np.mean(before):
        log.info("the loss was still falling at the end, to %.4f: more training.steps may help", np.mean(last))


def _split_rows(config: Config, store: FeatureStore, stored_split: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows to train and to validate on; a run that has begun keeps those that it wrote."""
    if stored_split is not None and stored_split.exists():
        position = {clip_id: row for row, clip_id in enumerate(store.clip_ids)}
        stored = read_json(stored_split, Split)
        if not position.keys() >= {*stored.training, *stored.validation}:
            raise RunError(f"{stored_split}: lists clips that are not in {store.path}. Choose another folder.")
        both = (stored.training, stored.validation)
        rows = [np.array([position[clip_id] for clip_id in ids], np.int64) for ids in both]
        return rows[0], rows[1]
    settings = config.training
    chosen = choose_clips(len(store), settings.n_clips, settings.seed)
    if not settings.validation_fraction:
        return chosen, chosen[:0]
    recordings = [source_recording(store.clip_ids[row]) for row in chosen]
    training, validation = stratified_split(store.tags[chosen], settings.validation_fraction, settings.seed, recordings)
    return chosen[training], chosen[validation]


def _n_batches(config: Config, n_clips: int) -> int:
    """Return the number of training batches of an epoch."""
    if config.training.steps:
        return max(1, config.training.steps // config.training.epochs)
    batch_size = config.training.batch_size
    return -(-n_clips // batch_size) if config.is_mixed else n_clips // min(batch_size, n_clips)


def _begin(
    config: Config, files: RunFiles, store: FeatureStore, training: np.ndarray, initial_model: str | Path | None
) -> _Fit:
    """Return a new model, compiled, with its scaler."""
    provenance = {"data": store.provenance, "n_clips": len(store), "n_listed": store.n_listed}
    scaler = Scaler.identity(store.features.n_mels) if config.is_mixed else Scaler.fit(store, training)
    metadata = ModelMetadata(store.classes, config, scaler, provenance=provenance)
    model, settings = build_model(config, n_classes=len(store.classes)), config.training
    reinitialize_weights(model, settings.seed)
    if initial_model is not None:
        copy_weights(initial_model, model, metadata)
    freeze(model, settings.freeze)
    compile_model(
        model,
        config.loss_weights,
        optimizer=settings.optimizer,
        learning_rate=learning_rate(config, _n_batches(config, len(training))),
        # Its values are one for each clip, so they take weights of clips as well.
        masked=_has_gaps(config) or settings.loss_weighting != "fixed",
        weak_masked=config.is_mixed,
        layerwise_lr_decay=settings.layerwise_lr_decay,
        ema_momentum=settings.ema_momentum,
    )
    return _Fit(config, files, model, metadata, _Progress())


def _restore(config: Config, files: RunFiles) -> _Fit | None:
    """Return the fit after its last epoch; None where no epoch has ended."""
    if not files.last_model.exists():
        return None
    model, metadata = load_model(files.last_model, compile=True)
    progress = convert_document(metadata.provenance.get("fit"), _Progress, f"{files.last_model}: state of the fit")
    log.info("%s: resumed after epoch %d", files.folder, progress.epoch)
    provenance = {name: value for name, value in metadata.provenance.items() if name not in ("epoch", "fit")}
    _publish(files, progress, copy_best=not config.training.ema_momentum)
    return _Fit(config, files, model, dataclasses.replace(metadata, config=config, provenance=provenance), progress)


def _has_gaps(config: Config) -> bool:
    """Return whether some frames may have no strong target."""
    targets = config.targets
    is_repeated = targets.strong == "repeat" and targets.padding == "active"
    return not is_repeated or config.is_mixed or config.trains_events


def _own_scores_decide(config: Config) -> bool:
    """Return whether the model's own scores say which of several tags sounds."""
    return config.targets.strong == "loud" and config.targets.own_scores_from < 1


def _targets(config: Config, store: FeatureStore) -> StrongTargets:
    """Return the strong targets, with the scores of a teacher where there is one."""
    scores: dict[int, np.ndarray] = {}
    if config.targets.strong == "self_training":
        scores = dict(enumerate(teacher_scores(config.targets.teacher, store)))
    return StrongTargets(store, config, scores)


def _batches(
    fit: _Fit, store: FeatureStore, rows: tuple[np.ndarray, np.ndarray], targets: StrongTargets
) -> tuple[Batches, Batches | None]:
    """Return the batches to train on and those to validate on."""
    config, scaler, settings = fit.config, fit.metadata.scaler, fit.config.training
    common: dict[str, Any] = {"batch_size": settings.batch_size, "targets": targets}
    validation = StoreBatches(store, rows[1], scaler, **common) if len(rows[1]) else None
    if config.is_mixed:
        return MixedBatches(store, rows[0], targets, config, n_batches=_n_batches(config, len(rows[0]))), validation
    drawn: dict[str, Any] = {"seed": settings.seed, "augmentation": config.augmentation}
    return StoreBatches(store, rows[0], scaler, **common, **drawn), validation


def _own_scores(model: keras.Model, scaler: Scaler, targets: StrongTargets, rows: np.ndarray) -> dict[int, np.ndarray]:
    """Return the model's frame scores of clips with several tags and unknown events, (frames, classes), by row."""
    store = targets.store
    unknown = np.array([row for row in rows if store.clip_ids[row] not in targets.events], np.int64)
    several = unknown[store.tags[unknown].sum(axis=1) > 1]
    return dict(zip(several.tolist(), _frame_scores(model, scaler, store, several), strict=True))


def _write_record(config: Config, files: RunFiles, store: FeatureStore, rows: tuple[np.ndarray, np.ndarray]) -> None:
    """Write the configuration, the split and the environment of a run."""
    ids = np.asarray(store.clip_ids)
    write_text(files.config, configuration.to_toml(config))
    write_json(files.split, {"training": ids[rows[0]].tolist(), "validation": ids[rows[1]].tolist()})
    description = environment()
    write_json(files.environment, description)
    devices = ", ".join(description.get("devices", ())) or "devices not listed"
    log.info("%s, %s, %s", description["backend"], description["precision"], devices)


def _run_epochs(
    fit: _Fit, training: Batches, validation: Batches | None, callbacks: list[keras.callbacks.Callback]
) -> None:
    settings, model, progress = fit.config.training, fit.model, fit.progress
    unaveraged: list[np.ndarray] = []

    def keep_weights(epoch: int, logs: Any) -> None:
        unaveraged[:] = model.get_weights()

    if settings.ema_momentum:
        # `fit` leaves a model with the optimizer's averages; the weights of the last step are trained further.
        callbacks = [*callbacks, keras.callbacks.LambdaCallback(on_epoch_end=keep_weights)]
    # Set before `for_keras`, so that the dataset signature includes sample weights.
    training.loss_factors = loss_factors(fit.config, 0, None)
    fit_input, validation_input = for_keras(training), None if validation is None else for_keras(validation)
    decides = _own_scores_decide(fit.config)
    while progress.epoch < settings.epochs and not (settings.patience and progress.wait >= settings.patience):
        began = time.perf_counter()
        training.set_epoch(progress.epoch)
        last = progress.history[-1] if progress.history else None
        training.loss_factors = loss_factors(fit.config, progress.epoch, last)
        if decides and progress.epoch >= fit.config.targets.own_scores_from * settings.epochs:
            training.targets.scores = _own_scores(model, fit.metadata.scaler, training.targets, training.rows)
        _seed_dropout(model, settings.seed, progress.epoch)
        fitted = model.fit(
            fit_input, initial_epoch=progress.epoch, epochs=progress.epoch + 1, shuffle=False, verbose=0,
            callbacks=callbacks,
        )  # fmt: skip
        row = {name: float(values[-1]) for name, values in fitted.history.items()}
        if unaveraged:
            # Copies: the weights would share memory with the averages, whose buffers JAX donates in the next step.
            model.set_weights(model.get_weights())
        if validation_input is not None:
            for name, value in model.evaluate(validation_input, verbose=0, return_dict=True).items():
                row[f"val_{name}"] = float(value)
        row |= {"epoch": progress.epoch + 1, "seconds": round(time.perf_counter() - began, 3)}
        if not math.isfinite(row.get("val_loss", 0.0)) or not math.isfinite(row["loss"]):
            advice = precision_fault() or "Lower training.learning_rate, or check the features."
            raise RunError(f"{fit.files.folder}: the loss is not a number after epoch {progress.epoch + 1}. {advice}")
        _finish_epoch(fit, row, unaveraged)
        log.debug("%s epoch %d loss %.4f", fit.files.folder, progress.epoch, row["loss"])


def _finish_epoch(fit: _Fit, row: dict[str, float], unaveraged: list[np.ndarray]) -> None:
    """Record an epoch and save its model; `unaveraged` are the weights to train further if the model holds averages."""
    progress, files = fit.progress, fit.files
    progress.epoch += 1
    progress.history.append({name: row[name] for name in HISTORY_COLUMNS if name in row})
    progress.wait += 1
    loss = row.get("val_loss", row["loss"])
    if loss < progress.best_loss:
        progress.best_loss, progress.best_epoch, progress.wait = loss, progress.epoch, 0
    if fit.config.keeps_last:
        progress.best_epoch = progress.epoch
    provenance = {**fit.metadata.provenance, "epoch": progress.epoch, "fit": dataclasses.asdict(progress)}
    metadata = dataclasses.replace(fit.metadata, provenance=provenance)
    if unaveraged:
        if progress.best_epoch == progress.epoch:
            # Before last.keras: after a kill between the two, the epoch is repeated.
            save_model(fit.model, files.best_model, metadata)
        fit.model.set_weights(unaveraged)
    save_model(fit.model, files.last_model, metadata)
    _publish(files, progress, copy_best=not unaveraged)


def _publish(files: RunFiles, progress: _Progress, *, copy_best: bool) -> None:
    """Make the best model and the history agree with the last model; on resume too, after a kill in between."""
    if copy_best and progress.best_epoch == progress.epoch:
        with replace_file(files.best_model) as temporary:
            shutil.copyfile(files.last_model, temporary)
    write_history(files.history, HISTORY_COLUMNS, progress.history)


def _seed_dropout(model: keras.Model, seed: int, epoch: int) -> None:
    """Set each dropout layer's generator by (seed, epoch): a resumed epoch draws what the unbroken run would draw."""
    for index, layer in enumerate(model.layers):
        generator = getattr(layer, "seed_generator", None)
        if generator is not None:
            state = np.random.SeedSequence([seed, epoch, index]).generate_state(2) % (2**31)
            generator.state.assign(state.astype(generator.state.dtype))


def check_features(path: str | Path, own: FeatureConfig, wanted: FeatureConfig) -> None:
    """Refuse a pretrained model with other features; the message names the settings."""
    if differing := differing_features(own, wanted):
        raise ModelFileError(f"{path}: trained with other features: {differing}. Pass --own-features to use them.")


def copy_weights(path: str | Path, model: keras.Model, metadata: ModelMetadata) -> None:
    """Copy weights into layers of the same name and shapes, outputs only of the same classes; log the others."""
    pretrained, its_metadata = load_model(path)
    check_features(path, its_metadata.config.features, metadata.config.features)
    named = {layer.name: layer for layer in pretrained.layers}
    same_classes = its_metadata.classes == metadata.classes
    new = []
    for layer in model.layers:
        weights = named[layer.name].get_weights() if layer.name in named else []
        fits = [w.shape for w in weights] == [w.shape for w in layer.get_weights()]
        if weights and fits and (same_classes or not layer.name.startswith(("strong", "weak"))):
            layer.set_weights(weights)
        elif layer.weights:
            new.append(layer.name)
    reason = "" if same_classes else " (another class list)"
    log.info("fine-tuning from %s: %s", path, f"new layers: {', '.join(new)}{reason}" if new else "all layers copied")


def freeze(model: keras.Model, patterns: Sequence[str]) -> None:
    """Make layers keep their weights, by name or pattern (``conv_*``)."""
    layers = {layer.name: layer for layer in model.layers if layer.weights}
    for pattern in patterns:
        names = fnmatch.filter(layers, pattern)
        if not names:
            raise ConfigError(f"training.freeze: {pattern!r} fits no layer. {nearest_names(pattern, layers)}")
        for name in names:
            layers[name].trainable = False
    if not model.trainable_weights:
        raise ConfigError(f"training.freeze = {list(patterns)}: no layer remains to train.")


def teacher_scores(path: str | Path, store: FeatureStore) -> np.ndarray:
    """Return a teacher's frame scores of all clips of a store, float16 ``(clips, frames, classes)``."""
    model, metadata = load_model(path)
    check_features(path, metadata.config.features, store.features)
    if metadata.classes != tuple(store.classes):
        raise ModelFileError(f"{path}: trained for other classes than the data's. Train the teacher on these data.")
    return _frame_scores(model, metadata.scaler, store, np.arange(len(store)))


def _frame_scores(model: keras.Model, scaler: Scaler, store: FeatureStore, rows: np.ndarray) -> np.ndarray:
    """Return frame scores of rows of a store, float16 ``(rows, frames, classes)``."""
    scores = np.empty((len(rows), store.features.n_frames, len(store.classes)), dtype=np.float16)
    for first in range(0, len(rows), _BATCH):
        features = scaler.transform(store.read(rows[first : first + _BATCH]))
        scores[first : first + _BATCH] = keras.ops.convert_to_numpy(model.predict_on_batch(features)["strong"])
    return scores
