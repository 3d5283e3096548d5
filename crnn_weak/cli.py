"""The command line: ``crnn-weak COMMAND ...``, the same as ``python -m crnn_weak COMMAND ...``.

A command is a module of `crnn_weak.commands` with ``add_arguments(parser)`` and ``run(args) -> int``; only the one
that is called is imported. This module needs the standard library alone, so that a missing package is one line.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import errno
import importlib
import io
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TextIO

from crnn_weak.errors import ConfigError, CrnnWeakError, LogFormatter, prepare_messages, visible

if TYPE_CHECKING:
    from crnn_weak.config import Config

#: command -> one line of help; the module is ``crnn_weak.commands.<command>``.
COMMANDS: dict[str, str] = {
    "data": "make and check clips and labels",
    "features": "compute HDF5 feature stores",
    "train": "train one model",
    "evaluate": "score event lists, tags or a run; baselines",
    "grid": "the paper's table: seven loss weights (crnn_weak.experiments.loss_weight_grid)",
    "beyond": "compare runs of a declared design (crnn_weak.experiments.beyond)",
    "tune": "choose thresholds on the validation clips of a run",
    "convert": "convert label files between formats",
    "detect": "onsets and offsets for any recording",
    "saliency": "gradients of the outputs as maps (crnn_weak.experiments.saliency_maps)",
    "report": "one HTML page for a run or a grid",
    "demo": "detect the events of the bundled recording, show them with the true ones",
    "export": "a model as SavedModel, ONNX or LiteRT (tflite)",
    "doctor": "versions, backend, devices and disk of this installation",
}
#: import name -> name on PyPI, where they differ
_DISTRIBUTIONS = {
    "sklearn": "scikit-learn", "jinja2": "Jinja2", "tomli_w": "tomli-w", "PIL": "Pillow",
    "pkg_resources": "'setuptools<82'",  # of sed_eval
}  # fmt: skip
_GRACE_SECONDS = 5
_FULL_DISK = " Free some space, then rerun the same command; finished work is kept."
_REFUSED = " Change the permissions, or choose another place."
_ADVICE: dict[int | None, str] = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), _FULL_DISK),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), _REFUSED),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, 2 for a user's error, 1 for partial failure."""
    _prepare_streams()
    prepare_messages()
    os.environ["MPLBACKEND"] = "agg"  # no command opens a window; an unknown one would be an error
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = next((argument for argument in arguments if argument in COMMANDS), None)
    code = run_guarded(f"crnn-weak {command or ''}".rstrip(), lambda: _run(command, arguments))
    if argv is None and code in (128 + signal.SIGINT, 128 + signal.SIGTERM):
        atexit._run_exitfuncs()  # for semaphores and temporary folders
        os._exit(code)  # Python's own end, with TensorFlow loaded, takes seconds
    return code


def _run(command: str | None, arguments: Sequence[str]) -> int:
    from crnn_weak.environment import prepare_caches

    prepare_caches()
    parser = _Parser(
        prog="crnn-weak",
        description="Sound event detection from weak labels: a CRNN with a strong and a weak output.",
        epilog="example: crnn-weak grid --set training.epochs=3",
    )
    parser.add_argument("--version", action="store_true", help="print the versions of crnn-weak, Keras and its backend")
    parser.add_argument("-v", "--verbose", action="store_true", help="log more")
    parser.add_argument("-q", "--quiet", action="store_true", help="log warnings only, show no progress")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, line in COMMANDS.items():
        layout = argparse.RawDescriptionHelpFormatter
        subparser = subparsers.add_parser(name, help=line, description=line, formatter_class=layout)
        if name == command:  # the others are not imported
            importlib.import_module(f"crnn_weak.commands.{name}").add_arguments(subparser)
    args = parser.parse_args(arguments)
    if args.version:
        print(version_line())
        return 0
    if args.command is None:
        parser.print_help()
        return 2
    for before, argument in pairwise(["", *arguments]):
        if not argument or (argument.startswith("--") and argument.find("=") == len(argument) - 1):
            raise ConfigError(f"an empty argument after {argument.rstrip('=') or before}: give a value, or omit it.")
    logger = logging.getLogger("crnn_weak")  # this package's own lines, not those of every library
    logger.setLevel(logging.DEBUG if args.verbose else logging.WARNING if args.quiet else logging.INFO)
    logger.handlers = [logging.StreamHandler()]
    logger.handlers[0].setFormatter(LogFormatter())
    return int(importlib.import_module(f"crnn_weak.commands.{args.command}").run(args) or 0)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        super().error(visible(message))


