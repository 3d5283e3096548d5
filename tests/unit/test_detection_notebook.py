"""Detections and scores show themselves in a notebook."""

import base64
import io
import re

import numpy as np
import soundfile
from detection_fakes import RATE, bursts, detector

from crnn_weak.detection.recordings import Recording
from crnn_weak.detection.scores import Scores


def shown(*recordings):
    return [detection._repr_html_() for detection in detector().detect_many(recordings)]


def test_a_detection_is_player_picture_and_table(tmp_path):
    audio = bursts(8.0)
    path = tmp_path / "street.wav"
    soundfile.write(path, audio, RATE)
    events = detector().detect(path)
    for text in shown(Recording.of(path), Recording("array", (audio, RATE))):
        data = re.search('src="data:audio/wav;base64,([^"]+)"', text)[1]
        sound, rate = soundfile.read(io.BytesIO(base64.b64decode(data)))
        assert rate == RATE
        np.testing.assert_allclose(sound, audio, atol=1e-3)
        assert text.count("<rect") == len(events)
        assert text.count("<tr>") == len(events) + 1


def test_a_failed_or_long_recording_has_no_player(tmp_path):
    (tmp_path / "<b>.wav").write_text("no")
    failed, long = shown(Recording.of(tmp_path / "<b>.wav"), Recording("long", (np.zeros(2_500_000), RATE)))
    assert "<b>" not in failed
    assert "&lt;b&gt;" in failed
    assert "<audio" not in long


def test_scores_are_a_table_of_clip_scores():
    strong, weak = np.zeros((30, 4, 2), np.float32), np.full((30, 2), 0.25, np.float32)
    text = Scores(tuple(f"<{clip}>" for clip in range(30)), ("<car>", "bus"), 0.1, strong, weak)._repr_html_()
    assert "<car>" not in text
    assert text.count("<td>0.25</td>") == 40
    assert "first 20" in text
