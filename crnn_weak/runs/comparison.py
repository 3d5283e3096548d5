"""Runs compared: thresholds tuned alike on validation clips, test counts clip by clip, intervals over seeds and clips.

`score_run` tunes each metric's threshold (and median filter, weak gate and hysteresis) on the run's validation clips
and counts the test clips once at that operating point. `compare` draws seeds and clips with replacement, the same for
all entries, so that differences are paired.
"""

from __future__ import annotations

import dataclasses
import gzip
import logging
import math
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from crnn_weak.config import Config, StreetData, fingerprint
from crnn_weak.detection.operating_point import OperatingPoint
from crnn_weak.detection.postprocessing import scores_to_events, scores_to_tags
from crnn_weak.detection.tuning import Tuning, tune
from crnn_weak.errors import CrnnWeakError, DataError
from crnn_weak.files import csv_text, markdown_table, read_json, replace_file, write_text
from crnn_weak.metrics.bootstrap import interval, resampled_sums
from crnn_weak.metrics.controls import whole_clip, with_true_tags, with_true_times
from crnn_weak.metrics.event import count_events
from crnn_weak.metrics.segment import count_segments
from crnn_weak.metrics.summary import find_metric
from crnn_weak.metrics.tagging import count_tags
from crnn_weak.run_files import RunFiles
from crnn_weak.runs.scores import ScoredRun, open_scores

log = logging.getLogger(__name__)

#: The F-scores that are compared: name to (output, oracle). An oracle replaces one part by the truth, to see what
#: limits the rest.
COMPARED = {
    "tagging": ("tagging", ""),
    "segment": ("segment", ""),
    "event": ("event", ""),
    "segment_true_tags": ("segment", "true tags"),
    "segment_true_times": ("segment", "true times"),
}
#: Tuned by the tag thresholds, the others by the frame thresholds.
_BY_TAGS = ("tagging", "segment_true_times")
# Seconds to choose from, the same for all runs.
_MEDIANS = {"segment": (0.0, 0.5, 1.1), "event": (0.0, 0.5, 1.1, 2.1)}
# Tag thresholds of the weak gate, and low thresholds of a hysteresis, to choose from, apart from none. They reach from
# end to end, so that scores that are all low are tuned as finely as others.
_GATES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_LOW_THRESHOLDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5)


class RunScore(msgspec.Struct):
    """One run, tuned and counted: content of ``comparison.json``. Keys are those of `COMPARED`."""

    counts: dict[str, list[list[int]]]  # [reference, estimated, correct] of each test clip
    untuned: dict[str, float]  # F at the run's own operating point, a fraction
    thresholds: dict[str, float]
    gates: dict[str, float]  # tag threshold of the weak gate, where one was chosen
    low_thresholds: dict[str, float]  # of the hysteresis, where one was chosen


class PublishedRun(msgspec.Struct):
    """A scored run; `config` is the `run_name` of its configuration."""

    entry: str
    seed: int
    config: str
    score: RunScore


class PublishedRuns(msgspec.Struct):
    """Scored runs of one data set, whose origin is `provenance`: content of ``scores.json.gz``."""

    provenance: str
    runs: list[PublishedRun]

    def scores(self) -> dict[tuple[str, int], RunScore]:
        """Return (entry, seed) to score."""
        return {(run.entry, run.seed): run.score for run in self.runs}


def run_name(config: Config) -> str:
    """Return 12 hexadecimal digits that name a configuration, wherever its recordings and its teacher are stored."""
    data = config.data if isinstance(config.data, StreetData) else dataclasses.replace(config.data, root="")
    targets = dataclasses.replace(config.targets, teacher="known" if config.targets.teacher else "")
    return fingerprint(dataclasses.replace(config, data=data, targets=targets))


def write_scores(path: Path, runs: PublishedRuns) -> None:
    """Write the scores of runs to one compressed file."""
    with replace_file(path) as temporary:
        # Without a time, so that the same scores are the same file.
        temporary.write_bytes(gzip.compress(msgspec.json.encode(runs), mtime=0))


def read_scores(path: Path) -> PublishedRuns:
    """Read what `write_scores` wrote; an empty list if the file does not exist."""
    if not path.exists():
        return PublishedRuns("", [])
    try:
        return msgspec.json.decode(gzip.decompress(path.read_bytes()), type=PublishedRuns)
    except (OSError, EOFError, zlib.error, msgspec.MsgspecError) as error:
        raise DataError(f"{path}: {error}. Expected the scores.json.gz of a comparison.") from None


def read_score(path: Path) -> RunScore | None:
    """Return a run's scores from its ``comparison.json``; None if there are none, or the file is damaged."""
    if not path.exists():
        return None
    try:
        return read_json(path, RunScore)
    except CrnnWeakError as error:
        log.warning("%s The run is scored again when the comparison runs.", error)
        return None


# --- one run ---------------------------------------------------------------------------------------------------------


