"""Ask the published table what its detection owes to its tags: random tag lists, stretched over the whole clip.

``python scripts/stretched_tags.py METADATA_FOLDER`` reads the organizers' test list of DCASE 2017 task 4. For each
row of the paper it draws lists with the published numbers of tags and of right tags. Each tag is then an event over its
whole clip.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from crnn_weak import paper
from crnn_weak.cli import run_guarded
from crnn_weak.files import markdown_table
from crnn_weak.labels.events import DCASE2017_TASK4, tag_array, tag_names
from crnn_weak.labels.reading import by_clip, read_events, read_tags
from crnn_weak.metrics.controls import whole_clip
from crnn_weak.metrics.counting import segment_metrics

_TAGS, _EVENTS = "groundtruth_weak_label_testing_set.csv", "groundtruth_strong_label_testing_set.csv"


def draw_tags(true: np.ndarray, n_right: int, n_all: int, rng: np.random.Generator) -> np.ndarray:
    """Return random tags (n_clips, n_classes), `n_right` of them true. Clips without one get a false one first."""
    drawn = np.zeros_like(true)
    right = rng.permutation(np.argwhere(true))[:n_right]
    drawn[tuple(right.T)] = True
    false = rng.permutation(np.argwhere(~true))
    _, first = np.unique(false[:, 0], return_index=True)  # one of each clip
    empty = first[~drawn.any(axis=1)[false[first, 0]]]
    order = np.concatenate([rng.permutation(empty), np.setdiff1d(np.arange(len(false)), empty)])
    drawn[tuple(false[order[: n_all - n_right]].T)] = True
    return drawn


def stretched_rows(folder: Path, n_lists: int) -> list[list[str]]:
    """Return a row of the table for each of the paper's settings."""
    tags = by_clip(folder / _TAGS, read_tags(folder / _TAGS))
    heard = by_clip(folder / _EVENTS, read_events(folder / _EVENTS))
    events = {clip: heard.get(clip, ()) for clip in tags}
    true = tag_array(list(tags.values()), DCASE2017_TASK4)
    rng, rows = np.random.default_rng(0), []
    for row in paper.RESULTS:
        n_right = round(true.sum() * row.tagging_recall / 100)
        n_all = round(n_right / row.tagging_precision * 100)
        scores = []
        for _ in range(n_lists):
            drawn = draw_tags(true, n_right, n_all, rng)
            names = {clip: tag_names(of_clip, DCASE2017_TASK4) for clip, of_clip in zip(tags, drawn, strict=True)}
            found = segment_metrics(events, whole_clip(names, 10.0), classes=DCASE2017_TASK4)
            scores.append((100 * found.f_score, found.error_rate))
        (low, low_rate), (high, high_rate) = np.quantile(scores, [0.025, 0.975], axis=0)
        f_score, rate = np.mean(scores, axis=0)
        cells = [f"{row.strong:g}, {row.weak:g}", f"{n_right} of {n_all}", f"{f_score:.1f} [{low:.1f}, {high:.1f}]"]
        cells += [f"{row.segment_f:.1f}", f"{rate:.2f} [{low_rate:.2f}, {high_rate:.2f}]", f"{row.error_rate:.2f}"]
        rows.append(cells)
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("metadata", type=Path, help="folder of the organizers' label files")
    parser.add_argument("--lists", type=int, default=300, metavar="N", help="random lists of each row")
    args = parser.parse_args()
    header = ["strong, weak", "right of all tags", "SED F, stretched", "published", "SED ER, stretched", "published"]
    print(markdown_table(header, stretched_rows(args.metadata, args.lists)))


if __name__ == "__main__":
    sys.exit(run_guarded("stretched_tags", main))