def say(*lines: object, file: TextIO | None = None, out: str | Path | None = None) -> None:
    """Print lines that hold names from outside, without control characters.

    About an output `out` that is a stream, perhaps standard output itself, they go to standard error.
    """
    if out is not None:
        from crnn_weak.files import is_stream

        file = sys.stderr if is_stream(out) else file
    for line in lines:
        print(visible(line), file=file)


def version_line() -> str:
    """Return one line: the package's version, Keras' and the backend's."""
    from crnn_weak import __version__
    from crnn_weak.environment import backend_name, installed_version

    backend = backend_name()
    keras = installed_version("keras") or "(not installed)"
    of_backend = installed_version(backend, f"{backend}-cpu") or "(not installed)"
    return f"crnn-weak {__version__}, Keras {keras}, backend {backend} {of_backend}"


def run_guarded(prog: str, call: Callable[[], int | None]) -> int:
    """Run `call()` and return its exit code; print an error that the user can correct as one line.

    Such an error (a user's, the disk's, a missing package) is 2, an interrupt 130, SIGTERM 143, and 141 means that the
    reader of standard output has ended (``| head``). Otherwise the result of `call` is returned, 0 for None.
    """
    with _end_at_signals(prog) as received:
        try:
            code, message = _outcome(call)
        except BaseException:
            if not received:
                raise
            code, message = 1, ""
    if received and code:  # whatever a library made of the signal's exception
        code, message = 128 + received[0], _interrupted(received[0])
    if message:
        print(f"{prog}: {message}", file=sys.stderr)
    return code


def _outcome(call: Callable[[], int | None]) -> tuple[int, str]:
    """Return the exit code of `call()`, and its error in one line."""
    try:
        try:
            code = int(call() or 0)
        except SystemExit as end:  # --help, a usage error that argparse has printed, or a signal
            code = int(end.code or 0)
        sys.stdout.flush()  # here, not at the interpreter's end, where an error would be a traceback
        return code, ""
    except CrnnWeakError as error:
        message = str(error)
    except ImportError as error:
        module = (error.name or "").partition(".")[0]
        if module == "crnn_weak":
            raise
        package = _DISTRIBUTIONS.get(module, module)
        what, install = f"the package {package}" if module else "a package", package or "-r requirements.txt"
        message = f"{what} cannot be imported ({error}). pip install --force-reinstall {install}"
        if isinstance(error, ModuleNotFoundError):
            message = f"{what} is not installed. pip install {install}"
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141, ""
    except OSError as error:
        place = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        message = f"{place}{error.strerror or error}.{_ADVICE.get(error.errno, '')}"
    except KeyboardInterrupt:
        return 128 + signal.SIGINT, _interrupted(signal.SIGINT)
    return 2, f"error: {visible(' '.join(message.split()))}"


def _interrupted(number: int) -> str:
    word = "terminated" if number == signal.SIGTERM else "interrupted"
    return f"{word}. Rerun the same command to resume."


@contextlib.contextmanager
def _end_at_signals(prog: str) -> Iterator[list[int]]:
    """Raise SystemExit at SIGINT and SIGTERM, which the list gets; it ends in seconds, or with a library's call.

    Workers end with their parent. Signals that the caller ignores, or handles, stay the caller's.
    """
    received: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    handled = [number for number in before if before[number] in (signal.SIG_DFL, signal.default_int_handler)]
    if threading.current_thread() is not threading.main_thread():
        handled = []

    def end(number: int, frame: object) -> None:
        if received:  # once more, or not ended in time
            os.write(2, f"{prog}: {_interrupted(received[0])}\n".encode())
            os._exit(128 + received[0])
        received.append(number)
        if hasattr(signal, "alarm"):
            signal.signal(signal.SIGALRM, end)
            signal.alarm(_GRACE_SECONDS)
        raise SystemExit(128 + number)

    for number in handled:
        signal.signal(number, end)
    try:
        yield received
    finally:
        if received and hasattr(signal, "alarm"):
            signal.alarm(0)
        for number in handled:
            signal.signal(number, before[number])


