"""Scored runs: read with their reference, declared as a design in a TOML file (docs/beyond.md), tuned, compared.

`score_run` tunes each metric's threshold (and median filter, weak gate and hysteresis) on the run's validation clips
and counts the test clips once at that operating point. `compare` gives intervals over seeds, with paired differences.
"""

from __future__ import annotations

import dataclasses
import functools
import gzip
import math
import statistics
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from crnn_weak import config as configuration
from crnn_weak.config import Config
from crnn_weak.detection.postprocessing import OperatingPoint, scores_to_events, scores_to_tags
from crnn_weak.detection.scores import Scores, load_scores
from crnn_weak.detection.tuning import Reference, tune
from crnn_weak.errors import ClipError, ConfigError, DataError, nearest_names
from crnn_weak.files import (
    convert_document,
    csv_text,
    markdown_table,
    read_bytes,
    read_json,
    read_toml,
    replace_file,
    write_text,
)
from crnn_weak.labels.events import Event, tag_array
from crnn_weak.labels.rolls import segment_maximum, segment_roll
from crnn_weak.metrics.controls import count_controls, with_true_tags
from crnn_weak.metrics.counting import Scoring, count_events, count_segments, count_tags
from crnn_weak.metrics.ranking import psds, rank_classes
from crnn_weak.metrics.summary import find_metric, half_interval, interval, resampled_sums
from crnn_weak.run_files import RunFiles
from crnn_weak.runs.folders import Run, open_run


@dataclass(frozen=True)
class ScoredRun:
    """Scores and reference of the same clips."""

    run: Run
    scores: Scores
    tags: dict[str, tuple[str, ...]]
    known_events: dict[str, tuple[Event, ...]]  # of the clips with strong labels
    coverage: str  # "n of N ... clips"

    @property
    def events(self) -> dict[str, tuple[Event, ...]] | None:
        """The events of each clip; None where a clip has no strong labels."""
        return self.known_events if len(self.known_events) == len(self.scores) else None

    def timed(self) -> ScoredRun:
        """Return the clips whose events are known, or all where there are none."""
        rows = [row for row, clip in enumerate(self.scores.clip_ids) if clip in self.known_events]
        if len(rows) in (0, len(self.scores)):
            return self
        tags = {clip: self.tags[clip] for clip in self.known_events}
        return dataclasses.replace(self, scores=self.scores.only(rows), tags=tags)

    @property
    def reference(self) -> Reference:
        """The labels that the scores are tuned against."""
        config = self.run.config
        return Reference(self.tags, self.events, config.evaluation, config.features.clip_seconds)

    def rankings(self, segment_seconds: float) -> list[tuple[str, str, dict[str, float]]]:
        """Return average precision and ROC AUC by class, of tags, and of segments where there are strong labels."""
        scores, classes = self.scores, self.scores.classes
        tags = tag_array([self.tags[clip] for clip in scores.clip_ids], classes)
        pairs = {"clips (weak output)": (tags, scores.weak)}
        pairs["clips (maximum of the strong output)"] = (tags, scores.strong.max(axis=1))
        if self.events is not None:
            clip_seconds = self.run.config.features.clip_seconds
            length: dict[str, Any] = {"segment_seconds": segment_seconds}
            where: dict[str, Any] = {"clip_ids": scores.clip_ids, "classes": classes, "clip_seconds": clip_seconds}
            roll = segment_roll(self.events, **where, **length)
            found = segment_maximum(scores.strong, scores.hop_seconds, n_segments=roll.shape[1], **length)
            flat = (roll.reshape(-1, len(classes)), found.reshape(-1, len(classes)))
            pairs[f"segments of {segment_seconds:g} s (strong output)"] = flat
        ranked = {title: rank_classes(*pair, classes=classes) for title, pair in pairs.items()}
        return [(name, title, ranked[title][name]) for name in ("average_precision", "roc_auc") for title in ranked]

    def psds(self) -> dict[str, float]:
        """Return PSDS1 and PSDS2; nothing without strong labels."""
        if self.events is None:
            return {}
        scores = self.scores
        grid: dict[str, Any] = {"classes": scores.classes, "hop_seconds": scores.hop_seconds}
        return psds(scores.strong, self.events, clip_ids=scores.clip_ids, **grid)


