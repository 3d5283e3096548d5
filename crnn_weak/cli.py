"""The command line: ``crnn-weak COMMAND ...``, the same as ``python -m crnn_weak COMMAND ...``.

Each command is a module in `crnn_weak.commands` with two functions, ``add_arguments(parser)`` and
``run(args) -> int``; only the module of the command that is called gets imported, so ``--help`` costs no TensorFlow.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import io
import logging
import os
import sys
from collections.abc import Callable, Collection, Sequence
from itertools import pairwise

from crnn_weak.errors import ConfigError, CrnnWeakError

__all__ = ["COMMANDS", "build_parser", "main"]

#: command -> one line of help; the module is ``crnn_weak.commands.<command>``.
COMMANDS: dict[str, str] = {
    "data": "make, read and check clips and labels",
    "features": "compute HDF5 feature stores and describe them",
    "train": "train one model",
    "evaluate": "score event lists, tags or a run; baselines",
    "grid": "the paper's table: seven loss weights (crnn_weak.experiments.loss_weight_grid)",
    "tune": "choose thresholds on the validation clips of a run",
    "convert": "label files from any form into any other",
    "detect": "onsets and offsets for any recording",
    "saliency": "gradients of the outputs as maps (crnn_weak.experiments.saliency_maps)",
    "report": "one HTML page for a run or a grid",
    "demo": "synthesize a street scene, detect its events, show both",
    "export": "a model as SavedModel, ONNX or LiteRT (tflite)",
    "doctor": "versions, devices, disk and optional extras of this installation",
    "completion": "a script that completes commands and options in a shell",
}


def build_parser(commands: Collection[str]) -> argparse.ArgumentParser:
    """Return the parser; only the named commands get their options, so that others need no import."""
    parser = argparse.ArgumentParser(
        prog="crnn-weak",
        description="Sound event detection from weak labels: a CRNN with a strong and a weak output.",
        epilog="example: crnn-weak grid --set training.epochs=3",
    )
    parser.add_argument("--version", action="store_true", help="print the versions of crnn-weak, Keras and its backend")
    parser.add_argument("-v", "--verbose", action="store_true", help="log more")
    parser.add_argument("-q", "--quiet", action="store_true", help="log warnings only, show no progress")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, line in COMMANDS.items():
        subparser = subparsers.add_parser(
            name, help=line, description=line, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        if name in commands:
            importlib.import_module(f"crnn_weak.commands.{name}").add_arguments(subparser)
    return parser


class _StderrHandler(logging.Handler):
    """Writes to what ``sys.stderr`` is at the time, not to what it was when the handler was made."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr)


def log_to_stderr(level: int) -> None:
    """Show this package's own log lines, not those of every library."""
    logger = logging.getLogger("crnn_weak")
    logger.setLevel(level)
    if not any(isinstance(handler, _StderrHandler) for handler in logger.handlers):
        logger.addHandler(_StderrHandler())


def _advice(error: OSError) -> str:
    """Return the message of an error of the operating system: the place, the reason, the way out."""
    place = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
    reason = f"{place}{error.strerror or error}."
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{reason} Free some space, then start the same command again; finished work is kept."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{reason} Change the permissions, or choose another place."
    return reason


def run_guarded(prog: str, call: Callable[[], int | None]) -> int:
    """Run `call()` and return its exit code; an error that the user can mend is printed as one line.

    Returns
    -------
    int
        2 for a user's error and for one of the disk, 130 for an interrupt, 141 where the reader of standard output has
        ended (``| head``); otherwise the result of `call`, 0 for None.
    """
    try:
        try:
            code = int(call() or 0)
        except SystemExit as end:  # --help, or a usage error that argparse has printed
            code = int(end.code or 0)
        sys.stdout.flush()  # here, not at the interpreter's end, where an error would be a traceback
        return code
    except CrnnWeakError as error:
        message = str(error)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        message = _advice(error)
    except KeyboardInterrupt:
        print(f"{prog}: interrupted; start the same command again to go on.", file=sys.stderr)
        return 130
    from crnn_weak.files import visible  # not at import: it costs the half of --help

    print(f"{prog}: error: {visible(' '.join(message.split()))}", file=sys.stderr)
    return 2


def _prepare_streams() -> None:
    """Open standard streams that the caller has closed, and let them print any label.

    Without the first, the next file opened would become a standard stream and get its messages; without the second, a
    label that the terminal's encoding lacks (cp1252 on Windows) would end the command.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, 2 for a user's error, 1 for partial failure."""
    _prepare_streams()
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = next((argument for argument in arguments if argument in COMMANDS), None)
    return run_guarded(f"crnn-weak {command or ''}".rstrip(), lambda: _run(command, arguments))


def _run(command: str | None, arguments: Sequence[str]) -> int:
    parser = build_parser([command] if command else [])
    args = parser.parse_args(arguments)
    if args.version:
        from crnn_weak.versions import version_line

        print(version_line())
        return 0
    if args.command is None:
        parser.print_help()
        return 2
    for before, argument in pairwise(["", *arguments]):
        if not argument or (argument.startswith("--") and argument.endswith("=") and argument.count("=") == 1):
            name = argument.rstrip("=") or before
            raise ConfigError(f"an empty argument{f' after {name}' if name else ''}: give a value, or leave it out.")
    log_to_stderr(logging.DEBUG if args.verbose else logging.WARNING if args.quiet else logging.INFO)
    module = importlib.import_module(f"crnn_weak.commands.{args.command}")
    return int(module.run(args) or 0)
