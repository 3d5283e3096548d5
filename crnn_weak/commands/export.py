"""``crnn-weak export``: a model for use without this package: SavedModel, ONNX, LiteRT (tflite)."""

from __future__ import annotations

import argparse
from pathlib import Path

from crnn_weak import cli
from crnn_weak.errors import ConfigError, DataError

_FORMATS = ("saved_model", "onnx", "tflite")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", nargs="?", metavar="MODEL", help="run folder or model file (default: everyday-cc)")
    parser.add_argument("--format", choices=_FORMATS, default="saved_model", help="default: saved_model")
    parser.add_argument("--out", metavar="PATH", help="default: the model's name with the format's suffix")
    parser.add_argument("--overwrite", action="store_true", help="replace an exported model")
    parser.epilog = "example: crnn-weak export runs/train/street-quick-max_dense --format tflite"


def run(args: argparse.Namespace) -> int:
    from crnn_weak import __version__
    from crnn_weak.config import to_dict
    from crnn_weak.detection.detector import load, model_file
    from crnn_weak.environment import prepare_environment
    from crnn_weak.files import refuse_existing, refuse_stream, write_json

    prepare_environment()
    from crnn_weak.model.export import SUFFIXES, check_export, export_model

    source = model_file(args.model)
    suffix = SUFFIXES[args.format]
    name = source.resolve().parent.name if source.stem in ("best", "last") else source.stem  # the run's, or its own
    out = Path(args.out or f"{name}{suffix or '_saved_model'}")
    if suffix and out.suffix != suffix:
        raise ConfigError(f"--out {out}: expected a name that ends with {suffix}.")
    description = out.absolute().with_name(f"{out.absolute().name}.json")
    if out.is_dir() and not (out / "saved_model.pb").is_file():
        raise DataError(f"{out}: exists, a folder without saved_model.pb. Choose another --out.")
    refuse_stream(out, "a model")
    refuse_existing((out, description), overwrite=args.overwrite)
    check_export(args.format)
    detector = load(args.model)
    export_model(detector.model, detector.scaler, out, args.format)
    features = detector.features
    content = {
        "format": args.format,
        "crnn_weak": __version__,
        "input": {
            "name": "log_mel",
            "axes": ["window", "frame", "mel_band"],
            "shape": [1 if args.format == "tflite" else None, features.n_frames, features.n_mels],
            "dtype": "float32",
            "content": "natural logarithm of mel band energies, not standardized",
        },
        "outputs": {"strong": ["window", "frame", "class"], "weak": ["window", "class"]},
        "classes": list(detector.classes),
        "features": to_dict(features),
        "operating_point": detector.operating_point.to_dict(),
    }
    write_json(description, content)
    cli.say(f"{out}: input (windows, {features.n_frames} frames, {features.n_mels} mel bands)")
    cli.say(f"{description}: classes, features, thresholds")
    return 0
