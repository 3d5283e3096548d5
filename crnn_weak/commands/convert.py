"""``crnn-weak convert``: label files of any format as event lists of another, or as tags."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

from crnn_weak import cli

_EPILOG = """INPUT is a label file, or a folder of them. Tables are read by the names of their columns; the page "Label
files" lists those names and the lists without a header. OUTPUT of audacity and raven is a folder of one file per
recording, or a file (.txt) for one recording.

examples:
  crnn-weak convert events.tsv tracks --to audacity
  crnn-weak convert rec.Table.1.selections.txt events.csv --to csv
  crnn-weak convert UrbanSound8K.csv tags.tsv --to desed-tags"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from crnn_weak.labels.tables import KINDS
    from crnn_weak.labels.writing import EVENT_FORMATS

    parser.add_argument("input", metavar="INPUT", help="a label file, or a folder of them")
    parser.add_argument("output", metavar="OUTPUT", help="a file, or a folder for one file per recording")
    targets = (*EVENT_FORMATS, "desed-tags")
    parser.add_argument("--to", required=True, choices=targets, metavar="FORMAT", help=", ".join(targets))
    parser.add_argument("--input-format", metavar="FORMAT", help=f"what INPUT must be: {', '.join(KINDS)}")
    parser.add_argument("--min-score", type=float, metavar="S", help="drop labels with lower scores")
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    parser.epilog = _EPILOG


def run(args: argparse.Namespace) -> int:
    from crnn_weak.errors import DataError
    from crnn_weak.files import output_folder, refuse_existing, write_text
    from crnn_weak.labels.reading import LabelFile, Labels, read_files, united
    from crnn_weak.labels.writing import EVENT_FORMATS, audio_name, event_files, tag_text

    target = EVENT_FORMATS.get(args.to)
    files = read_files(args.input, input_format=args.input_format, min_score=args.min_score, splits=True)
    for one in files:
        if one.kind == "unclear" or (one.kind == "tags" and target):
            raise DataError(
                f"{one.path}: holds tags, or times that may be places in other recordings; {args.to} needs onsets and "
                "offsets. Give --input-format dcase where the file holds events."
            )
    names = united(files, lambda file: file.names)
    read: Callable[[LabelFile], Labels] = LabelFile.events if target else LabelFile.tags
    labels = {audio_name(names[identifier]): found for identifier, found in united(files, read).items()}
    path = Path(args.output)
    documents = event_files(path, args.to, labels) if target else {path: tag_text(path, labels)}
    n_labels = sum(map(len, labels.values()))
    n_silent = 0 if target is None or target.lists_silence else sum(not found for found in labels.values())
    if not documents:
        raise DataError(f"{args.input}: lists no recording; nothing to write.")
    with output_folder(path.parent if path in documents else path):
        refuse_existing(documents, overwrite=args.overwrite)
        for file, text in documents.items():
            write_text(file, text)
    formats = ", ".join(sorted({one.format for one in files}))
    counted = f"{n_labels} {'events' if target else 'tags'} of {len(names) - n_silent} recordings"
    say = partial(cli.say, out=path)
    say(f"{path}: {counted}, {formats} to {args.to}")
    if n_silent:
        say(f"not written: {n_silent} recordings without events, which {args.to} cannot list")
    if not (target and target.holds_scores) and any(one.scores() for one in files):
        say(f"not written: scores, which {args.to} cannot hold; csv, raven and jsonl can")
    if any(row.split for one in files for row in one.rows):
        say(f"not written: splits, which {args.to} cannot hold")
    return 0