def _prepare_streams() -> None:
    """Open standard streams that the caller has closed, and let them print any label, whatever the encoding.

    Otherwise the next file opened would become a standard stream and get its messages.
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


#: option -> the setting that it sets, its value and help
_SHORT_FORMS = {
    "--data": ("data.source", "SOURCE", ""),
    "--audio": ("data.root", "FOLDER", "the recordings"),
    "--metadata": ("data.metadata", "PATH", "label files or tag file"),
    "--events": ("data.events", "PATH", "event file (folder)"),
    "--input-format": ("data.input_format", "NAME", "format of these label files (folder)"),
    "--label-column": ("data.label_column", "NAME", "column of the labels in the tag file (folder)"),
    "--head": ("model.weak_head", "NAME", "weak head, e.g. max_dense"),
}


def add_config(parser: argparse.ArgumentParser, *, preset: str = "paper", settings: Sequence[str] = ()) -> None:
    """Add --preset, --config, --set, --data and the short forms of the settings that are asked for most.

    Without preset, file and data, the configuration is `preset` with `settings` (as for --set).
    """
    from crnn_weak.config import DATA_SETTINGS, PRESETS

    group = parser.add_argument_group("configuration")
    default = " ".join([preset, *settings])
    group.add_argument("--preset", metavar="NAME", help=f"{', '.join(PRESETS)} (default: {default})")
    group.add_argument("--config", metavar="FILE", help="TOML file of settings")
    group.add_argument(
        "--set", action="append", default=[], metavar="SECTION.NAME=VALUE",
        help="one setting, e.g. training.epochs=3; repeatable; the page Settings lists all",
    )  # fmt: skip
    for option, (setting, metavar, text) in _SHORT_FORMS.items():
        text = text or ", ".join(DATA_SETTINGS)
        group.add_argument(option, metavar=metavar, help=f"{text}: --set {setting}={metavar}")
    group.add_argument("--print-config", action="store_true", help="print the whole configuration as TOML and exit")
    parser.set_defaults(default_preset=preset, default_settings=settings)


def add_work(parser: argparse.ArgumentParser) -> None:
    """Add --jobs and --cache."""
    from crnn_weak.parallel import default_jobs

    group = parser.add_argument_group("work")
    group.add_argument("--jobs", type=_jobs, default=default_jobs(), metavar="N", help="processes (default: all CPUs)")
    group.add_argument("--cache", metavar="FOLDER", help="synthetic clips and feature stores (default: cache)")


def _jobs(text: str) -> int:
    if text.isdigit() and int(text) >= 1:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r}: expected an integer of 1 or more")


def loss_weights(text: str) -> tuple[float, float]:
    """Return the strong and the weak weight of an argument ``STRONG:WEAK``, or of the name of a run folder."""
    try:
        strong, weak = (float(part) for part in text.replace("_", ":").split(":"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: expected STRONG:WEAK, e.g. 1:0.02") from None
    return strong, weak


def read_config(args: argparse.Namespace) -> Config:
    """Return the configuration: preset, then file, then options, then --set; print it and exit where asked."""
    from crnn_weak import config as configuration

    config = configuration.preset(args.preset or args.default_preset)
    asks_for_data = args.data or any(text.startswith("data.source") for text in args.set)
    if not (args.preset or args.config or asks_for_data):
        config = configuration.apply_overrides(config, args.default_settings)
    if args.config:
        config = configuration.load_config(args.config, config)
    if args.preset and config.preset != args.preset:
        raise ConfigError(f"--preset {args.preset}: {args.config} names preset {config.preset!r}. Omit one of them.")
    given: dict[str, dict[str, str]] = {"data": {}, "model": {}}
    for option, (setting, _, _) in _SHORT_FORMS.items():
        value = getattr(args, option.strip("-").replace("-", "_"))
        if value is not None:
            section, name = setting.split(".")
            given[section][name] = value
    config = configuration.apply_overrides(configuration.from_dict(given, config), args.set)
    if args.print_config:
        print(configuration.to_toml(config), end="")
        raise SystemExit(0)
    return config


def cache_folder(args: argparse.Namespace) -> Path:
    """Return the folder of synthetic clips and feature stores: --cache, CRNN_WEAK_CACHE, or ``cache``."""
    from crnn_weak.run_files import default_cache

    return Path(args.cache or default_cache())


def shows_progress(args: argparse.Namespace) -> bool:
    """Return whether to show bars: on a terminal, unless --quiet."""
    return sys.stderr.isatty() and not args.quiet
