"""The guide docs/your-own-clips.md as a script: every command and all code of it, in its order, on real recordings."""

import csv
import json
import re
import shlex
import shutil
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
from conftest import REPOSITORY

from crnn_weak.cli import main

CLASSES = ("chainsaw", "clock_tick", "crying_baby", "dog", "rooster")
RATE = 16_000
# Fewer steps than the guide's, on fewer clips.
SHORT = "--set training.steps=300 --set training.epochs=6"


def read_rows(real_events, folds):
    with (real_events / "meta.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["role"] == "event" and row["category"] in CLASSES]
    return [row for row in rows if int(row["fold"]) in folds]


def events_of(row, begin=0.0):
    """Return the events of one of the real recordings, as tuples (onset, offset, label)."""
    parts = [part.split("-") for part in row["segments"].split(";")]
    return [(begin + float(onset), begin + float(offset), row["category"]) for onset, offset in parts]


def write_recording(path, rows, real_events, rng):
    """Write a minute of one class after the other over noise; return its events."""
    signal = rng.normal(0, 0.001, 60 * RATE).astype(np.float32)
    events = []
    for number, row in enumerate(rows):
        sound, _ = librosa.load(real_events / row["filename"], sr=RATE)
        first = 7 * number + 1
        signal[first * RATE : first * RATE + len(sound)] += 0.3 * sound / np.abs(sound).max()
        events += events_of(row, first)
    soundfile.write(path, signal, RATE)
    return events


def write_track(path, events):
    path.write_text("".join(f"{onset:.3f}\t{offset:.3f}\t{label}\n" for onset, offset, label in events))


@pytest.fixture
def workplace(tmp_path, monkeypatch, real_events):
    """Folders as the guide names them: clips with tags, new recordings, their true and their corrected tracks."""
    monkeypatch.chdir(tmp_path)
    folders = ("clips", "recordings", "new-recordings", "marked", "corrected")
    clips, recordings, new, marked, corrected = map(Path, folders)
    for folder in folders:
        Path(folder).mkdir()
    lines = ["filename\tevent_labels"]
    for number, row in enumerate(read_rows(real_events, (1, 2))):
        name = Path(row["filename"]).name
        shutil.copy(real_events / row["filename"], clips / name)
        shutil.copy(real_events / row["filename"], recordings / name)
        lines.append(f"{name}\t{row['category']}")
        if number % 2:
            write_track(corrected / f"{Path(name).stem}.txt", events_of(row))
    rng, others = np.random.default_rng(0), read_rows(real_events, (3,))
    for name in ("monday", "tuesday"):
        chosen = [others[index] for index in rng.choice(len(others), 8, replace=False)]
        write_track(marked / f"{name}.txt", write_recording(new / f"{name}.wav", chosen, real_events, rng))
    shutil.copy(marked / "monday.txt", corrected)
    shutil.copy(new / "monday.wav", recordings)
    Path("tags.tsv").write_text("\n".join(lines) + "\n")
    return tmp_path


def segment_f1(capsys, reference, estimated):
    capsys.readouterr()
    assert main(["evaluate", "--reference", str(reference), "--estimated", str(estimated), "--format", "json"]) == 0
    return json.loads(capsys.readouterr().out)["segment"]["f_score"]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_guide_from_tags_to_a_corrected_model(capsys, caplog, workplace):
    pytest.importorskip("pandas")
    text = (REPOSITORY / "docs" / "your-own-clips.md").read_text(encoding="utf-8")
    commands = []
    for language, block in re.findall(r"```(sh|python)\n(.*?)```", text, flags=re.DOTALL):
        if language == "python":
            exec(compile(block, "your-own-clips.md", "exec"), {})
            continue
        for line in block.splitlines():
            arguments = shlex.split(line + f" {SHORT}" * (" train " in line))
            assert arguments[0] == "crnn-weak"
            commands.append(arguments[1])
            assert main(arguments[1:]) == 0, (line, capsys.readouterr().err)
    assert commands[:7] == ["data", "train", "evaluate", "report", "tune", "detect", "evaluate"]
    assert {"tune", "detect", "train"} <= set(commands[7:])
    assert "<audio" in Path("runs/yard/report.html").read_text(encoding="utf-8")
    assert any(Path("review/snippets").glob("*.flac"))
    assert "trained with events of" in caplog.text
    assert segment_f1(capsys, "marked", "found/audacity") > 0.4
    assert main(["detect", "new-recordings", "--model", "runs/yard-2", "--out", "again", "--format", "audacity"]) == 0
    assert segment_f1(capsys, "marked/tuesday.txt", "again/audacity/tuesday.txt") > 0.4
