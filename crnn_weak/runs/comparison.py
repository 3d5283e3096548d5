"""Runs compared: thresholds tuned alike on validation clips, test counts clip by clip, intervals over seeds and clips.

`score_run` tunes each metric's threshold (and median filter, weak gate and hysteresis) on the run's validation clips
and counts the test clips once at that operating point. `compare` draws seeds and clips with replacement, the same for
all entries, so that differences are paired.
"""

from __future__ import annotations

import dataclasses
import gzip
import logging
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from crnn_weak.config import Config, StreetData, fingerprint, to_toml
from crnn_weak.detection.operating_point import OperatingPoint
from crnn_weak.detection.postprocessing import scores_to_events, scores_to_tags
from crnn_weak.detection.tuning import Tuning, tune
from crnn_weak.errors import CrnnWeakError, DataError
from crnn_weak.files import delete_files, read_json, replace_file, write_text
from crnn_weak.labels.events import Event
from crnn_weak.metrics.bootstrap import interval, resampled_sums
from crnn_weak.metrics.controls import whole_clip, with_true_tags, with_true_times
from crnn_weak.metrics.event import count_events
from crnn_weak.metrics.segment import count_segments
from crnn_weak.metrics.tagging import count_tags
from crnn_weak.run_files import RunFiles
from crnn_weak.runs.scores import ScoredRun, open_scores, scored_on

__all__ = [
    "METRICS",
    "Estimate",
    "KnownRun",
    "KnownRuns",
    "RunScore",
    "compare",
    "read_score",
    "read_scores",
    "run_name",
    "score_elsewhere",
    "score_run",
    "write_scores",
]

log = logging.getLogger(__name__)

#: What is compared; the last two replace one part by the truth, to see what limits the rest.
METRICS = {
    "tagging": "tag F",
    "segment": "segment F",
    "event": "event F",
    "segment_true_tags": "segment F, true tags",
    "segment_true_times": "segment F, true times",
}
# Seconds to choose among, the same for all runs.
_MEDIANS = {"segment": (0.0, 0.5, 1.1), "event": (0.0, 0.5, 1.1, 2.1)}
# Tag thresholds of the weak gate, and low thresholds of a hysteresis, to choose among, besides none. They reach from
# end to end, so that scores that are all low are tuned as finely as others.
_GATES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_LOW_THRESHOLDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
# Counts up when a run's scores would be tuned or counted in another way.
_PROTOCOL = 2


class RunScore(msgspec.Struct):
    """One run, scored: content of ``comparison.json``.

    Attributes
    ----------
    counts : dict of metric to list of [reference, estimated, correct], one for each test clip
    untuned : dict of metric to float
        F at the run's own operating point, a fraction.
    thresholds : dict of metric to float
    gates, low_thresholds : dict of metric to float
        Tag threshold of the weak gate and low threshold of the hysteresis, for the metrics where one was chosen.
    psds : dict of str to float
        Empty without the optional package.
    protocol : int
        How the scores were tuned and counted.
    """

    counts: dict[str, list[list[int]]]
    untuned: dict[str, float]
    thresholds: dict[str, float]
    gates: dict[str, float]
    low_thresholds: dict[str, float]
    psds: dict[str, float]
    protocol: int


class KnownRun(msgspec.Struct):
    """A scored run."""

    entry: str
    seed: int
    config: str  # `run_name` of its configuration
    score: RunScore


class KnownRuns(msgspec.Struct):
    """Scored runs of one data set, for publication: content of ``scores.json.gz``."""

    provenance: str  # of the data
    runs: list[KnownRun]


def run_name(config: Config) -> str:
    """Return 12 hexadecimal digits that name a configuration, wherever its recordings and its teacher lie."""
    data = config.data if isinstance(config.data, StreetData) else dataclasses.replace(config.data, root="")
    targets = dataclasses.replace(config.targets, teacher="known" if config.targets.teacher else "")
    return fingerprint(dataclasses.replace(config, data=data, targets=targets))


def write_scores(path: Path, runs: KnownRuns) -> None:
    """Write the scores of runs to one compressed file."""
    with replace_file(path) as temporary:
        # Without a time, so that the same scores are the same file.
        temporary.write_bytes(gzip.compress(msgspec.json.encode(runs), mtime=0))


def read_scores(path: Path) -> KnownRuns:
    """Read what `write_scores` wrote; no runs where there is no file, none of another protocol.

    Raises
    ------
    DataError
        The file is damaged.
    """
    if not path.exists():
        return KnownRuns("", [])
    try:
        found = msgspec.json.decode(gzip.decompress(path.read_bytes()), type=KnownRuns)
    except (OSError, EOFError, zlib.error, msgspec.MsgspecError) as error:
        raise DataError(f"{path}: {error}. Expected the scores.json.gz of an experiment.") from None
    runs = [run for run in found.runs if run.score.protocol == _PROTOCOL]
    if len(runs) < len(found.runs):
        log.warning("%s: %d runs were tuned in another way and are left out.", path, len(found.runs) - len(runs))
    return KnownRuns(found.provenance, runs)


