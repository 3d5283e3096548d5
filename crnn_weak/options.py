"""Options that several commands share: the configuration, the work folders, progress."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from crnn_weak import config as configuration
from crnn_weak.config import Config, apply_overrides, load_config
from crnn_weak.errors import ConfigError
from crnn_weak.parallel.local import default_jobs

__all__ = ["add_config", "add_work", "cache_folder", "loss_weights", "read_config", "shows_progress"]


def add_config(parser: argparse.ArgumentParser, *, preset: str | None = "paper", settings: Sequence[str] = ()) -> None:
    """Add --preset, --config, --set, --data and the short forms of the settings that are asked for most.

    Where neither preset, file nor data are given, the configuration is `preset` with `settings` (as for --set).
    """
    group = parser.add_argument_group("configuration")
    default = " ".join([str(preset), *settings])
    group.add_argument(
        "--preset", default=None, metavar="NAME", help=f"{', '.join(configuration.PRESETS)} (default: {default})"
    )
    group.add_argument("--config", metavar="FILE", help="TOML file of settings")
    group.add_argument(
        "--set", action="append", default=[], metavar="SECTION.NAME=VALUE", help="one setting, e.g. training.epochs=3"
    )
    group.add_argument("--data", metavar="SOURCE", help="street, scenes, dcase2017_task4 or folder")
    group.add_argument("--audio", metavar="FOLDER", help="the recordings: the same as --set data.root=FOLDER")
    group.add_argument("--metadata", metavar="PATH", help="label files or tag file: --set data.metadata=PATH")
    group.add_argument("--events", metavar="PATH", help="event file (folder): --set data.events=PATH")
    group.add_argument(
        "--input-format", metavar="NAME", help="format of these label files (folder): --set data.input_format=NAME"
    )
    group.add_argument("--head", metavar="NAME", help="weak head, e.g. max_dense: --set model.weak_head=NAME")
    group.add_argument("--print-config", action="store_true", help="print the whole configuration as TOML and exit")
    parser.set_defaults(default_preset=preset, default_settings=settings)


def add_work(parser: argparse.ArgumentParser) -> None:
    """Add --jobs and --cache."""
    group = parser.add_argument_group("work")
    group.add_argument("--jobs", type=_jobs, default=default_jobs(), metavar="N", help="processes (default: all CPUs)")
    group.add_argument("--cache", metavar="FOLDER", help="synthetic clips and feature stores (default: cache)")


def _jobs(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number of 1 or more")
    return int(text)


def loss_weights(text: str) -> tuple[float, float]:
    """Return the strong and the weak weight of an argument ``STRONG:WEAK``, or of the name of a run folder."""
    try:
        strong, weak = (float(part) for part in text.replace("_", ":").split(":"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: expected STRONG:WEAK, e.g. 1:0.02") from None
    return strong, weak


def read_config(args: argparse.Namespace) -> Config:
    """Return the configuration: preset, then file, then options, then --set; print it and exit where asked."""
    base = configuration.preset(args.preset or args.default_preset)
    asks_for_data = args.data or any(text.startswith("data.source") for text in args.set)
    if not (args.preset or args.config or asks_for_data):
        base = apply_overrides(base, args.default_settings)
    config = load_config(args.config, base) if args.config else base
    if args.preset and config.preset != args.preset:
        raise ConfigError(
            f"--preset {args.preset}: {args.config} names preset {config.preset!r}. Leave one of them out."
        )
    values = {
        "data": {
            "source": args.data,
            "root": args.audio,
            "metadata": args.metadata,
            "events": args.events,
            "input_format": args.input_format,
        },
        "model": {"weak_head": args.head},
    }
    given = {
        section: {name: value for name, value in settings.items() if value is not None}
        for section, settings in values.items()
    }
    config = apply_overrides(configuration.from_dict(given, config), args.set)
    if args.print_config:
        print(configuration.to_toml(config), end="")
        raise SystemExit(0)
    return config


def cache_folder(args: argparse.Namespace) -> Path:
    """Return the folder of synthetic clips and feature stores: --cache, CRNN_WEAK_CACHE, or ``cache``."""
    path = Path(args.cache or os.environ.get("CRNN_WEAK_CACHE", "cache"))
    if path.exists() and not path.is_dir():
        raise ConfigError(f"{path}: expected a folder for made clips and feature stores. Choose another with --cache.")
    return path


def shows_progress(args: argparse.Namespace) -> bool:
    """Return whether to show bars: on a terminal, unless --quiet."""
    return sys.stderr.isatty() and not getattr(args, "quiet", False)
