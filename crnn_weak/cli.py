"""The command line: ``crnn-weak COMMAND ...``, the same as ``python -m crnn_weak COMMAND ...``.

Each command is a module in `crnn_weak.commands` with two functions, ``add_arguments(parser)`` and
``run(args) -> int``; only the module of the command that is called gets imported, so ``--help`` costs no TensorFlow.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
from collections.abc import Callable, Sequence

from crnn_weak.errors import CrnnWeakError
from crnn_weak.escape import visible

__all__ = ["COMMANDS", "main"]

#: command -> one line of help; the module is ``crnn_weak.commands.<command>``.
COMMANDS: dict[str, str] = {
    "data": "make, read and check clips and labels",
    "features": "compute and verify HDF5 feature stores",
    "train": "train one model",
    "evaluate": "score event lists, tags or a run; baselines",
    "grid": "the paper's table: seven loss weights (crnn_weak.experiments.loss_weight_grid)",
    "tune": "choose thresholds on the validation clips of a run",
    "convert": "label files from any form into any other",
    "detect": "onsets and offsets for any recording",
    "saliency": "what the outputs listened to (crnn_weak.experiments.saliency_maps)",
    "report": "one HTML page for a run or a grid",
}


def _parser(command: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="crnn-weak",
        description="Sound event detection from weak labels: a CRNN with a strong and a weak output.",
        epilog="example: crnn-weak grid --set training.epochs=3",
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    parser.add_argument("-v", "--verbose", action="store_true", help="log more")
    parser.add_argument("-q", "--quiet", action="store_true", help="log warnings only, show no progress")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, line in COMMANDS.items():
        subparser = subparsers.add_parser(
            name, help=line, description=line, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        if name == command:
            importlib.import_module(f"crnn_weak.commands.{name}").add_arguments(subparser)
    return parser


class _StderrHandler(logging.Handler):
    """Writes to what ``sys.stderr`` is at the time, not to what it was when the handler was made."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr)


def _log_to_stderr(level: int) -> None:
    """Show this package's own log lines, not those of every library."""
    logger = logging.getLogger("crnn_weak")
    logger.setLevel(level)
    if not any(isinstance(handler, _StderrHandler) for handler in logger.handlers):
        logger.addHandler(_StderrHandler())


def run_guarded(prog: str, call: Callable[[], int | None]) -> int:
    """Run `call()`; print a user's error as one line and return 2, 130 for an interrupt."""
    try:
        return int(call() or 0)
    except CrnnWeakError as error:
        print(f"{prog}: error: {visible(' '.join(str(error).split()))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{prog}: interrupted; start the same command again to go on.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, 2 for a user's error, 1 for partial failure."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = next((argument for argument in arguments if argument in COMMANDS), None)
    parser = _parser(command)
    args = parser.parse_args(arguments)
    if args.version:
        from crnn_weak import __version__

        print(f"crnn-weak {__version__}")
        return 0
    if args.command is None:
        parser.print_help()
        return 2
    _log_to_stderr(logging.DEBUG if args.verbose else logging.WARNING if args.quiet else logging.INFO)
    module = importlib.import_module(f"crnn_weak.commands.{args.command}")
    return run_guarded(f"crnn-weak {args.command}", lambda: module.run(args))