def open_scores(path: str | Path, split: str) -> ScoredRun:
    """Read a run's scores of split ``test`` or ``validation``, with the reference from its feature store."""
    run, is_test = open_run(path), split == "test"
    scores = run.scores if is_test else load_scores(run.files.validation_scores)
    with run.open_store("test" if is_test else "train") as store:  # the validation clips are training clips
        tags = store.named_tags(set(scores.clip_ids))
        missing = [clip for clip in scores.clip_ids if clip not in tags]
        if missing:
            raise ClipError(f"{store.path}: no clip {missing[0]!r}, which has scores in {run.path}.")
        events = {clip: store.events[clip] for clip in scores.clip_ids if clip in store.events}
        coverage = f"{store.coverage}, {store.split}"
    return ScoredRun(run, scores, {clip: tags[clip] for clip in scores.clip_ids}, events, coverage)


#: Keys of an entry that are not settings.
_NOT_SETTINGS = ("base", "teacher", "start", "data")


class Design(msgspec.Struct, forbid_unknown_fields=True):
    """A declared comparison; `curves` are the entries to beat, such as the paper's settings by their loss weights."""

    data: dict[str, dict[str, Any]]
    entries: dict[str, dict[str, Any]]  # as `read_design` returns them, with the settings of their bases
    seeds: list[int] = msgspec.field(default_factory=lambda: [0])
    curves: list[list[str]] = []

    def data_of(self, name: str) -> list[str]:
        """Return the data sets that an entry is trained on."""
        return [data for data in self.entries[name].get("data", self.data) if data in self.data]

    def config(self, data: str, name: str, seed: int, *, teacher: str = "") -> Config:
        """Return the configuration of one run; `teacher` is the path of its teacher's model, if it has one."""
        entry = self.entries[name]
        settings = {key: value for key, value in entry.items() if key not in _NOT_SETTINGS}
        settings = merged(settings, {"training": {"seed": seed}})
        if "teacher" in entry:
            settings = merged(settings, {"targets": {"teacher": teacher}})
        return configuration.from_dict(settings, configuration.from_dict(self.data[data]))

    def needs(self, name: str) -> list[str]:
        """Return the entries whose models this one starts from."""
        entry = self.entries[name]
        return [entry[key].rpartition("/")[2] for key in ("teacher", "start") if key in entry]

    def groups(self) -> list[list[str]]:
        """Return the entries in groups: each needs models of earlier groups only."""
        sorter, groups = TopologicalSorter({name: self.needs(name) for name in self.entries}), []
        sorter.prepare()
        while sorter.is_active():
            groups.append(list(sorter.get_ready()))
            sorter.done(*groups[-1])
        return groups


def merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested settings, those of `second` laid over those of `first`."""
    result = dict(first)
    for name, value in second.items():
        below = result.get(name)
        result[name] = merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return result


def read_design(path: str | Path) -> Design:
    """Read a design and check every setting and every name in it."""
    design = convert_document(read_toml(path, error=ConfigError), Design, str(path), error=ConfigError)
    try:
        _check_and_complete(design)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return design


def _check_and_complete(design: Design) -> None:
    for settings in design.data.values():
        configuration.from_dict(settings)
    above: dict[str, dict[str, Any]] = {}
    starts: list[str] = []
    for name, entry in design.entries.items():
        for key, known in (("base", above), ("data", design.data), ("teacher", above), ("start", starts)):
            values = entry.get(key, [])
            _check_known(f"entries.{name}.{key}", values if isinstance(values, list) else [values], known)
        if "base" in entry:
            design.entries[name] = merged(above[entry["base"]], entry)
        above[name] = design.entries[name]
        starts += [f"{data}/{name}" for data in design.data_of(name)]
        for data in design.data_of(name):
            try:
                design.config(data, name, design.seeds[0], teacher="of another entry")
            except ConfigError as error:
                raise ConfigError(f"entries.{name}: {error}") from None
    for curve in design.curves:
        _check_known("curves", curve, above)


def _check_known(where: str, names: Iterable[Any], known: Collection[str]) -> None:
    for name in names:
        if name not in list(known):
            raise ConfigError(f"{where}: {name!r} is not known. {nearest_names(str(name), known)}")


#: The F-scores that are compared: name to (output, control). With the true tags it shows what limits the rest; the
#: last three, at the operating point of ``segment``, tell *which* from *when*.
COMPARED = {
    "tagging": ("tagging", ""),
    "segment": ("segment", ""),
    "event": ("event", ""),
    "segment_true_tags": ("segment", "true tags"),
    "segment_rotated": ("segment", "rotated"),
    "segment_whole_clip": ("segment", "own classes, whole clip"),
    "timing_gain": ("timing_gain", ""),  # segment minus segment_rotated: not counted itself
}
#: Controls of one estimate -> its name in `count_controls`.
_OF_ESTIMATE = {"rotated": "rotated", "own classes, whole clip": "whole_clip"}
#: Shown untuned as well.
_UNTUNED = ("tagging", "segment", "event")
# Seconds to choose from, the same for all runs.
_MEDIANS = {"segment": (0.0, 0.5, 1.1), "event": (0.0, 0.5, 1.1, 2.1)}
# Tag thresholds of the weak gate, and low thresholds of a hysteresis, to choose from, apart from none. They reach from
# end to end, so that scores that are all low are tuned as finely as others.
_GATES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_LOW_THRESHOLDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5)


class RunScore(msgspec.Struct):
    """One run, tuned and counted: content of ``comparison.json``. Keys are those of `COMPARED`."""

    counts: dict[str, list[list[int | float]]]  # [reference, estimated, correct] of each test clip
    untuned: dict[str, float]  # F at the run's own operating point, a fraction
    thresholds: dict[str, float]
    gates: dict[str, float]  # tag threshold of the weak gate, where one was chosen
    low_thresholds: dict[str, float]  # of the hysteresis, where one was chosen


def read_score(path: Path) -> RunScore | None:
    """Return a run's scores from its ``comparison.json``; None if it does not exist."""
    return read_json(path, RunScore, advice="Delete it; the run is scored again.") if path.exists() else None


