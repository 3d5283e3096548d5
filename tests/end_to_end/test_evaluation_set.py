"""DCASE 2017 task 4 with its evaluation set: the challenge columns are computed, and without audio they stay empty."""

import dataclasses

import numpy as np
import pytest
from helpers import TINY, small_config

from crnn_weak.audio import write_audio
from crnn_weak.config import Task4Data
from crnn_weak.experiments.loss_weight_grid import run_grid
from crnn_weak.labels.events import Event
from crnn_weak.labels.writing import write_strong_tsv, write_weak_tsv
from crnn_weak.runs.folders import Grid, open_grid

N_CLIPS = {"training": 12, "testing": 4, "evaluation": 5}


def write_task(folder, *, with_evaluation_audio):
    """Write label files in the organizers' layout, and noise for audio."""
    metadata, audio = folder / "metadata", folder / "audio"
    rng = np.random.default_rng(0)
    for word, n_clips in N_CLIPS.items():
        place = metadata / "groundtruth_release" if word == "evaluation" else metadata
        labels = {f"{word}-{index:04d}_0.000_10.000": ("Car", "Bus")[index % 2] for index in range(n_clips)}
        tags = {name: (label,) for name, label in labels.items()}
        write_weak_tsv(place / f"groundtruth_weak_label_{word}_set.csv", tags)
        if word != "training":
            events = {name: (Event(0.5, 1.5, label),) for name, label in labels.items()}
            write_strong_tsv(place / f"groundtruth_strong_label_{word}_set.csv", events)
        if word != "evaluation" or with_evaluation_audio:
            for name in labels:
                noise = rng.normal(0, 0.1, round(TINY.clip_seconds * TINY.sample_rate_hz)).astype(np.float32)
                write_audio(audio / f"Y{name}.wav", noise, TINY.sample_rate_hz)
    return Task4Data(metadata=str(metadata), root=str(audio))


@pytest.mark.slow
@pytest.mark.parametrize("is_there", [True, False])
def test_challenge_columns_are_scored_on_the_evaluation_set_where_it_is_there(tmp_path, is_there):
    data = write_task(tmp_path, with_evaluation_audio=is_there)
    config = dataclasses.replace(small_config(epochs=1), data=data)
    table = run_grid(Grid(tmp_path / "run", config, ((0.2, 1.0),)), tmp_path / "cache")
    lines = {(line.output, line.metric): line for line in table.lines}
    assert lines["tagging", "f_score"].n_clips == N_CLIPS["testing"]
    assert (("evaluation_segment", "error_rate") in lines) == is_there
    if is_there:
        assert lines["evaluation_segment", "error_rate"].n_clips == N_CLIPS["evaluation"]
        assert "evaluation 5 of 5 clips" in table.caption
        metrics = open_grid(tmp_path / "run").run((0.2, 1.0)).metrics["evaluation"]
        assert metrics["segment"]["n_reference"] == 2 * N_CLIPS["evaluation"]  # 0.5 to 1.5 s touches two segments
