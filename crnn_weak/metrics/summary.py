"""The list of reported metrics; their values, as fractions, from counts of each clip; intervals over clips.

References: Mesaros, Heittola, Virtanen, "Metrics for polyphonic sound event detection", Applied Sciences 6(6):162,
2016; Efron, Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
import numpy as np

from crnn_weak.errors import DataError


class Metric(NamedTuple):
    """One metric of a run: its place in ``metrics.json``, and how tables, figures and pages show it."""

    name: str
    output: str
    heading: str
    scale: float = 100  # from the fraction to the unit shown: 100 for percent, 1 for a ratio
    digits: int = 1
    higher_is_better: bool = True
    in_table: bool = False  # a column of the results table
    published: str = ""  # field of `paper.PaperRow`; that of the challenge has "challenge_" before it

    @property
    def key(self) -> str:
        """Output and name in one text, as in ``baselines.json``."""
        return f"{self.output}/{self.name}"

    def format(self, value: float | None, sign: str = "", more_digits: int = 0) -> str:
        """Return a fraction in the unit shown; "-" where it is None or NaN. `sign` "+" writes the sign always."""
        if value is None or math.isnan(value):
            return "-"
        return f"{value * self.scale:{sign}.{self.digits + more_digits}f}"


#: Other ways to tag: output -> (score of a clip, `OperatingPoint.min_tags`); "strong" is the largest frame score.
TAGGINGS = {
    "tagging_threshold": ("weak", 0),
    "tagging_at_least_one": ("weak", 1),
    "tagging_strong_threshold": ("strong", 0),
    "tagging_strong_at_least_one": ("strong", 1),
}
_TAGGING_RATES = (
    Metric("precision", "tagging", "tag P", in_table=True, published="tagging_precision"),
    Metric("recall", "tagging", "tag R", in_table=True, published="tagging_recall"),
    Metric("f_score", "tagging", "tag F", in_table=True, published="tagging_f"),
    Metric("tags_per_clip", "tagging", "tags per clip", 1, 2),
)
#: What is recorded of every run, in the order of ``results.csv``.
METRICS = (
    *_TAGGING_RATES,
    Metric("error_rate", "segment", "SED ER", 1, 2, False, in_table=True, published="error_rate"),
    Metric("f_score", "segment", "SED F", in_table=True, published="segment_f"),
    Metric("precision", "segment", "SED P"),
    Metric("recall", "segment", "SED R"),
    Metric("substitution_rate", "segment", "SED S", 1, 2, False),
    Metric("deletion_rate", "segment", "SED D", 1, 2, False),
    Metric("insertion_rate", "segment", "SED I", 1, 2, False),
    Metric("f_score", "event", "event F"),
    Metric("error_rate", "event", "event ER", 1, 2, False),
    # Controls of segments (`crnn_weak.metrics.controls`), and what needs no threshold (`crnn_weak.metrics.ranking`).
    Metric("f_score", "rotated", "rotated F", in_table=True),
    Metric("error_rate", "rotated", "rotated ER", 1, 2, False),
    Metric("f_score", "timing_gain", "timing gain", in_table=True),
    Metric("error_rate", "timing_gain", "timing gain ER", 1, 2, False),
    Metric("f_score", "whole_clip", "whole-clip F", in_table=True),
    Metric("error_rate", "whole_clip", "whole-clip ER", 1, 2, False),
    Metric("auc", "within_clip", "in-clip AUC", 1, 2, in_table=True),
    Metric("auc", "loudness", "in-clip AUC of loudness", 1, 2),
    Metric("mean_average_precision", "weak_ranking", "mAP, weak"),
    Metric("roc_auc", "weak_ranking", "AUC, weak", 1, 2),
    Metric("mean_average_precision", "strong_ranking", "mAP, strong maximum"),
    Metric("roc_auc", "strong_ranking", "AUC, strong maximum", 1, 2),
    Metric("psds1", "psds", "PSDS1", 1, 3),
    Metric("psds2", "psds", "PSDS2", 1, 3),
    *(
        Metric(rate.name, output, f"{rate.heading}, {output}", rate.scale, rate.digits)
        for output in TAGGINGS
        for rate in _TAGGING_RATES
    ),
)
_BY_KEY = {metric.key: metric for metric in METRICS}

# Names in `Metrics`. Tagging has no errors; one class alone has no substitutions.
COUNTS = ("n_reference", "n_estimated", "n_correct")
ERROR_COUNTS = ("n_substitutions", "n_deletions", "n_insertions")
RATES = ("precision", "recall", "f_score")
ERROR_RATES = ("error_rate", "substitution_rate", "deletion_rate", "insertion_rate")

LEVEL = 0.95  # of the confidence intervals
_BLOCK = 20_000_000  # numbers of a bootstrap in memory at a time


def find_metric(output: str, name: str) -> Metric:
    """Return one of `METRICS`."""
    return _BY_KEY[f"{output}/{name}"]


def tagging_hint(f_scores: Iterable[float | None]) -> str:
    """Return what to do where all F-scores of tagging are 0, otherwise an empty text."""
    if any(f_scores):
        return ""
    return "no tag is right. Train for more epochs, or choose thresholds: crnn-weak tune RUN --metric tagging_f1"


class Counts(NamedTuple):
    """Active segments, events or tags of each clip; every rate and every confidence interval follows from them."""

    n_reference: np.ndarray  # int, (n_clips, n_classes)
    n_estimated: np.ndarray
    n_correct: np.ndarray
    errors: np.ndarray | None = None  # substitutions, deletions, insertions, (n_clips, 3); tagging has none


def divide(numerator: Any, denominator: Any, empty: Any = np.nan) -> np.ndarray:
    """Return the quotient as floats, and `empty` where the denominator is 0."""
    numerator, denominator = np.asarray(numerator, dtype=float), np.asarray(denominator, dtype=float)
    result = np.array(np.broadcast_to(empty, np.broadcast_shapes(numerator.shape, denominator.shape)), dtype=float)
    return np.divide(numerator, denominator, out=result, where=denominator > 0)


def rates(n_reference: Any, n_estimated: Any, n_correct: Any, errors: Any = None) -> dict[str, np.ndarray]:
    """Return the rates of summed counts, elementwise; the last axis of `errors` is S, D, I."""
    # Where nothing is estimated, precision and F are 0, as in scikit-learn (sed_eval: NaN). Without reference,
    # every rate is NaN, but precision is 0 if something is estimated (sed_eval divides the error rate by 2e-16).
    undefined = np.where(np.asarray(n_reference) > 0, 0.0, np.nan)
    found = {
        "precision": divide(n_correct, n_estimated, empty=undefined),
        "recall": divide(n_correct, n_reference),
        "f_score": divide(2 * np.asarray(n_correct), n_reference + n_estimated) + undefined,
    }
    if errors is not None:
        shares = divide(errors, np.asarray(n_reference)[..., None])
        substitutions, deletions, insertions = shares[..., 0], shares[..., 1], shares[..., 2]
        total = substitutions + deletions + insertions
        found |= dict(zip(ERROR_RATES, (total, substitutions, deletions, insertions), strict=True))
    return found


def class_rates(
    n_reference: np.ndarray, n_estimated: np.ndarray, n_correct: np.ndarray, *, is_detection: bool
) -> dict[str, np.ndarray]:
    """Return the rates of each class, classes on the last axis."""
    errors = None
    if is_detection:
        errors = np.stack([np.zeros_like(n_reference), n_reference - n_correct, n_estimated - n_correct], axis=-1)
    found = rates(n_reference, n_estimated, n_correct, errors)
    found.pop("substitution_rate", None)
    return found


def defined_mean(values: Iterable[float]) -> tuple[float, int]:
    """Return the mean over the values that are not NaN, NaN if none is, and the number of the others."""
    given = np.array(list(values), dtype=float)
    defined = given[~np.isnan(given)]
    return float(defined.mean()) if len(defined) else math.nan, len(given) - len(defined)


def plain(value: Any) -> Any:
    """Return dataclasses, mappings and NumPy numbers as content of JSON; NaN and infinity become None."""
    return msgspec.json.decode(msgspec.json.encode(value, enc_hook=lambda number: number.item()))


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Metrics of one output; tags have no errors: their counts are None, their rates NaN."""

    n_clips: int
    n_reference: int
    n_estimated: int
    n_correct: float  # as the errors, a mean over rotations where an estimate is rotated
    precision: float
    recall: float
    f_score: float
    class_wise: dict[str, dict[str, float]]  # counts and rates by class
    class_average: dict[str, float]  # mean of each rate over the classes where it is defined
    n_undefined: dict[str, int]  # number of the other classes
    n_substitutions: float | None = None
    n_deletions: float | None = None
    n_insertions: float | None = None
    error_rate: float = math.nan
    substitution_rate: float = math.nan
    deletion_rate: float = math.nan
    insertion_rate: float = math.nan
    settings: dict[str, float | bool] = field(default_factory=dict)  # length of the segments, or collars

    @classmethod
    def of_counts(cls, counts: Counts, classes: Sequence[str], **settings: float | bool) -> Metrics:
        """Compute the metrics of counts."""
        sums = [array.sum(axis=0) for array in counts[:3]]
        errors = None if counts.errors is None else counts.errors.sum(axis=0)
        overall: dict[str, Any] = {name: array.sum().item() for name, array in zip(COUNTS, sums, strict=True)}
        found = rates(overall["n_reference"], overall["n_estimated"], overall["n_correct"], errors)
        if errors is not None:
            overall |= dict(zip(ERROR_COUNTS, errors.tolist(), strict=True))
        overall |= {name: float(value) for name, value in found.items()}
        by_class = dict(zip(COUNTS, sums, strict=True)) | class_rates(*sums, is_detection=errors is not None)
        columns = {name: values.tolist() for name, values in by_class.items()}
        rows = {label: {name: values[index] for name, values in columns.items()} for index, label in enumerate(classes)}
        return cls.of_values(len(counts.n_reference), overall, rows, **settings)

    @classmethod
    def of_values(
        cls, n_clips: int, overall: Mapping[str, Any], rows: dict[str, dict[str, float]], **settings: float | bool
    ) -> Metrics:
        """Add the class averages to overall counts and rates and to the rows of the classes."""
        average, n_undefined = {}, {}
        for name in (*RATES, *ERROR_RATES):
            if name in overall and name != "substitution_rate":
                average[name], n_undefined[name] = defined_mean(row[name] for row in rows.values())
        by_class: dict[str, Any] = {"class_wise": rows, "class_average": average, "n_undefined": n_undefined}
        return cls(n_clips=n_clips, **overall, **by_class, settings=settings)

    @property
    def tags_per_clip(self) -> float:
        """Number of estimated tags by number of clips."""
        return self.n_estimated / self.n_clips

    def to_dict(self) -> dict[str, Any]:
        """Return the metrics as content of JSON; undefined values are None."""
        content: dict[str, Any] = plain(self)
        content |= content.pop("settings")
        if self.n_substitutions is None:
            for name in (*ERROR_COUNTS, *ERROR_RATES):
                del content[name]
            content["tags_per_clip"] = self.tags_per_clip
        return content