def score_run(files: RunFiles) -> RunScore:
    """Tune a finished run on its validation clips, count its test clips, and keep the result in its folder."""
    score = read_score(files.comparison)
    if score is None:
        score = tune_and_count(open_scores(files.folder, "validation"), open_scores(files.folder, "test"))
        write_text(files.comparison, msgspec.json.encode(score).decode())
    return score


def tune_and_count(validation: ScoredRun, test: ScoredRun) -> RunScore:
    """Choose an operating point for each metric on the validation clips, and count the test clips at it."""
    own = OperatingPoint.from_config(test.run.config.operating_point, test.scores.classes)
    start = own.replace(weak_gate=False, low_thresholds=0.0)  # both are searched
    score = RunScore({}, {}, {}, {}, {})
    detects = validation.events is not None and test.events is not None
    points: dict[str, OperatingPoint] = {}
    for name in list(COMPARED)[:-1] if detects else ["tagging"]:
        of_estimate = COMPARED[name][1] in _OF_ESTIMATE
        point = points[name] = points["segment"] if of_estimate else tuned_point(validation, name, start)
        score.counts[name] = count_clips(test, name, point).tolist()
        score.untuned[name] = float(_f_score(count_clips(test, name, own).sum(axis=0)))
        score.thresholds[name] = (point.tag_thresholds if name == "tagging" else point.thresholds)[0]
        if point.weak_gate:
            score.gates[name] = point.tag_thresholds[0]
        if any(point.low_thresholds):
            score.low_thresholds[name] = point.low_thresholds[0]
    if detects:
        score.untuned["timing_gain"] = score.untuned["segment"] - score.untuned["segment_rotated"]
    return score


def tuned_point(validation: ScoredRun, name: str, start: OperatingPoint) -> OperatingPoint:
    """Return the operating point with the best F on validation clips; `name` is a key of `COMPARED`."""
    output, oracle = COMPARED[name]
    scores = _scores_with_true_tags(validation) if oracle == "true tags" else validation.scores
    search = functools.partial(tune, scores, validation.reference, metric=f"{output}_f1")
    if output == "tagging":  # on tags; the others on onsets and offsets, which tags alone do not give
        return search(operating_point=start).operating_point
    gates: list[dict[str, Any]] = [{"weak_gate": True, "tag_thresholds": gate} for gate in _GATES]
    # The search begins above every low threshold.
    lows: list[dict[str, Any]] = [{"low_thresholds": low, "thresholds": 0.99} for low in _LOW_THRESHOLDS]
    best = search(operating_point=start, filters={"median_seconds": _MEDIANS[output]})
    # One after the other: all together would be hundreds of searches.
    for changes in ([] if oracle else gates, lows):  # true tags leave nothing to a gate
        point = best.operating_point
        found = [search(operating_point=point.replace(**change)) for change in changes]
        best = max([best, *found], key=lambda tuning: tuning.after)  # on a tie the first, which is the simplest
    return best.operating_point


def _scores_with_true_tags(scored: ScoredRun) -> Scores:
    tags = tag_array([scored.tags[clip] for clip in scored.scores.clip_ids], scored.scores.classes)
    return dataclasses.replace(scored.scores, strong=with_true_tags(scored.scores.strong, tags))


