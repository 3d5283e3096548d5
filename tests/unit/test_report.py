"""The report: a page that is whole, self-contained and harmless, the choice of its clips, and the model card."""

import base64
import functools
import hashlib
import io
import json
import os
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from run_factory import NASTY, make_experiment

from crnn_weak.cli import main
from crnn_weak.detection.postprocessing import OperatingPoint, StoredPoint
from crnn_weak.errors import ClipError, RunError
from crnn_weak.metrics.summary import Counts
from crnn_weak.report.html import audio_uri
from crnn_weak.report.model_card import model_card
from crnn_weak.report.page import choose_clips, clip_f_scores, write_report
from crnn_weak.runs.folders import open_run


class Reader(HTMLParser):
    """Collect tags with their attributes; refuse what does not nest."""

    VOID = frozenset({"meta", "link", "img", "br"})

    def __init__(self, path):
        super().__init__()
        self.tags, self.open, self.parts = [], [], []
        self.feed(path.read_text(encoding="utf-8"))
        assert not self.open
        self.text = " ".join(" ".join(self.parts).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.parts.append(data)

    def all(self, name):
        return [attributes for tag, attributes in self.tags if tag == name]


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    return make_experiment(tmp_path_factory.mktemp("page"), classes=NASTY)


@pytest.fixture(scope="module")
def page(grid):
    return Reader(write_report(grid, n_clips=2, audio_folders=[grid.parent]))


def test_labels_are_text_references_have_their_ids_and_the_page_asks_for_nothing(grid, page):
    assert len(page.all("script")) == 1  # the page's own
    assert any("<script>alert(1)</script>" in text for text in page.parts)
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    (policy,) = (a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    script = re.search(r"<script>(.*?)</script>", (grid / "report.html").read_text(encoding="utf-8"), re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.group(1).encode()).digest()).decode()
    assert policy.startswith("default-src 'none'; ")
    assert f"script-src 'sha256-{digest}';" in policy
    for tag, attributes in page.tags:
        for name in {"src", "href", "data", "action", "poster", "srcset"} & attributes.keys():
            assert attributes[name].startswith(("data:", "#")), (tag, attributes[name][:80])
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {link["href"].removeprefix("#") for link in page.all("a")} <= set(ids)
    assert all(picture["alt"] for picture in page.all("img"))
    assert all(a.get("aria-label") for _, a in page.tags if a.get("role") == "region")


def test_the_page_holds_table_curves_classes_clips_and_facts(page):
    assert "38.8" in page.text  # the paper's detection F of 1:1
    assert "made for tests" in page.text
    assert "rank correlation" in page.text
    assert "11 of 12 listed clips used (1 unreadable)" in page.text
    assert "loss weights strong 1, weak 0.02" in page.text  # the best setting of the grid
    assert "epochs = 4" in page.text
    for caption in ("Both tasks over", "Losses on the validation clips", "Losses of the run", "F-score of each class"):
        assert caption in page.text
    assert {"best", "worst", "random"} <= set(re.findall(r"\b(best|worst|random)\b", page.text))
    assert len(page.all("article")) == len(page.all("audio"))


def test_sound_is_embedded_and_is_the_clip(grid, page):
    import soundfile

    addresses = [attributes["src"] for attributes in page.all("audio")]
    assert all(address.startswith("data:audio/mpeg;base64,") for address in addresses)
    audio, rate = soundfile.read(io.BytesIO(base64.b64decode(addresses[0].split(",", 1)[1])))
    assert (rate, len(audio)) == (8000, 16000)
    assert 0.1 < np.sqrt(np.mean(audio**2)) < 0.3
    path = next((grid.parent / "audio").iterdir())
    for rate, nearest in ((12_345, 16_000), (96_000, 48_000)):  # rates that MP3 lacks
        address = audio_uri(path, sample_rate_hz=rate, clip_seconds=2.0)
        assert soundfile.info(io.BytesIO(base64.b64decode(address.split(",", 1)[1]))).samplerate == nearest


@pytest.mark.parametrize(
    ("options", "missing", "note", "n_players"),
    [
        ({"sound": False}, None, "clips have no sound: the recording was not found", 0),
        ({"sound": False, "with_events": False}, None, "onsets and offsets of these clips are not known", 0),
        ({}, "test.h5", "No clip is shown: {path}/1_1/seed-0: the feature store of split 'test' is gone", 0),
        ({}, "experiment/1_1/seed-0/history.csv", "This run has no history of losses.", None),
    ],
)
def test_a_page_says_which_parts_are_missing(tmp_path, options, missing, note, n_players):
    path = make_experiment(tmp_path, settings=((1.0, 1.0),), n_clips=6, **options)
    if missing:
        (tmp_path / missing).unlink()
    page = Reader(write_report(path, n_clips=1, audio_folders=[tmp_path]))
    assert note.format(path=path) in page.text
    assert "39.7" in page.text  # the table is there: the paper's recall in tagging
    assert ("SED F" in page.text) == options.get("with_events", True) or "38.8" in page.text
    if n_players is not None:
        assert len(page.all("audio")) == n_players


def test_the_page_and_the_card_are_at_the_operating_point_of_evaluate(copy, grid, capsys):
    run = open_run(copy)
    data = json.loads((grid / "data.json").read_text())
    data |= {"test_store": os.path.relpath(grid.parent / "test.h5", copy)}
    (copy / "data.json").write_text(json.dumps(data))
    point = OperatingPoint.from_config(run.config.operating_point, run.classes).replace(thresholds=0.9)
    StoredPoint(operating_point=point, tuned={}).write(copy / "operating_point.json")
    tuned = open_run(copy)
    assert main(["evaluate", str(copy), "--format", "json"]) == 0
    scores = json.loads(capsys.readouterr().out)["segment"]
    assert tuned.results["segment"]["f_score"] == pytest.approx(scores["f_score"], abs=1e-12)
    assert tuned.results["segment"]["f_score"] != pytest.approx(run.metrics["segment"]["f_score"], abs=0.01)
    text = f"{100 * scores['f_score']:.1f}"
    assert f"| {text} |" in model_card(tuned)
    page = Reader(write_report(copy, n_clips=0, wanted=["clip-00001"]))
    assert text in page.text
    assert page.text.count("Operating point: threshold 0.9") == 1


def test_a_page_with_players_is_not_replaced_by_one_without(copy, grid, monkeypatch, capsys):
    data = json.loads((grid / "data.json").read_text())
    data["audio"] = {clip: os.path.relpath(path, copy) for clip, path in data["audio"].items()}
    data["test_store"] = os.path.relpath(grid.parent / "test.h5", copy)
    (copy / "data.json").write_text(json.dumps(data))
    monkeypatch.chdir(grid.parent)  # recordings below the current folder may be opened
    assert main(["report", str(copy)]) == 0
    before = (copy / "report.html").read_bytes()
    assert b"<audio" in before
    assert main(["report", str(copy), "--overwrite"]) == 0
    assert (copy / "report.html").read_bytes() == before  # the same report twice is the same page
    monkeypatch.chdir(copy)
    assert main(["report", str(copy)]) == 2
    assert f"add --audio {copy}" in capsys.readouterr().err
    assert (copy / "report.html").read_bytes() == before
    assert main(["report", str(copy), "--overwrite"]) == 0
    assert b"<audio" not in (copy / "report.html").read_bytes()


def test_the_command_writes_the_page_of_a_grid_or_of_a_run(grid, tmp_path, capsys):
    page = Reader(write_report(grid / "1_1" / "seed-0", out=tmp_path / "run.html", n_clips=0))
    assert "38.8" in page.text  # the published value
    assert (len(page.all("article")), len(page.all("img"))) == (0, 2)  # curves and classes
    target = tmp_path / "new" / "page.html"
    arguments = ["--out", str(target), "--clips", "0", "--clip=clip-00002", "--setting", "1:1"]
    assert main(["-q", "report", str(grid), *arguments]) == 0
    assert "open it in a browser" in capsys.readouterr().out
    assert len(Reader(target).all("article")) == 1
    with pytest.raises(ClipError, match="Did you mean 'clip-000"):
        write_report(grid, out=tmp_path / "p.html", wanted=["clip-0001"])
    assert not (tmp_path / "p.html").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["nothing"],
        ["{grid}", "--clips", "-1"],
        ["{grid}", "--clip=--jc0NAxK8M_30.000_40.000"],
        ["{grid}", "--setting", "7:1"],
        ["{grid}", "--model-card", "card.md"],
        ["{grid}", "--out", "tags.tsv"],
        ["{grid}", "--out", ""],
    ],
)
def test_bad_arguments_are_one_line_and_code_2(grid, tmp_path, monkeypatch, refused, arguments):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tags.tsv").write_text("a.wav\tdog\n")
    error = refused("-q", "report", *(text.format(grid=grid) for text in arguments))
    assert error.startswith("crnn-weak report: error: ")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["a.wav\tdog\n"]


