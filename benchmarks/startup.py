"""Start-up: `crnn-weak --help` against the bare interpreter, and the time to Keras and to the first batch.

python benchmarks/startup.py
"""

from __future__ import annotations

import subprocess
import sys

from common import REPOSITORY, alternate, parse, report

_BUILD = "from crnn_weak.model.crnn import build_model; build_model('paper')"
_FIRST_BATCH = """
import numpy as np
from crnn_weak.model.crnn import build_model
from crnn_weak.model.losses import compile_model
from crnn_weak.config import LossWeights
model = build_model("{preset}")
compile_model(model, LossWeights())
n_frames = model.input.shape[1]
targets = {{"strong": np.zeros((16, n_frames, 17), "float32"), "weak": np.zeros((16, 17), "float32")}}
model.fit(np.zeros((16, n_frames, 40), "float32"), targets, batch_size=16, verbose=0)
"""
_CALLS = {
    "python": ["-c", "pass"],
    "import crnn_weak": ["-c", "import crnn_weak"],
    "--help": ["-m", "crnn_weak", "--help"],
    "grid --help": ["-m", "crnn_weak", "grid", "--help"],
    "import tensorflow": ["-c", "import os; os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'; import tensorflow"],
    "build preset paper": ["-c", _BUILD],
    "first batch trained, preset quick": ["-c", _FIRST_BATCH.format(preset="quick")],
    "first batch trained, preset paper": ["-c", _FIRST_BATCH.format(preset="paper")],
}


def _call(arguments: list[str]) -> None:
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True, cwd=REPOSITORY)


def main() -> None:
    args = parse(__doc__, {"rounds": 5})
    rivals = {name: lambda arguments=arguments: _call(arguments) for name, arguments in _CALLS.items()}
    timings = alternate(rivals, rounds=args.rounds)
    report("startup", timings, packages=["tensorflow", "tensorflow-cpu", "keras"], goal="--help under 0.3 s")


if __name__ == "__main__":
    main()