def count_clips(test: ScoredRun, name: str, point: OperatingPoint) -> np.ndarray:
    """Return reference, estimated and correct of each clip, (n_clips, 3); `name` is a counted key of `COMPARED`."""
    output, oracle = COMPARED[name]
    if output == "tagging":
        counts = count_tags(test.tags, scores_to_tags(test.scores, point), classes=test.scores.classes)
    else:
        assert test.events is not None
        scoring = Scoring.of_config(test.run.config, test.scores.classes)
        estimated = scores_to_events(_scores_with_true_tags(test) if oracle == "true tags" else test.scores, point)
        if output == "event":
            counts = count_events(test.events, estimated, scoring)
        elif oracle in _OF_ESTIMATE:
            counts = count_controls(test.events, estimated, scoring)[_OF_ESTIMATE[oracle]]
        else:
            counts = count_segments(test.events, estimated, scoring)
    parts = (counts.n_reference, counts.n_estimated, counts.n_correct)
    return np.stack([part.sum(axis=1) for part in parts], axis=1)


def _f_score(sums: np.ndarray) -> np.ndarray:
    """Return F of [..., (reference, estimated, correct)]; 0 where there is nothing."""
    total = sums[..., 0] + sums[..., 1]
    return np.asarray(2 * sums[..., 2] / np.maximum(total, 1))


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


def run_name(config: Config) -> str:
    """Return 12 hexadecimal digits that name a configuration, wherever its recordings and its teacher are stored."""
    # Settings at their defaults do not count: a setting that is added, and is off, leaves the names as they are.
    changed: dict[str, Any] = {"source": config.data.source, "teacher": bool(config.targets.teacher)}
    for name, settings in configuration.to_dict(config).items():
        if isinstance(settings, dict):
            defaults = configuration.to_dict(type(getattr(config, name))())
            changed[name] = {key: value for key, value in settings.items() if value != defaults[key]}
    changed["data"].pop("root", None)
    changed["targets"].pop("teacher", None)
    return configuration.fingerprint({name: settings for name, settings in changed.items() if settings != {}})


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
        return msgspec.json.decode(gzip.decompress(read_bytes(path, error=DataError)), type=PublishedRuns)
    except (OSError, EOFError, zlib.error, msgspec.MsgspecError) as error:
        raise DataError(f"{path}: {error}. Expected the scores.json.gz of a comparison.") from None


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
    """Return each entry's F-scores (fractions) with Student's intervals over seeds; of one seed, over clips.

    All runs are of the same test clips. `baselines` names for each key of `COMPARED` the entry that differences are
    taken from, at the seeds that both have. Efron, Tibshirani, "An Introduction to the Bootstrap", 1993, ch. 8, 13.
    """
    tables: dict[tuple[str, str, int], np.ndarray] = {}  # (entry, name, seed of the run) -> counts of each clip
    for entry, scores in entries.items():
        for run_seed, score in scores.items():
            tables |= {(entry, name, run_seed): np.asarray(counts) for name, counts in score.counts.items()}
    n_clips = len(next(iter(tables.values())))
    for (entry, *_), table in tables.items():
        if len(table) != n_clips:
            raise DataError(f"{entry}: scored on other test clips than the first entry. Compare one data set.")
    rng = np.random.default_rng(seed)
    # One draw of clips for all entries.
    sums = resampled_sums(np.concatenate(list(tables.values()), axis=1), n_resamples=n_resamples, rng=rng)
    f_scores = {}  # of each run: on all clips, then on those of each resample
    for number, (key, table) in enumerate(tables.items()):
        resampled = sums[:, 3 * number : 3 * number + 3]
        f_scores[key] = _f_score(np.concatenate([table.sum(axis=0, keepdims=True), resampled]))

    for entry, name, run_seed in list(f_scores):
        if name == "segment_rotated":
            gain = f_scores[entry, "segment", run_seed] - f_scores[entry, name, run_seed]
            f_scores[entry, "timing_gain", run_seed] = gain

    results: dict[str, dict[str, Estimate]] = {entry: {} for entry in entries}
    for entry, scores in entries.items():
        seeds = sorted(scores)
        for name in [key for key in COMPARED if all((entry, key, run_seed) in f_scores for run_seed in seeds)]:
            ours, base = [f_scores[entry, name, run_seed] for run_seed in seeds], baselines.get(name, "")
            shared = [run_seed for run_seed in seeds if (base, name, run_seed) in f_scores]
            differences = [f_scores[entry, name, run_seed] - f_scores[base, name, run_seed] for run_seed in shared]
            results[entry][name] = Estimate(*_over_seeds(ours), *_over_seeds(differences))
    return results


