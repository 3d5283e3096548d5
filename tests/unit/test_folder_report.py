"""The page over a folder of recordings: right numbers, right links, no markup from names."""

import base64
import io
import json
import re
from urllib.parse import unquote

import numpy as np
import pytest

from crnn_weak.labels.events import Event
from crnn_weak.report.folder import RecordingResult, ScoreStrip, write_folder_report

CLASSES = ("bell", "drill", "rain")


def write(tmp_path, results, classes=CLASSES):
    path = write_folder_report(results, tmp_path / "page.html", classes=classes)
    text = path.read_text(encoding="utf-8")
    content = re.search(r'<script type="application/json" id="content">(.*?)</script>', text, re.DOTALL).group(1)
    return text, json.loads(content)


def hours_of(text):
    """Return the head and the rows of the table of classes, as texts."""
    table = re.search(r'<table class="hours">(.*?)</table>', text, re.DOTALL).group(1)
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in table.split("<tr>")[1:]]
    return [[re.sub(r"<[^>]+>", "", cell) for cell in row] for row in rows]


def test_events_are_whole_numbers_of_hundredths_and_percent(tmp_path):
    events = [Event(0.5, 1.25, "drill", 0.876), Event(2.0, 2.0, "bell")]
    _, content = write(tmp_path, [RecordingResult(tmp_path / "a.wav", events, 10.0)])
    (record,) = content["recordings"]
    assert record["events"] == [50, 75, 1, 88, 200, 0, 0, -1]
    assert record["length"] == 1000
    assert [entry["name"] for entry in content["classes"]] == list(CLASSES)


@pytest.mark.parametrize("name", ["a b#c?.wav", "sub/ä%20.wav", "javascript:alert(1).wav"])
def test_links_are_relative_and_lead_to_the_recording(tmp_path, name):
    path = tmp_path / "recordings" / name
    _, content = write(tmp_path, [RecordingResult(path, [], 1.0, name=name)])
    link = content["recordings"][0]["link"]
    assert unquote(link) == f"recordings/{name}"
    assert re.fullmatch(r"[A-Za-z0-9/._~%-]+", link)  # no colon: never a scheme of its own


def test_names_are_text_and_never_markup(tmp_path):
    evil = "</script><script>alert(1)</script>\x1b[31m\n\u2028"
    classes = (evil, *CLASSES[1:])
    result = RecordingResult(None, [Event(0, 1, evil)], 2.0, name=evil, error=evil)
    text, content = write(tmp_path, [result, result._replace(error="")], classes)
    assert len(re.findall(r"<script[ >]", text)) == 2  # the data and the page's own
    assert "\x1b" not in text
    assert content["recordings"][0]["name"] == "</script><script>alert(1)</script>\\x1b[31m\\n\\u2028"
    assert "default-src 'none'" in text.replace("&#39;", "'")


def test_a_name_that_is_not_utf8_is_written(tmp_path):
    name = b"caf\xe9.wav".decode("utf-8", "surrogateescape")
    _, content = write(tmp_path, [RecordingResult(tmp_path / name, [], 1.0)])
    assert content["recordings"][0]["name"] == "caf\ufffd.wav"
    assert content["recordings"][0]["link"] == "caf%E9.wav"


def test_hours_of_the_day_from_file_names(tmp_path):
    # 06:30 to 07:30: the first event lies half in each hour.
    first = RecordingResult("r_20240501_063000.wav", [Event(1620, 1980, "rain")], 3600.0)
    second = RecordingResult("r_20240502_070000.wav", [Event(0, 60, "bell")], 1800.0)
    head, rain, bell = hours_of(write(tmp_path, [first, second])[0])
    assert head == ["class", "events", "minutes", "recordings", "06", "07"]
    assert rain == ["rain", "1", "6.0", "1", "10", "5"]  # 180 of 1,800 s, and 180 of 3,600 s
    assert bell == ["bell", "1", "1.0", "1", "", "2"]


def test_hours_of_a_recording_where_names_say_no_time(tmp_path):
    events = [Event(0, 36, "bell"), Event(3600, 3600 + 72, "bell")]
    head, bell = hours_of(write(tmp_path, [RecordingResult("a.wav", events, 7200.0)])[0])
    assert head[4:] == ["1", "2"]
    assert bell == ["bell", "2", "1.8", "1", "1", "2"]


def test_short_recordings_have_no_hours(tmp_path):
    head, bell = hours_of(write(tmp_path, [RecordingResult("a.wav", [Event(0, 3, "bell")], 10.0)])[0])
    assert head == ["class", "events", "minutes", "recordings"]
    assert bell == ["bell", "1", "0.1", "1"]


def test_a_failed_recording_says_why_and_counts_no_sound(tmp_path):
    text, content = write(tmp_path, [RecordingResult("a.wav", [], 0.0, error="a.wav: not audio")])
    assert content["recordings"][0]["error"] == "a.wav: not audio"
    assert "1 failed" in text


def test_no_recordings_give_a_page(tmp_path):
    assert write(tmp_path, [])[1]["recordings"] == []


def test_pictures_hold_the_highest_scores_of_the_classes_found(tmp_path):
    from PIL import Image

    scores = np.zeros((1000, 3))
    scores[501, 1] = 1.0
    scores[:, 2] = 0.4
    _, content = write(tmp_path, [RecordingResult("a.wav", [Event(50, 51, "drill")], 100.0, scores)])
    record = content["recordings"][0]
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(record["picture"]))))
    assert record["rows"] == [1]
    assert pixels.shape == (1, 300)
    assert np.flatnonzero(pixels[0]).tolist() == [150]  # frame 501 of 1,000 in 300 columns
    assert pixels.max() == 255


def test_the_same_results_give_the_same_bytes(tmp_path):
    results = [RecordingResult("a.wav", [Event(0, 1, "bell", 0.5)], 9.0, np.random.default_rng(0).random((500, 3)))]
    first = write_folder_report(iter(results), tmp_path / "1.html", classes=CLASSES).read_bytes()
    assert write_folder_report(iter(results), tmp_path / "2.html", classes=CLASSES).read_bytes() == first


@pytest.mark.parametrize("n_frames", [1, 299, 1199, 1200, 1201, 10_007])
def test_a_strip_keeps_every_maximum_in_bounded_space(n_frames):
    rng = np.random.default_rng(n_frames)
    scores = rng.random((n_frames, 2))
    strip, start = ScoreStrip(), 0
    while start < n_frames:
        step = int(rng.integers(1, 700))
        strip.push(scores[start : start + step])
        start += step
    found = strip.columns
    assert len(found) < 1201
    width = 1
    while -(-n_frames // width) > len(found):
        width *= 2
    edges = np.arange(0, n_frames, width)
    np.testing.assert_array_equal(found, np.maximum.reduceat(scores, edges, axis=0))
