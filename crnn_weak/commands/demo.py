"""``crnn-weak demo``: synthesize a street scene, detect its events, show them with the truth."""

from __future__ import annotations

import argparse
from pathlib import Path

from crnn_weak import cli
from crnn_weak.errors import ConfigError
from crnn_weak.files import refuse_existing

_NEXT = """
Next:
  crnn-weak detect RECORDING.wav    # events of your own recording
  crnn-weak grid                    # the paper's table on synthetic scenes, some minutes"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", default="demo", metavar="FOLDER", help="scene.wav, detection.png, index.html")
    parser.add_argument("--seed", type=int, default=7, metavar="N", help="seed of the scene (default: 7)")
    parser.add_argument("--overwrite", action="store_true", help="replace the files of an earlier demo")
    parser.epilog = "example: crnn-weak demo --out demo    (a scene like the starter model's training, of another seed)"


def run(args: argparse.Namespace) -> int:
    if args.seed < 0:
        raise ConfigError(f"--seed {args.seed}: expected a whole number of 0 or more.")
    sound, picture, page = (Path(args.out) / name for name in ("scene.wav", "detection.png", "index.html"))
    refuse_existing((sound, picture, page), overwrite=args.overwrite)
    from crnn_weak.audio import write_audio
    from crnn_weak.detection.detector import load
    from crnn_weak.features.log_mel import log_mel
    from crnn_weak.figures import clip, style
    from crnn_weak.report.html import Picture
    from crnn_weak.report.recordings import RecordingView, write_recordings_page
    from crnn_weak.synthesis.scene import draw_scene, render

    detector = load()
    features, point = detector.features, detector.operating_point
    scene = draw_scene(args.seed, "test", 5)
    audio = render(scene, features.sample_rate_hz)
    recording = (audio, features.sample_rate_hz)
    events, truth = detector.detect(recording, classes=detector.classes), sorted(scene.events)
    for title, listed in (("true events", truth), ("detected events (score)", events)):
        print(title)
        for event in listed:
            score = "" if event.score is None else f" ({event.score:.2f})"
            print(f"  {event.onset:5.2f} - {event.offset:5.2f} s  {event.label}{score}")
    write_audio(sound, *recording)
    scores = detector.scores(recording)
    thresholds = dict(zip(point.classes, point.thresholds, strict=True))
    figure = clip.clip_figure(
        log_mel(audio, features), scores.strong[0], scores.weak[0], features=features, classes=detector.classes,
        thresholds=thresholds, reference=truth, estimated=events,
    )  # fmt: skip
    style.save_figure(figure, picture, formats=("png",), dpi=110)
    drawn = Picture.of(figure, picture.name)
    view = RecordingView("One street scene, detected", features.clip_seconds, events, drawn, sound.name)
    write_recordings_page(page, [view], title="crnn-weak demo")
    print()
    cli.say(f"{sound}, {picture}", f"{page}: open it in a browser")
    print(_NEXT)
    return 0
