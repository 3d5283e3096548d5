"""``crnn-weak convert``: label files of any format as event lists of another, or as tags."""

from __future__ import annotations

import argparse

_EPILOG = """INPUT is a label file, or a folder of them. Tables are read by the names of their columns; the page "Label
files" lists those names and the lists without a header. OUTPUT of audacity and raven is a folder of one file per
recording, or a file (.txt) for one recording.

examples:
  crnn-weak convert events.tsv tracks --to audacity
  crnn-weak convert rec.Table.1.selections.txt events.csv --to csv
  crnn-weak convert UrbanSound8K.csv tags.tsv --to desed-tags"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    from crnn_weak.labels.reading import INPUT_FORMATS
    from crnn_weak.labels.writing import EVENT_FORMATS

    parser.add_argument("input", metavar="INPUT", help="a label file, or a folder of them")
    parser.add_argument("output", metavar="OUTPUT")
    targets = (*EVENT_FORMATS, "desed-tags")
    parser.add_argument("--to", required=True, choices=targets, metavar="FORMAT", help=", ".join(targets))
    parser.add_argument("--input-format", metavar="FORMAT", help=f"what INPUT must be: {', '.join(INPUT_FORMATS)}")
    parser.add_argument("--min-score", type=float, metavar="S", help="drop labels with lower scores")
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    parser.epilog = _EPILOG


def run(args: argparse.Namespace) -> int:
    """Read, write, and print the counts."""
    from pathlib import Path

    from crnn_weak.errors import DataError
    from crnn_weak.files import write_text
    from crnn_weak.labels.reading import LabelFile, read_files, united
    from crnn_weak.labels.writing import EVENT_FORMATS, audio_name, event_files, tag_text

    target = EVENT_FORMATS.get(args.to)
    files = read_files(args.input, input_format=args.input_format, min_score=args.min_score)
    for file in files:
        if file.kind == "unclear" or (file.kind == "tags" and target):
            raise DataError(
                f"{file.path}: holds tags, or times that may be places in other recordings; {args.to} needs onsets and "
                "offsets. Give --input-format dcase where the file holds events."
            )
    names = {identifier: audio_name(name) for identifier, name in united(files, lambda file: file.names).items()}
    if target:
        events = {names[identifier]: found for identifier, found in united(files, LabelFile.events).items()}
        documents = event_files(args.output, args.to, events)
        silent = 0 if target.lists_silence else sum(not found for found in events.values())
        counted, n_labels = "events", sum(map(len, events.values()))
    else:
        tags = {names[identifier]: found for identifier, found in united(files, LabelFile.scored_tags).items()}
        documents = {Path(args.output): tag_text(args.output, tags)}
        silent, counted, n_labels = 0, "tags", sum(map(len, tags.values()))
    if not documents:
        raise DataError(f"{args.input}: lists no recording; nothing to write.")
    for path in (Path(args.output), *documents):
        if path.is_file() and not args.overwrite:
            raise DataError(f"{path} exists; give --overwrite or another name.")
    for path, text in documents.items():
        write_text(path, text)
    formats = ", ".join(sorted({file.format or "empty" for file in files}))
    print(f"{args.output}: {n_labels} {counted} of {len(names) - silent} recordings, {formats} to {args.to}")
    if silent:
        print(f"not written: {silent} recordings without events, which {args.to} cannot list")
    if target and not target.holds_scores and any(file.scores() for file in files):
        print(f"not written: scores, which {args.to} cannot hold; csv, raven and jsonl can")
    if any(row.split for file in files for row in file.rows):
        print(f"not written: splits, which {args.to} cannot hold")
    return 0