@dataclass(frozen=True)
class Interval:
    """Ends of a confidence interval; `n_undefined` resamples had no value (0/0) and are skipped."""

    low: float
    high: float
    n_undefined: int = 0


@dataclass(frozen=True, kw_only=True)
class Intervals:
    """Intervals of the overall metrics, of the class averages, and of every class by label."""

    level: float = LEVEL
    n_resamples: int = 0
    seed: int = 0
    overall: dict[str, Interval] = field(default_factory=dict)
    class_average: dict[str, Interval] = field(default_factory=dict)
    class_wise: dict[str, dict[str, Interval]] = field(default_factory=dict)


def interval(values: np.ndarray) -> Interval:
    """Return the interval that holds the middle 95 % of the values, without those that are NaN."""
    defined = values[~np.isnan(values)]
    if not len(defined):
        return Interval(math.nan, math.nan, len(values))
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high), len(values) - len(defined))


def half_interval(values: Sequence[float]) -> float:
    """Return half of Student's 95 % interval of the mean over seeds, of which there are at least two."""
    from scipy.stats import t as student

    return float(student.ppf((1 + LEVEL) / 2, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))


def resampled_sums(table: np.ndarray, *, n_resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Draw the rows of a table (n_clips, n_columns) with replacement; return the sums, (n_resamples, n_columns)."""
    n_clips = len(table)
    shares = np.full(n_clips, 1 / n_clips)
    block = max(1, _BLOCK // n_clips)
    sums = []
    for start in range(0, n_resamples, block):
        n_drawn = rng.multinomial(n_clips, shares, size=min(block, n_resamples - start))
        sums.append(n_drawn.astype(np.float64) @ table.astype(np.float64))
    return np.concatenate(sums)


def bootstrap(counts: Counts, *, classes: Sequence[str] = (), n_resamples: int = 1000, seed: int = 0) -> Intervals:
    """Return percentile intervals over clips of every metric of the counts; with `classes`, of every class too."""
    n_clips, n_classes = counts.n_reference.shape
    if n_clips < 2:
        raise DataError(f"bootstrap: {n_clips} clip, but intervals over clips need two or more. Omit the bootstrap.")
    # Clips are drawn whole, since their frames and classes are not independent.
    table = np.concatenate([array for array in counts if array is not None], axis=1)
    sums = resampled_sums(table, n_resamples=n_resamples, rng=np.random.default_rng(seed))
    *by_class, errors = np.split(sums, [n_classes, 2 * n_classes, 3 * n_classes], axis=1)
    is_detection = counts.errors is not None
    n_reference, n_estimated, n_correct = (array.sum(axis=1) for array in by_class)
    overall = rates(n_reference, n_estimated, n_correct, errors if is_detection else None)
    averages: dict[str, Interval] = {}
    class_wise: dict[str, dict[str, Interval]] = {label: {} for label in classes}
    for name, values in class_rates(*by_class, is_detection=is_detection).items():
        averages[name] = interval(divide(np.nansum(values, axis=1), (~np.isnan(values)).sum(axis=1)))
        for index, label in enumerate(classes):
            class_wise[label][name] = interval(values[:, index])
    return Intervals(
        n_resamples=n_resamples,
        seed=seed,
        overall={name: interval(values) for name, values in overall.items()},
        class_average=averages,
        class_wise=class_wise,
    )