def score_run(run: RunFiles) -> RunScore:
    """Tune a finished run on its validation clips, count its test clips, and keep the result in its folder."""
    score = read_score(run.comparison)
    if score is None:
        score = tune_and_count(open_scores(run.folder, "validation"), open_scores(run.folder, "test"))
        write_text(run.comparison, msgspec.json.encode(score).decode())
    return score


def tune_and_count(validation: ScoredRun, test: ScoredRun) -> RunScore:
    """Choose an operating point for each metric on the validation clips, and count the test clips at it."""
    own = OperatingPoint.from_config(test.run.config.operating_point, test.scores.classes)
    start = own.replace(weak_gate=False, low_thresholds=0.0)  # both are searched
    score = RunScore({}, {}, {}, {}, {})
    detects = validation.events is not None and test.events is not None
    for name in COMPARED if detects else ("tagging",):
        point = tuned_point(validation, name, start)
        counts = count_clips(test, name, point)
        score.counts[name] = counts.astype(int).tolist()
        score.untuned[name] = float(_f_score(count_clips(test, name, own).sum(axis=0)))
        score.thresholds[name] = (point.tag_thresholds if name in _BY_TAGS else point.thresholds)[0]
        if point.weak_gate:
            score.gates[name] = point.tag_thresholds[0]
        if any(point.low_thresholds):
            score.low_thresholds[name] = point.low_thresholds[0]
    return score


def tuned_point(validation: ScoredRun, name: str, start: OperatingPoint) -> OperatingPoint:
    """Return the operating point with the best F on validation clips; `name` is a key of `COMPARED`."""
    if name in _BY_TAGS:
        found = tune(validation.scores, validation.reference, metric="tagging_f1", operating_point=start)
        return found.operating_point
    output, oracle = COMPARED[name]
    scored = _with_true_tags(validation) if oracle else validation

    def search(start: OperatingPoint, filters: Mapping[str, Sequence[float]] | None = None) -> Tuning:
        metric = f"{output}_f1"
        return tune(scored.scores, scored.reference, metric=metric, operating_point=start, filters=filters)

    gates: list[dict[str, Any]] = [{"weak_gate": True, "tag_thresholds": gate} for gate in _GATES]
    # The search begins above every low threshold.
    lows: list[dict[str, Any]] = [{"low_thresholds": low, "thresholds": 0.99} for low in _LOW_THRESHOLDS]
    best = search(start, {"median_seconds": _MEDIANS[output]})
    # One after the other: all together would be hundreds of searches.
    for changes in ([] if oracle else gates, lows):  # true tags leave nothing to a gate
        point = best.operating_point
        # On a tie the first, which is the simplest.
        best = max([best, *(search(point.replace(**change)) for change in changes)], key=lambda one: one.after)
    return best.operating_point


def _with_true_tags(scored: ScoredRun) -> ScoredRun:
    classes = scored.scores.classes
    tags = np.array([[label in scored.tags[clip] for label in classes] for clip in scored.scores.clip_ids])
    strong = with_true_tags(scored.scores.strong, tags)
    return dataclasses.replace(scored, scores=dataclasses.replace(scored.scores, strong=strong))


def count_clips(test: ScoredRun, name: str, point: OperatingPoint) -> np.ndarray:
    """Return reference, estimated and correct of each clip, shape (n_clips, 3); `name` is a key of `COMPARED`."""
    config, classes = test.run.config, test.scores.classes
    output, oracle = COMPARED[name]
    if output == "tagging":
        counts = count_tags(test.tags, scores_to_tags(test.scores, point), classes=classes)
    elif output == "event":
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
        estimated: Mapping[str, Any]
        if oracle == "true times":
            tags = scores_to_tags(test.scores, point)
            # False tags last the whole clip.
            estimated = with_true_times(tags, test.events, whole_clip(tags, config.features.clip_seconds))
        else:
            estimated = scores_to_events((_with_true_tags(test) if oracle else test).scores, point)
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


# --- all runs --------------------------------------------------------------------------------------------------------

#: entry -> seed -> the run's score
Entries = Mapping[str, Mapping[int, RunScore]]


class Estimate(NamedTuple):
    """A mean over seeds, its 95 % interval, and its difference from another entry at the seeds of both (else NaN)."""

    mean: float
    low: float
    high: float
    difference: float
    difference_low: float
    difference_high: float


