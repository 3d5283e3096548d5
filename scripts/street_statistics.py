"""Derive the statistics of the task's label files that street scenes are drawn from.

``python scripts/street_statistics.py METADATA_FOLDER`` writes ``crnn_weak/synthesis/street_statistics.json`` from the
organizers' lists of DCASE 2017 task 4 (folder as in their repository). It has numbers only, no clip ids:

* ``tag_sets``: how many clips of the training and of the testing list have which set of tags. Class priors, tags per
  clip and co-occurrence follow from it.
* ``layouts``: per class, from the strong labels of the testing list (the training clips have none): events per clip,
  quantiles of event lengths, the share that begins with the clip or ends with it.

Rows ``0 0`` (labeled, but not heard) are counted as ``not_heard`` and skipped everywhere else.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from crnn_weak.cli import run_guarded
from crnn_weak.files import write_text
from crnn_weak.labels.events import DCASE2017_TASK4
from crnn_weak.labels.reading import by_clip, read_events, read_tags
from crnn_weak.synthesis.scene import CLIP_SECONDS, QUANTILES, STATISTICS_PATH

_WEAK = {"train": "groundtruth_weak_label_training_set.csv", "test": "groundtruth_weak_label_testing_set.csv"}
_STRONG = "groundtruth_strong_label_testing_set.csv"
# An event this near to an edge of the clip continues beyond it, for all that an annotator can tell.
_EDGE_SECONDS = 0.1


def _quantiles(values: Sequence[float]) -> list[float]:
    return [round(value, 3) for value in np.quantile(values, QUANTILES).tolist()]


def _covered(clips: list[np.ndarray]) -> list[float]:
    """Return how many seconds of each clip have an event of the class."""
    return [float((events[:, 1] - events[:, 0]).sum()) for events in clips]


def _layout(clips: list[np.ndarray]) -> dict[str, Any]:
    """Describe the events of one class; `clips` has (onset, offset) of each event for each clip with the tag."""
    timed = [events[events.any(axis=1)] for events in clips]
    timed = [events for events in timed if len(events)]
    single = np.concatenate([events for events in timed if len(events) == 1])
    repeated = [events for events in timed if len(events) > 1]
    short = single[single[:, 1] - single[:, 0] < CLIP_SECONDS - _EDGE_SECONDS]
    from_start, to_end = short[:, 0] < _EDGE_SECONDS, short[:, 1] > CLIP_SECONDS - _EDGE_SECONDS
    return {
        "clips": len(clips),
        "not_heard": len(clips) - len(timed),
        "events_per_clip": {str(n): count for n, count in sorted(Counter(map(len, timed)).items())},
        "event_seconds": _quantiles(np.diff(np.concatenate(timed)).ravel()),
        "single_event_seconds": _quantiles(np.diff(single).ravel()),
        "single_from_start": round(float(from_start.mean()), 3) if len(short) else 0.0,
        "single_to_end": round(float(to_end.mean()), 3) if len(short) else 0.0,
        "covered_seconds": _quantiles(_covered(timed)),
        "repeated_covered_seconds": _quantiles(_covered(repeated)) if len(repeated) >= 5 else None,
    }


def derive(folder: str | Path) -> dict[str, Any]:
    """Return the statistics of the organizers' label files in a folder."""
    folder = Path(folder)
    tag_sets = {}
    for split, name in _WEAK.items():
        clips = by_clip(folder / name, read_tags(folder / name))
        counts = Counter(tuple(sorted(map(DCASE2017_TASK4.index, tags))) for tags in clips.values())
        ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        tag_sets[split] = [[count, list(tags)] for tags, count in ordered]

    layouts: dict[str, list[np.ndarray]] = {label: [] for label in DCASE2017_TASK4}
    for events in by_clip(folder, read_events(folder / _STRONG)).values():
        for label in {event.label for event in events}:
            times = [(event.onset, event.offset) for event in events if event.label == label]
            layouts[label].append(np.array(times))
    repeated = [events for clips in layouts.values() for events in clips if len(events) > 1]
    return {
        "source": {
            "name": "DCASE 2017 task 4, label files of the organizers (Apache License 2.0, (c) 2017 CMU and INRIA)",
            "cite": "A. Mesaros et al., DCASE 2017 challenge setup: Tasks, datasets and baseline system, DCASE 2017",
            "command": "python scripts/street_statistics.py METADATA_FOLDER",
            "sha256": {
                name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in (*_WEAK.values(), _STRONG)
            },
        },
        "classes": list(DCASE2017_TASK4),
        "tag_sets": tag_sets,
        "layouts": {label: _layout(clips) for label, clips in layouts.items()},
        "repeated_covered_seconds": _quantiles(_covered(repeated)),
    }


def to_json(statistics: dict[str, Any]) -> str:
    """Return the file's text: one line per innermost list, so that a change shows as a line."""
    text = json.dumps(statistics, indent=1, ensure_ascii=False)
    inner = re.compile(r"\[\s+([^\[\]{}]*?)\s+\]")
    text = inner.sub(lambda match: "[" + re.sub(r"\s*\n\s*", " ", match[1]) + "]", text)
    pairs = re.compile(r"\[\s+(\d+),\s+(\[[^\[\]]*\])\s+\]")
    return pairs.sub(r"[\1, \2]", text) + "\n"


def main() -> None:
    """Write ``street_statistics.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the organizers' label files")
    folder = parser.parse_args().folder
    write_text(STATISTICS_PATH, to_json(derive(folder)))
    print(f"wrote {STATISTICS_PATH}")


if __name__ == "__main__":
    sys.exit(run_guarded("street_statistics", main))