def read_score(path: Path) -> RunScore | None:
    """Return a run's scores from its ``comparison.json``; None where there are none of this protocol."""
    if not path.exists():
        return None
    try:
        score = read_json(path, RunScore)
    except CrnnWeakError as error:
        log.warning("%s Scored again when the experiment runs.", error)
        return None
    if score.protocol != _PROTOCOL:
        log.warning("%s: tuned as an earlier version did; scored again when the experiment runs.", path)
        return None
    return score


def score_run(run: RunFiles) -> RunScore:
    """Tune a finished run on its validation clips, count its test clips, and keep the result in its folder."""
    found = read_score(run.comparison)
    if found is None:
        found = _score(open_scores(run.folder, "validation"), open_scores(run.folder, "test"))
        write_text(run.comparison, msgspec.json.encode(found).decode())
    return found


def score_elsewhere(run: RunFiles, test_store: str | Path, kept: RunFiles, config: Config) -> RunScore:
    """Do the same with the test clips of another store.

    The result is kept in the folder `kept`, beside `config`, the run's configuration with the data of that store.
    """
    from crnn_weak.detection.predict import predict_store
    from crnn_weak.features.store import FeatureStore
    from crnn_weak.model.archive import load_model

    validation = open_scores(run.folder, "validation")
    model, metadata = load_model(run.best_model)
    with FeatureStore(test_store, config.features) as store:
        test = scored_on(validation.run, predict_store(model, metadata, store), store)
    score = _score(validation, test)
    kept.folder.mkdir(parents=True, exist_ok=True)
    delete_files([kept.comparison])  # of other data: killed in between, it is scored again
    write_text(kept.config, to_toml(config))
    write_text(kept.comparison, msgspec.json.encode(score).decode())
    return score


def _score(validation: ScoredRun, test: ScoredRun) -> RunScore:
    own = OperatingPoint.from_config(test.run.config.operating_point, test.scores.classes)
    start = own.replace(weak_gate=False, low_thresholds=0.0)  # both are searched
    result = RunScore({}, {}, {}, {}, {}, _psds(test), _PROTOCOL)
    detects = validation.events is not None and test.events is not None
    for metric in METRICS if detects else ("tagging",):
        point = _tuned(validation, metric, start)
        counts = _counts(test, metric, point)
        result.counts[metric] = counts.astype(int).tolist()
        result.untuned[metric] = float(_f_score(_counts(test, metric, own).sum(axis=0)))
        is_tag = metric in ("tagging", "segment_true_times")
        result.thresholds[metric] = (point.tag_thresholds if is_tag else point.thresholds)[0]
        if point.weak_gate:
            result.gates[metric] = point.tag_thresholds[0]
        if any(point.low_thresholds):
            result.low_thresholds[metric] = point.low_thresholds[0]
    return result


def _psds(test: ScoredRun) -> dict[str, float]:
    try:
        return test.psds()
    except CrnnWeakError:  # the package is not installed, or a class has no event
        return {}


def _tuned(validation: ScoredRun, metric: str, own: OperatingPoint) -> OperatingPoint:
    if metric in ("tagging", "segment_true_times"):
        return tune(validation.scores, metric="tagging_f1", tags=validation.tags, operating_point=own).operating_point
    scored = _with_true_tags(validation) if metric == "segment_true_tags" else validation
    output = metric.partition("_")[0]

    def search(start: OperatingPoint, medians: Sequence[float] | None = None) -> Tuning:
        return tune(
            scored.scores,
            metric=f"{output}_f1",
            events=scored.events,
            operating_point=start,
            medians=medians,
            evaluation=validation.run.config.evaluation,
            clip_seconds=validation.run.config.features.clip_seconds,
        )

    gates: list[dict[str, Any]] = [{"weak_gate": True, "tag_thresholds": gate} for gate in _GATES]
    lows: list[dict[str, Any]] = [
        {"low_thresholds": low, "thresholds": 0.99}  # above every low threshold; searched anew
        for low in _LOW_THRESHOLDS
    ]
    found = search(own, _MEDIANS[output])
    # One after the other: all together would be hundreds of searches.
    for changes in ([] if metric == "segment_true_tags" else gates, lows):  # true tags leave nothing to a gate
        point = found.operating_point
        # On a tie the first, which is the simplest.
        found = max([found, *(search(point.replace(**change)) for change in changes)], key=lambda one: one.after)
    return found.operating_point


def _with_true_tags(scored: ScoredRun) -> ScoredRun:
    classes = scored.scores.classes
    tags = np.array([[label in scored.tags[clip] for label in classes] for clip in scored.scores.clip_ids])
    strong = with_true_tags(scored.scores.strong, tags)
    return dataclasses.replace(scored, scores=dataclasses.replace(scored.scores, strong=strong))


def _true_times(test: ScoredRun, point: OperatingPoint) -> dict[str, list[Event]]:
    """Return the tagged classes with their true events; false tags last the whole clip."""
    assert test.events is not None
    tags = scores_to_tags(test.scores, point)
    return with_true_times(tags, test.events, whole_clip(tags, test.run.config.features.clip_seconds))


