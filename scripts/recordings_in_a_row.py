"""Join isolated recordings into long ones, to test a model on raw recordings that no scene was mixed of.

``python scripts/recordings_in_a_row.py FOLDER OUT`` reads a folder of isolated recordings as source ``scenes`` does,
joins those of fold 4 (the test fold) in random order, unmixed and at their own level, into files of ten minutes, and
writes ``OUT/row-1.wav`` and so on, with ``OUT/events.tsv``, their active regions. Then::

    crnn-weak tune RUN --metric tagging_f1 --overwrite
    crnn-weak tune RUN --metric event_f1 --median 0 0.5 1.1 --weak-gate --low-threshold 0.3 --overwrite  # or segment_f1
    crnn-weak detect OUT --model RUN --out OUT/detected --format desed
    crnn-weak evaluate --reference OUT/events.tsv --estimated OUT/detected/events.tsv
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from crnn_weak.cli import run_guarded

_RATE_HZ = 16_000
_FOLD = 4
_FILE_SECONDS = 600.0


def join(folder: Path, out: Path, *, seed: int = 0) -> int:
    """Write the long recordings and their events; return how many recordings they hold."""
    from crnn_weak.audio import load_clip
    from crnn_weak.audio.files import write_audio
    from crnn_weak.labels.events import Event
    from crnn_weak.labels.writing import write_events
    from crnn_weak.synthesis.mixing import read_recordings

    recordings = [r for r in read_recordings(folder, cache=out / "cache").recordings if r.fold == _FOLD]
    order = np.random.default_rng(seed).permutation(len(recordings))
    events: dict[str, list[Event]] = {}
    parts: list[np.ndarray] = []
    length = 0

    def write() -> None:
        write_audio(out / f"row-{len(events)}.wav", np.concatenate(parts), _RATE_HZ)

    for index in order:
        if not parts:
            events[f"row-{len(events) + 1}"] = []
        recording, start = recordings[index], length / _RATE_HZ
        audio, _ = load_clip(folder / recording.name, _RATE_HZ)
        if not recording.background:  # the category of a background is no class
            events[f"row-{len(events)}"] += [
                Event(round(start + on, 3), round(start + off, 3), recording.category) for on, off in recording.regions
            ]
        parts.append(audio)
        length += len(audio)
        if length >= _FILE_SECONDS * _RATE_HZ:
            write()
            parts, length = [], 0
    if parts:
        write()
    write_events(out / "events.tsv", events)
    return len(recordings)


def main(argv: Sequence[str] | None = None) -> int:
    """Write the files and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python scripts/recordings_in_a_row.py", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("folder", type=Path, help="recordings with meta.csv")
    parser.add_argument("out", type=Path)
    args = parser.parse_args(argv)

    def call() -> int:
        print(f"{join(args.folder, args.out)} recordings in {args.out}")
        return 0

    return run_guarded("recordings_in_a_row", call)


if __name__ == "__main__":
    sys.exit(main())