def _over_seeds(values: Sequence[np.ndarray]) -> tuple[float, float, float]:
    """Return mean and interval of the first values; of one seed the interval of its others, the resamples."""
    if not values:
        return math.nan, math.nan, math.nan
    firsts = [float(of_seed[0]) for of_seed in values]
    mean = statistics.fmean(firsts)
    if len(values) == 1:
        ends = interval(values[0][1:])
        return mean, ends.low, ends.high
    half = half_interval(firsts)
    return mean, mean - half, mean + half


def whole_clip_f_score(score: RunScore, n_segments: int) -> float:
    """Return segment F of the true tags over the whole clip: every true segment is found, every tag fills its clip."""
    n_true, n_tags = (np.sum(score.counts[name], axis=0)[0] for name in ("segment", "tagging"))
    return float(_f_score(np.array([n_true, n_segments * n_tags, n_true])))


def hardest_to_beat(names: Sequence[str], entries: Entries) -> dict[str, str]:
    """Return for each key of `COMPARED` the entry, of those named, with the best mean on the test clips."""
    if not names:
        return {}
    means = compare({name: entries[name] for name in names}, baselines={}, n_resamples=1)
    shared = [key for key in COMPARED if all(key in row for row in means.values())]
    shared = [key for key in shared if COMPARED[key][1] not in _OF_ESTIMATE]
    return {key: max(means, key=lambda name: means[name][key].mean) for key in shared}


def _heading(name: str) -> str:
    output, oracle = COMPARED[name]
    heading = find_metric(output, "f_score").heading
    return f"{heading}, {oracle}" if oracle else heading


def comparison_markdown(
    estimates: Mapping[str, Mapping[str, Estimate]],
    entries: Entries,
    baselines: Mapping[str, str],
    provenance: str,
    n_segments: int,
) -> str:
    """Return the table of `compare` as Markdown, in percent; `provenance` is that of the data."""
    caption = f"{provenance}. Percent, mean over seeds [95 % interval: Student's t over seeds; of one seed, over clips]"
    if baselines:
        best = "; ".join(f"{_heading(key)}: {name}" for key, name in baselines.items())
        caption += f"; in parentheses the difference, at the seeds of both, from the best entry of the curves ({best})"
    caption += (
        ". Tags: threshold chosen on the tags of validation clips. The rest: threshold, median filter, weak gate and "
        "hysteresis chosen on their onsets and offsets, which a user of tags lacks. Untuned: the run's own threshold."
    )
    rows, keys = [], [key for key in COMPARED if any(key in row for row in estimates.values())]
    if "segment" in keys:
        score = next(iter(next(iter(entries.values())).values()))
        caption += f" True tags over the whole clip: SED F {100 * whole_clip_f_score(score, n_segments):.1f}."
    for entry, row in estimates.items():
        cells = [entry, str(len(entries[entry]))]
        for key in keys:
            if key not in row:
                cells += ["-"] * (1 + (key in _UNTUNED))
                continue
            text = find_metric(COMPARED[key][0], "f_score").format
            mean, low, high, *differences = row[key]
            cell = f"{text(mean)} [{text(low)}, {text(high)}]"
            if not math.isnan(differences[0]) and baselines.get(key) != entry:
                cell += " ({}: {}, {})".format(*(text(value, "+") for value in differences))
            cells.append(cell)
            if key in _UNTUNED:
                cells.append(text(_untuned(entries[entry], key)))
        rows.append(cells)
    header = ["entry", "seeds"]
    for key in keys:
        header += [_heading(key), "untuned"] if key in _UNTUNED else [_heading(key)]
    return f"{caption}\n\n{markdown_table(header, rows, 'lr')}"


def _untuned(scores: Mapping[int, RunScore], key: str) -> float:
    return statistics.fmean(score.untuned[key] for score in scores.values())


def comparison_csv(estimates: Mapping[str, Mapping[str, Estimate]], entries: Entries) -> str:
    """Return the values of `compare` in long form as CSV, fractions."""
    rows = []
    for entry, row in estimates.items():
        for key, estimate in row.items():
            values = (*estimate, _untuned(entries[entry], key))
            rows.append([entry, len(entries[entry]), key, *(f"{value:.5f}" for value in values)])
    return csv_text(["entry", "n_seeds", "metric", *Estimate._fields, "untuned"], rows)
