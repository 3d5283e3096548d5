"""``crnn-weak demo``: synthesize a street scene, detect its events, show them beside the truth."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from crnn_weak.errors import ConfigError, DataError

if TYPE_CHECKING:
    from crnn_weak.labels.events import Event

_NEXT = (
    "crnn-weak detect RECORDING.wav              # events of your own recording",
    "crnn-weak grid                              # the paper's table on synthetic scenes, some minutes",
    "crnn-weak train --data folder --audio FOLDER --metadata TAGS.tsv    # a model of your own tagged clips",
)
_EPILOG = """example: crnn-weak demo --out demo

The scene is synthetic, like those that the starter model was trained on, but of a different seed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--out", default="demo", metavar="FOLDER", help="scene.wav, detection.png, index.html")
    parser.add_argument("--seed", type=int, default=7, metavar="N", help="seed of the scene (default: 7)")
    parser.add_argument("--overwrite", action="store_true", help="replace the files of an earlier demo")
    parser.epilog = _EPILOG


def run(args: argparse.Namespace) -> int:
    """Synthesize, detect, print, and write the picture and the page."""
    if args.seed < 0:
        raise ConfigError(f"--seed {args.seed}: expected a whole number of 0 or more.")
    sound, picture, page = (Path(args.out) / name for name in ("scene.wav", "detection.png", "index.html"))
    taken = next((path for path in (sound, picture, page) if path.exists() or path.is_symlink()), None)
    if taken is not None and not args.overwrite:
        raise DataError(f"{taken} exists already. Give --overwrite or another --out.")
    from crnn_weak.audio import write_audio
    from crnn_weak.detection.detector import load
    from crnn_weak.figures import save_figure
    from crnn_weak.figures.comparison import comparison_figure
    from crnn_weak.report.demo import write_demo_page
    from crnn_weak.synthesis.scene import draw_scene, render

    detector = load()
    rate, clip_seconds = detector.features.sample_rate_hz, detector.features.clip_seconds
    scene = draw_scene(args.seed, "test", 5)
    audio = render(scene, rate)
    events = detector.detect((audio, rate), classes=detector.classes)
    truth = sorted(scene.events)
    print(_side_by_side(truth, events))
    write_audio(sound, audio, rate)
    save_figure(comparison_figure(audio, truth, detector), picture, formats=("png",), dpi=110)
    write_demo_page(
        page,
        recording=sound,
        sample_rate_hz=rate,
        clip_seconds=clip_seconds,
        picture=picture,
        truth=truth,
        events=events,
        commands=_NEXT,
    )
    print(f"\n{sound}, {picture}\n{page}: open it in a browser\n\nNext:")
    print("\n".join(f"  {command}" for command in _NEXT))
    return 0


def _side_by_side(truth: Sequence[Event], events: Sequence[Event]) -> str:
    """Return two columns of events as text: true, detected."""
    left = [f"{event.onset:5.2f} - {event.offset:5.2f} s  {event.label}" for event in truth]
    right = [f"{event.onset:5.2f} - {event.offset:5.2f} s  {event.label} ({event.score:.2f})" for event in events]
    left, right = ["true events", *(left or ["none"])], ["detected events (score)", *(right or ["none"])]
    width, length = max(map(len, left)), max(len(left), len(right))
    left, right = ([*column, *[""] * (length - len(column))] for column in (left, right))
    return "\n".join(f"{a:<{width}}  | {b}".rstrip() for a, b in zip(left, right, strict=True))
