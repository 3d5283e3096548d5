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
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from crnn_weak.errors import CrnnWeakError
from crnn_weak.files import write_text
from crnn_weak.labels.events import DCASE2017_TASK4
from crnn_weak.labels.reading import by_clip, read_events, read_tags
from crnn_weak.synthesis.scene import CLIP_SECONDS, QUANTILES, STATISTICS_PATH

_WEAK = {"train": "groundtruth_weak_label_training_set.csv", "test": "groundtruth_weak_label_testing_set.csv"}
_STRONG = "groundtruth_strong_label_testing_set.csv"
# An event this near to an edge of the clip continues beyond it, for all that an annotator can tell.
_EDGE_SECONDS = 0.1


def _quantiles(values: Sequence[float]) -> list[float]:
    return [round(float(value), 3) for value in np.quantile(values, QUANTILES)]


def _layout(clips: list[list[tuple[float, float]]]) -> dict[str, Any]:
    """Describe the events of one class; `clips` has one list of (onset, offset) for each clip that carries the tag."""
    timed = [[event for event in events if event != (0.0, 0.0)] for events in clips]
    timed = [sorted(events) for events in timed if events]
    single = [events[0] for events in timed if len(events) == 1]
    short = [(onset, offset) for onset, offset in single if offset - onset < CLIP_SECONDS - _EDGE_SECONDS]
    repeated = [events for events in timed if len(events) > 1]
    return {
        "clips": len(clips),
        "not_heard": len(clips) - len(timed),
        "events_per_clip": {str(n): count for n, count in sorted(Counter(map(len, timed)).items())},
        "event_seconds": _quantiles([offset - onset for events in timed for onset, offset in events]),
        "single_event_seconds": _quantiles([offset - onset for onset, offset in single]),
        "single_from_start": round(float(np.mean([onset < _EDGE_SECONDS for onset, _ in short] or [False])), 3),
        "single_to_end": round(
            float(np.mean([offset > CLIP_SECONDS - _EDGE_SECONDS for _, offset in short] or [False])), 3
        ),
        "covered_seconds": _quantiles([sum(offset - onset for onset, offset in events) for events in timed]),
        "repeated_covered_seconds": (
            _quantiles([sum(offset - onset for onset, offset in events) for events in repeated])
            if len(repeated) >= 5
            else None
        ),
    }


def derive(folder: str | Path) -> dict[str, Any]:
    """Return the statistics of the organizers' label files in a folder."""
    folder = Path(folder)
    tag_sets = {}
    for split, name in _WEAK.items():
        tags = by_clip(folder / name, read_tags(folder / name))
        counts = Counter(tuple(sorted(map(DCASE2017_TASK4.index, labels))) for labels in tags.values())
        tag_sets[split] = [
            [count, list(key)] for key, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        ]

    events: dict[str, dict[str, list[tuple[float, float]]]] = {label: defaultdict(list) for label in DCASE2017_TASK4}
    for clip, found in by_clip(folder, read_events(folder / _STRONG)).items():
        for event in found:
            events[event.label][clip].append((event.onset, event.offset))
    repeated = [
        sum(offset - onset for onset, offset in clip)
        for clips in events.values()
        for clip in clips.values()
        if len(clip) > 1
    ]
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
        "layouts": {label: _layout(list(clips.values())) for label, clips in events.items()},
        "repeated_covered_seconds": _quantiles(repeated),
    }


def to_json(statistics: dict[str, Any]) -> str:
    """Return the file's text: one line per innermost list, so that a change shows as a line."""
    text = json.dumps(statistics, indent=1, ensure_ascii=False)
    inner = re.compile(r"\[\s+([^\[\]{}]*?)\s+\]")
    text = inner.sub(lambda match: "[" + re.sub(r"\s*\n\s*", " ", match[1]) + "]", text)
    pairs = re.compile(r"\[\s+(\d+),\s+(\[[^\[\]]*\])\s+\]")
    return pairs.sub(r"[\1, \2]", text) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Write ``street_statistics.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the organizers' label files")
    parser.add_argument("--output", type=Path, default=STATISTICS_PATH)
    args = parser.parse_args(argv)
    try:
        text = to_json(derive(args.folder))
    except CrnnWeakError as error:
        print(f"street_statistics: error: {error}", file=sys.stderr)
        return 2
    write_text(args.output, text)
    print(f"wrote {args.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