def _counts(test: ScoredRun, metric: str, point: OperatingPoint) -> np.ndarray:
    """Return reference, estimated and correct of each clip, shape (n_clips, 3)."""
    config, classes = test.run.config, test.scores.classes
    if metric == "tagging":
        counts = count_tags(test.tags, scores_to_tags(test.scores, point), classes=classes)
    elif metric == "event":
        assert test.events is not None
        counts = count_events(
            test.events,
            scores_to_events(test.scores, point),
            classes=classes,
            collar_seconds=config.evaluation.collar_seconds,
            offset_fraction=config.evaluation.offset_fraction,
        )
    else:
        assert test.events is not None
        scored = _with_true_tags(test) if metric == "segment_true_tags" else test
        estimated: Any = (
            _true_times(test, point) if metric == "segment_true_times" else scores_to_events(scored.scores, point)
        )
        counts = count_segments(
            test.events,
            estimated,
            classes=classes,
            clip_seconds=config.features.clip_seconds,
            segment_seconds=config.evaluation.segment_seconds,
        )
    return np.stack([a.sum(axis=1) for a in (counts.n_reference, counts.n_estimated, counts.n_correct)], axis=1)


def _f_score(sums: np.ndarray) -> np.ndarray:
    """Return F of [..., (reference, estimated, correct)]; 0 where there is nothing."""
    total = sums[..., 0] + sums[..., 1]
    return np.asarray(2 * sums[..., 2] / np.maximum(total, 1))


class Estimate(NamedTuple):
    """A mean over seeds, its 95 % interval, and its difference from another entry at the seeds of both (else NaN)."""

    mean: float
    low: float
    high: float
    difference: float
    difference_low: float
    difference_high: float


def compare(
    entries: Mapping[str, Mapping[int, RunScore]],
    *,
    baselines: Mapping[str, str],
    n_resamples: int = 1000,
    seed: int = 0,
) -> dict[str, dict[str, Estimate]]:
    """Return each entry's F-scores with intervals over seeds and clips.

    Parameters
    ----------
    entries : mapping of name to mapping of seed to the run's scores
        All of the same test clips.
    baselines : mapping of metric to the name of the entry that differences are taken from
        A difference is one of the same seeds: those that both entries have.

    Returns
    -------
    dict of entry to dict of metric to Estimate
        Fractions. The interval of one seed is one over clips alone.

    Raises
    ------
    DataError
        The numbers of test clips differ.

    References
    ----------
    Efron, Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 8 and 13.
    """
    rng = np.random.default_rng(seed)
    most = max(len(scores) for scores in entries.values())
    n_clips = len(next(score for scores in entries.values() for score in scores.values()).counts["tagging"])
    for name, scores in entries.items():
        if any(len(score.counts["tagging"]) != n_clips for score in scores.values()):
            raise DataError(
                f"{name}: scored on other test clips than the first entry ({n_clips}). Compare one data set."
            )
    tables = {
        (name, metric, seed): np.asarray(score.counts[metric])
        for name, scores in entries.items()
        for metric in next(iter(scores.values())).counts
        for seed, score in scores.items()
    }
    # One draw of clips for all entries.
    sums = resampled_sums(np.concatenate(list(tables.values()), axis=1), n_resamples=n_resamples, rng=rng)
    drawn = rng.random((n_resamples, most))  # shares of the number of seeds
    resampled: dict[tuple[str, str], dict[int, np.ndarray]] = {}  # F by seed
    measured: dict[tuple[str, str], dict[int, float]] = {}
    for number, ((name, metric, run_seed), table) in enumerate(tables.items()):
        resampled.setdefault((name, metric), {})[run_seed] = _f_score(sums[:, 3 * number : 3 * number + 3])
        measured.setdefault((name, metric), {})[run_seed] = float(_f_score(table.sum(axis=0)))

    def over(key: tuple[str, str], seeds: Sequence[int]) -> tuple[float, np.ndarray]:
        """Return the mean over seeds, and that of every resample over seeds drawn with replacement."""
        chosen = (drawn[:, : len(seeds)] * len(seeds)).astype(int)
        values = np.stack([resampled[key][seed] for seed in seeds], axis=1)
        mean = float(np.mean([measured[key][seed] for seed in seeds]))
        return mean, np.take_along_axis(values, chosen, axis=1).mean(axis=1)

    results: dict[str, dict[str, Estimate]] = {name: {} for name in entries}
    for name, metric in resampled:
        key, base = (name, metric), (baselines.get(metric, ""), metric)
        mean, values = over(key, sorted(resampled[key]))
        difference = (float("nan"),) * 3
        shared = sorted(resampled[key].keys() & resampled.get(base, {}).keys())
        if shared:
            (ours, our_values), (theirs, their_values) = over(key, shared), over(base, shared)
            ends = interval(our_values - their_values)
            difference = (ours - theirs, ends.low, ends.high)
        ends = interval(values)
        results[name][metric] = Estimate(mean, ends.low, ends.high, *difference)
    return results