@pytest.mark.parametrize("form", ["absolute", "relative", "link", "inside", "damaged"])
def test_only_recordings_in_the_named_folders_are_opened(grid, tmp_path, form):
    run = shutil.copytree(grid / "1_1" / "seed-0", tmp_path / "sent" / "run")  # with places that its sender chose
    data = json.loads((grid / "data.json").read_text())
    data["test_store"] = os.path.relpath(grid.parent / "test.h5", run)
    path, own = data["audio"]["clip-00000"], run / "own.wav"
    if form == "inside":
        shutil.copy(path, own)
    elif form == "link":
        own.symlink_to(path)
    elif form == "damaged":
        own.write_bytes(b"RIFF")
    place = {"absolute": path, "relative": os.path.relpath(path, run)}.get(form, own.name)
    (run / "data.json").write_text(json.dumps(data | {"audio": {"clip-00000": place}}))
    for folders, is_opened in (((), form in ("inside", "damaged")), ((grid.parent / "audio",), True)):
        page = Reader(write_report(run, n_clips=0, wanted=["clip-00000"], audio_folders=folders))
        assert len(page.all("audio")) == (is_opened and form != "damaged")
        assert ("outside the folders that may be opened" in page.text) != is_opened
        assert ("the recording is unreadable" in page.text) == (form == "damaged")


