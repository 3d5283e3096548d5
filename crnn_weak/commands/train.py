"""``crnn-weak train``: one model, from clips to scores."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
from pathlib import Path

from tqdm import tqdm

from crnn_weak import cli
from crnn_weak.config import Config
from crnn_weak.errors import ConfigError

_SHORT = {
    "loss_weights.strong": "WEIGHT", "loss_weights.weak": "WEIGHT", "training.seed": "N", "training.epochs": "N",
    "training.layerwise_lr_decay": "SHARE",
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    cli.add_config(parser, preset="paper")
    cli.add_work(parser)
    group = parser.add_argument_group("training")
    for setting, metavar in _SHORT.items():
        option = "--" + setting.partition(".")[2].replace("_", "-")
        text = f"short for --set {setting}={metavar}"
        as_setting = f"{setting}={{}}".format
        group.add_argument(option, dest="set", action="append", type=as_setting, metavar=metavar, help=text)
    group.add_argument("--tensorboard", action="store_true", help="write TensorBoard logs into the run folder")
    group.add_argument("--overwrite", action="store_true", help="delete the run in the folder and start over")
    group.add_argument("--out", metavar="FOLDER", help="default: runs/train/SOURCE-PRESET-HEAD")
    group = parser.add_argument_group("fine-tuning")
    text = "start from everyday-cc, everyday, a run or a .keras file; output layers are copied if the classes agree"
    group.add_argument("--from", dest="initial_model", metavar="MODEL", help=text)
    group.add_argument("--own-features", action="store_true", help="take the features of the --from model")
    group.add_argument("--freeze", nargs="+", metavar="LAYER", help="layers that keep their weights, e.g. 'conv_*'")
    parser.epilog = "example: crnn-weak train --preset quick --data folder --audio clips --metadata tags.tsv"


def _config(args: argparse.Namespace) -> Config:
    """Return the configuration, its features checked against those of the model to start from."""
    if args.freeze:
        args.set.append(f"training.freeze={json.dumps(args.freeze)}")
    config = cli.read_config(args)
    if args.initial_model is None:
        if args.own_features:
            raise ConfigError("--own-features needs --from MODEL, the one whose features to take.")
        return config
    from crnn_weak.detection.detector import model_file
    from crnn_weak.model.archive import read_metadata
    from crnn_weak.training.fit import check_features

    args.initial_model = str(model_file(args.initial_model))
    own = read_metadata(args.initial_model).config.features
    if args.own_features:
        return dataclasses.replace(config, features=own)
    check_features(args.initial_model, own, config.features)
    return config


def run(args: argparse.Namespace) -> int:
    from crnn_weak.files import make_folder
    from crnn_weak.metrics.summary import tagging_hint
    from crnn_weak.parallel import Work
    from crnn_weak.run_files import read_history
    from crnn_weak.runs.folders import Run
    from crnn_weak.runs.train import prepare, scored_line, train_and_score

    config = _config(args)
    name = f"{config.data.source}-{config.preset}-{config.model.weak_head}"
    folder = make_folder(args.out or Path("runs") / "train" / name)
    progress = cli.shows_progress(args)
    data = prepare(config, cli.cache_folder(args), folder, Work(args.jobs, progress=progress))
    planned = Run(folder, config, data, folder, args.initial_model)
    planned.check_continues(overwrite=args.overwrite)
    n_shown = 0 if args.overwrite else len(read_history(planned.files.history).get("epoch", []))
    with tqdm(unit="batch", desc="training", disable=not progress) as bar:

        def show_epoch() -> None:
            """Show the losses of an epoch that has just ended: in the bar, or as a line."""
            nonlocal n_shown
            history = read_history(planned.files.history)
            n_epochs = len(history.get("epoch", []))
            if n_epochs == n_shown or args.quiet:
                return
            n_shown = n_epochs
            losses = f"loss {history['loss'][-1]:.4f}"
            if not math.isnan(history["val_loss"][-1]):
                losses += f", validation {history['val_loss'][-1]:.4f}"
            bar.set_postfix_str(losses)
            if not progress:
                seconds, left = history["seconds"][-1], config.training.epochs - n_epochs
                times = f"{seconds:.0f} s, at most {left * sum(history['seconds']) / n_epochs:.0f} s left"
                print(f"epoch {n_epochs} of {config.training.epochs}: {losses}, {times}", file=sys.stderr)

        def on_batch(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)
            if done % (total // config.training.epochs) == 1 % (total // config.training.epochs):
                show_epoch()  # of the epoch before this first batch

        metrics = train_and_score(planned, overwrite=args.overwrite, on_batch=on_batch, tensorboard=args.tensorboard)
        show_epoch()
    cli.say(f"{planned.files.best_model}, scored on {metrics['n_clips']} of {metrics['n_listed']} test clips")
    print(scored_line(planned, metrics))
    if hint := tagging_hint([metrics["tagging"]["f_score"]]):
        print(f"hint: {hint}")
    return 0
