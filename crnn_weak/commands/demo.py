"""``crnn-weak demo``: detect the events of the bundled recording, show them with the true ones."""

from __future__ import annotations

import argparse
from pathlib import Path

from crnn_weak import cli
from crnn_weak.bundled import example
from crnn_weak.files import refuse_existing, replace_file

_NEXT = """
Next:
  crnn-weak detect RECORDING.wav    # events of your own recording
  crnn-weak grid                    # the paper's table on synthetic scenes, some minutes"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", default="demo", metavar="FOLDER", help="example.flac, detection.png, index.html")
    parser.add_argument("--overwrite", action="store_true", help="replace the files of an earlier demo")
    parser.epilog = "example: crnn-weak demo --out demo    (a recording mixed of sounds that the model has not seen)"


def run(args: argparse.Namespace) -> int:
    sound, picture, page = (Path(args.out) / name for name in (example().name, "detection.png", "index.html"))
    refuse_existing((sound, picture, page), overwrite=args.overwrite)
    from crnn_weak.detection.detector import Recording, load
    from crnn_weak.features.log_mel import log_mel
    from crnn_weak.figures import clip, style
    from crnn_weak.labels.reading import read_events
    from crnn_weak.report.html import Picture
    from crnn_weak.report.recordings import RecordingView, write_recordings_page

    detector = load()
    (truth,) = read_events(example().with_suffix(".tsv")).values()
    (detection,) = detector.detect_many([Recording(example().name, str(example()))])
    events, scores = detection.events, detection.scores
    assert scores is not None  # the recording can be read
    for title, listed in (("true events", truth), ("detected events (score)", events)):
        print(title)
        for event in listed:
            score = "" if event.score is None else f" ({event.score:.2f})"
            print(f"  {event.onset:5.2f} - {event.offset:5.2f} s  {event.label}{score}")
    figure = clip.clip_figure(
        log_mel(example(), detector.features), scores.strong[0], scores.weak[0], features=detector.features,
        classes=detector.classes, thresholds=detector.operating_point.levels(), reference=truth, estimated=events,
    )  # fmt: skip
    style.save_figure(figure, picture, formats=("png",), dpi=110)
    with replace_file(sound) as temporary:
        temporary.write_bytes(example().read_bytes())
    drawn = Picture.of(figure, picture.name)
    view = RecordingView("One recording, detected", detection.duration_seconds, events, drawn, sound.name)
    write_recordings_page(page, [view], title="crnn-weak demo")
    print()
    cli.say(f"{sound}, {picture}", f"{page}: open it in a browser")
    print(_NEXT)
    return 0