CLASSES = ("bell", "drill")
# Segments of each clip: true, estimated, correct; one column per class.
CLIPS = {
    "perfect": ((4, 0), (4, 0), (4, 0)),
    "half": ((2, 2), (2, 0), (2, 0)),
    "wrong": ((0, 4), (4, 0), (0, 0)),
    "wrong and little": ((0, 1), (0, 0), (0, 0)),
    "silent": ((0, 0), (0, 0), (0, 0)),
}
COUNTS = Counts(*(np.array(counts) for counts in zip(*CLIPS.values(), strict=True)))


def test_best_worst_and_each_class_after_the_wanted_clips():
    f_scores = clip_f_scores(COUNTS)
    assert f_scores[:4].tolist() == [1.0, 2 * 2 / (4 + 2), 0.0, 0.0]
    assert np.isnan(f_scores[4])  # nothing true, nothing found: no score, and never the best
    choose = functools.partial(choose_clips, COUNTS, list(CLIPS), CLASSES)
    chosen = choose(n_clips=1)
    assert "best" in chosen["perfect"]
    assert "worst" in chosen["wrong"]  # of the two with F 0 the one with more to find
    by_class = {reason: clip for clip, reasons in chosen.items() for reason in reasons if reason.startswith("class")}
    assert by_class["class: drill"] == "wrong"  # the middle of 0, 0 and 0, in the order of the list
    assert sum("random" in reasons for reasons in chosen.values()) == 1
    assert choose(n_clips=1) == chosen  # the same every time
    assert sorted(choose(n_clips=50)) == sorted(CLIPS)
    assert next(iter(choose(n_clips=1, wanted=["silent"]))) == "silent"
    assert choose(n_clips=0, wanted=["half"]) == {"half": ["chosen"]}


@pytest.fixture
def copy(grid, tmp_path):
    return shutil.copytree(grid / "1_0.02" / "seed-0", tmp_path / "copy")


def split(run):
    yaml = pytest.importorskip("yaml")
    _, head, body = model_card(run).split("---\n", 2)
    return yaml.safe_load(head), body


def test_the_card_has_yaml_with_metrics_then_facts_and_limits(copy):
    run = open_run(copy)
    head, body = split(run)
    assert head["license"] == "mit"
    assert "sound-event-detection" in head["tags"]
    tagging, detection = head["model-index"][0]["results"]
    for result, kind, value in ((tagging, "f1", "f_score"), (detection, "error_rate", "error_rate")):
        values = {metric["type"]: metric["value"] for metric in result["metrics"]}
        assert values[kind] == pytest.approx(run.metrics[result["task"]["name"]][value], abs=1e-4)
    for text in (
        "## Use", "## Model and training", "## Results", "## Limits", "## Citation", "synthetic sounds only",
        "operating point: threshold 0.5, tag threshold 0.5, at least one tag per clip",
        "loss weights: strong 1, weak 0.02", "bidirectional GRUs of 4, 4 units",
        "| &lt;script&gt;alert(1)&lt;/script&gt; |",  # labels are text
    ):  # fmt: skip
        assert text in body
    assert "<script>" not in body


def test_no_name_of_the_run_becomes_markup(copy):
    evil = "x` | <img src=a onerror=b> | `y\n| forged | 1 |\x1b[31m"
    metrics = json.loads((copy / "metrics.json").read_text()) | {"split": evil}
    (copy / "metrics.json").write_text(json.dumps(metrics))
    data = {"classes": ["a", "b", "c"], "provenance": evil, "coverage": {evil: {"n_clips": 1, "n_listed": 1}}}
    (copy / "data.json").write_text(json.dumps(data))
    (copy / "environment.json").write_text(json.dumps({"packages": {evil: evil}}))
    card = model_card(open_run(copy))
    assert not any(text in card for text in ("<", "\x1b", "\n| forged"))
    assert "\\`" in card
    table = [line for line in card.splitlines() if line.startswith(("| class", "| a "))]
    head, row = (len(re.findall(r"(?<!\\)\|", line)) for line in table)
    assert head == row  # as many cells as in the head


def test_undefined_metrics_are_omitted_and_the_command_writes_the_card_of_a_finished_run(copy, tmp_path):
    metrics = json.loads((copy / "metrics.json").read_text())
    metrics["segment"] = None
    metrics["tagging"]["precision"] = None
    (copy / "metrics.json").write_text(json.dumps(metrics))
    head, body = split(open_run(copy))
    (only,) = head["model-index"][0]["results"]
    assert [metric["type"] for metric in only["metrics"]] == ["recall", "f1"]
    assert "nan" not in body.lower()
    card = tmp_path / "a" / "card.md"
    assert main(["-q", "report", str(copy), "--model-card", str(card)]) == 0
    assert card.read_text() == model_card(open_run(copy))
    shutil.copy(copy / "config.toml", tmp_path)
    with pytest.raises(RunError, match="not finished"):
        model_card(open_run(tmp_path, unfinished=True))
