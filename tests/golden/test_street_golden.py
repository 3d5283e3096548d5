"""Street clips stay what they were: what changes the audio of a seed must change `VERSION`, and with it every set.

``python tests/golden/test_street_golden.py`` rewrites the file, after such a change.
"""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from crnn_weak.synthesis.scene import VERSION, draw_scene, render

GOLDEN = Path(__file__).parents[1] / "data" / "street_golden.json"
RATE = 16_000


def octave_levels(audio):
    """Return decibels in the octaves from 62.5 Hz to 8 kHz, of each half of the clip."""
    spectra = np.abs(np.fft.rfft(audio.reshape(2, -1).astype(float), axis=1)) ** 2
    hertz = np.fft.rfftfreq(audio.size // 2, 1 / RATE)
    bands = [(hertz >= low) & (hertz < 2 * low) for low in 62.5 * 2.0 ** np.arange(7)]
    return [[round(float(10 * np.log10(half[band].sum() + 1e-9)), 2) for band in bands] for half in spectra]


def describe():
    clips = []
    for split, index in itertools.product(("train", "test"), range(12)):
        scene = draw_scene(2017, split, index)
        events = [[event.onset, event.offset, event.label] for event in scene.events]
        audio = render(scene, RATE)
        assert (audio.dtype, audio.shape) == (np.float32, (160_000,))
        assert 1e-3 < np.abs(audio).max() <= 0.98
        clips.append([split, index, scene.clip_id, events, octave_levels(audio)])
    return {"version": VERSION, "clips": clips}


def test_clips_are_what_they_were():
    golden, now = json.loads(GOLDEN.read_text(encoding="utf-8")), describe()
    assert len({label for clip in golden["clips"] for _, _, label in clip[3]}) >= 12
    assert now["version"] == golden["version"], f"VERSION has changed: run python {__file__}"
    for (*drawn, levels), (*golden_drawn, golden_levels) in zip(now["clips"], golden["clips"], strict=True):
        assert drawn == golden_drawn, "the layout of a seed has changed: raise VERSION in scene.py"
        # Another processor rounds otherwise; a tenth of a decibel is far above that and far below any real change.
        assert np.array(levels) == pytest.approx(np.array(golden_levels), abs=0.1), f"{drawn[:2]}: raise VERSION"


if __name__ == "__main__":
    text = json.dumps(describe()).replace('["train"', '\n["train"').replace('["test"', '\n["test"')
    GOLDEN.write_text(text + "\n", encoding="utf-8")
    print(f"wrote {GOLDEN}")