def compare(
    entries: Entries, *, baselines: Mapping[str, str], n_resamples: int = 1000, seed: int = 0
) -> dict[str, dict[str, Estimate]]:
    """Return each entry's F-scores (fractions) with intervals over seeds and clips; of one seed, over clips alone.

    All runs are of the same test clips. `baselines` names for each key of `COMPARED` the entry that differences are
    taken from, at the seeds that both have. Reference: Efron, Tibshirani, "An Introduction to the Bootstrap", 1993,
    chapters 8 and 13.
    """
    n_clips = len(next(score for scores in entries.values() for score in scores.values()).counts["tagging"])
    tables: dict[tuple[str, str, int], np.ndarray] = {}
    for entry, scores in entries.items():
        if any(len(score.counts["tagging"]) != n_clips for score in scores.values()):
            raise DataError(
                f"{entry}: scored on other test clips than the first entry ({n_clips}). Compare one data set."
            )
        for name in next(iter(scores.values())).counts:
            for run_seed, score in scores.items():
                tables[entry, name, run_seed] = np.asarray(score.counts[name])
    rng = np.random.default_rng(seed)
    # One draw of clips, and one of seeds, for all entries.
    sums = resampled_sums(np.concatenate(list(tables.values()), axis=1), n_resamples=n_resamples, rng=rng)
    shares = rng.random((n_resamples, max(len(scores) for scores in entries.values())))
    measured: dict[tuple[str, str], dict[int, float]] = {}
    resampled: dict[tuple[str, str], dict[int, np.ndarray]] = {}
    for number, ((entry, name, run_seed), table) in enumerate(tables.items()):
        measured.setdefault((entry, name), {})[run_seed] = float(_f_score(table.sum(axis=0)))
        resampled.setdefault((entry, name), {})[run_seed] = _f_score(sums[:, 3 * number : 3 * number + 3])

    def over(key: tuple[str, str], seeds: Sequence[int]) -> tuple[float, np.ndarray]:
        """Return the mean over seeds, and that of every resample over seeds drawn with replacement."""
        drawn = (shares[:, : len(seeds)] * len(seeds)).astype(int)
        values = np.stack([resampled[key][run_seed] for run_seed in seeds], axis=1)
        mean = float(np.mean([measured[key][run_seed] for run_seed in seeds]))
        return mean, np.take_along_axis(values, drawn, axis=1).mean(axis=1)

    results: dict[str, dict[str, Estimate]] = {entry: {} for entry in entries}
    for entry, name in resampled:
        key, base = (entry, name), (baselines.get(name, ""), name)
        mean, values = over(key, sorted(resampled[key]))
        difference = (math.nan, math.nan, math.nan)
        shared = sorted(resampled[key].keys() & resampled.get(base, {}).keys())
        if shared:
            (ours, our_values), (theirs, their_values) = over(key, shared), over(base, shared)
            ends = interval(our_values - their_values)
            difference = (ours - theirs, ends.low, ends.high)
        ends = interval(values)
        results[entry][name] = Estimate(mean, ends.low, ends.high, *difference)
    return results


def hardest_to_beat(names: Sequence[str], entries: Entries) -> dict[str, str]:
    """Return for each key of `COMPARED` the entry, of those named, with the best mean on the test clips."""
    if not names:
        return {}
    means = compare({name: entries[name] for name in names}, baselines={}, n_resamples=1)
    shared = [key for key in COMPARED if all(key in row for row in means.values())]
    return {key: max(means, key=lambda name: means[name][key].mean) for key in shared}


# --- tables ----------------------------------------------------------------------------------------------------------


def _heading(name: str) -> str:
    output, oracle = COMPARED[name]
    heading = find_metric(output, "f_score").heading
    return f"{heading}, {oracle}" if oracle else heading


def comparison_markdown(
    estimates: Mapping[str, Mapping[str, Estimate]], entries: Entries, baselines: Mapping[str, str], provenance: str
) -> str:
    """Return the table of `compare` as Markdown, in percent; `provenance` is that of the data."""
    caption = f"{provenance}. Percent, mean over seeds [95 % interval over seeds and clips; of one seed, over clips]"
    if baselines:
        best = "; ".join(f"{_heading(key)}: {name}" for key, name in baselines.items())
        caption += f"; in parentheses the difference, at the seeds of both, from the best entry of the curves ({best})"
    caption += ". Thresholds, median filter, weak gate and hysteresis chosen on validation clips."
    rows = []
    for entry, row in estimates.items():
        cells = [entry, str(len(entries[entry]))]
        for key, (output, _) in COMPARED.items():
            if key not in row:
                cells.append("-")
                continue
            text = find_metric(output, "f_score").format
            e = row[key]
            cell = f"{text(e.mean)} [{text(e.low)}, {text(e.high)}]"
            if not math.isnan(e.difference) and baselines.get(key) != entry:
                difference = [text(value, "+") for value in (e.difference, e.difference_low, e.difference_high)]
                cell += " ({}: {}, {})".format(*difference)
            cells.append(cell)
        rows.append(cells)
    header = ["entry", "seeds", *map(_heading, COMPARED)]
    return f"{caption}\n\n{markdown_table(header, rows, 'lr')}"


def comparison_csv(estimates: Mapping[str, Mapping[str, Estimate]], entries: Entries) -> str:
    """Return the values of `compare` in long form as CSV, fractions."""
    rows = []
    for entry, row in estimates.items():
        scores = entries[entry].values()
        for key, estimate in row.items():
            untuned = sum(score.untuned[key] for score in scores) / len(scores)
            rows.append([entry, len(scores), key, *(f"{value:.5f}" for value in (*estimate, untuned))])
    return csv_text(["entry", "n_seeds", "metric", *Estimate._fields, "untuned"], rows)
