"""``crnn-weak convert``: label files from any form into any other."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crnn_weak.labels.events import Event
    from crnn_weak.labels.forms import LabelFile

_EPILOG = """forms:
{forms}

The form of INPUT is found from its rows, and refused where two fit; --input-format names it. INPUT may be a folder of
label files, OUTPUT is one for audacity and jams (a file per recording).

examples:
  crnn-weak convert events.tsv tracks --to audacity
  crnn-weak convert rec.Table.1.selections.txt events.tsv --to desed
  crnn-weak convert UrbanSound8K.csv tags.tsv --to desed-tags"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    from crnn_weak.labels.forms import FORMS

    parser.add_argument("input", metavar="INPUT", help="a label file, or a folder of them")
    parser.add_argument("output", metavar="OUTPUT")
    parser.add_argument("--to", required=True, metavar="FORM", help="form of OUTPUT")
    parser.add_argument(
        "--input-format", dest="form", metavar="FORMAT", help="format of INPUT (default: found from its rows)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    parser.epilog = _EPILOG.format(forms="\n".join(f"  {name:<13} {form.title}" for name, form in FORMS.items()))


def run(args: argparse.Namespace) -> int:
    """Read, write, and print the counts."""
    from pathlib import Path

    from crnn_weak.errors import DataError
    from crnn_weak.labels.files import read_files
    from crnn_weak.labels.forms import find_form
    from crnn_weak.labels.old_writing import target_paths, write_labels

    target = find_form(args.to)
    files = read_files(args.input, form=args.form)
    labels = _labels(files, target.kind)
    if target.one_recording and not labels:
        raise DataError(f"{args.input}: no recording, so there is no file to write.")
    for path in dict.fromkeys([Path(args.output), *target_paths(args.output, args.to, labels).values()]):
        if path.is_file() and not args.overwrite:
            raise DataError(f"{path} exists; give --overwrite or another name.")
    written = write_labels(args.output, args.to, labels)
    forms = ", ".join(sorted({file.form.name for file in files if file.form is not None})) or "empty"
    print(
        f"{args.output}: {written.n_labels} {target.kind} of {written.n_recordings} recordings, {forms} to {args.to}; "
        f"read {sum(len(file.rows) for file in files)} rows, skipped {written.n_skipped} recordings"
        f"{' without labels, which the form has no row for' if written.n_skipped else ''}"
    )
    return 0


def _labels(files: list[LabelFile], kind: str) -> dict[str, tuple[Event, ...]] | dict[str, tuple[str, ...]]:
    """Return events or tags by file name; events can become tags, tags cannot become events."""
    from crnn_weak.errors import DataError
    from crnn_weak.labels.files import events_of, file_names, tags_of

    names: dict[str, str] = {}
    labels: dict[str, tuple[Event, ...]] | dict[str, tuple[str, ...]] = {}
    for file in files:
        if kind == "events" and file.kind in ("tags", "unclear"):
            raise DataError(
                f"{file.path}: holds tags, or times that may be places in other recordings; the form asked for needs "
                "onsets and offsets. Give --input-format where the file holds events."
            )
        found = events_of(file) if kind == "events" else tags_of(file)
        for identifier, name in file_names(file).items():
            if identifier in names:
                raise DataError(f"{file.path}: {name!r} is in another file of the folder as {names[identifier]!r}.")
            names[identifier] = name
            labels[name] = found[identifier]  # type: ignore[assignment]
    return labels
