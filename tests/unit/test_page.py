"""The report page: whole, self-contained, harmless, whatever the data hold."""

import base64
import dataclasses
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
from crnn_weak.errors import ClipError, ConfigError, RunError
from crnn_weak.report.clips import ClipOptions
from crnn_weak.report.media import encode_audio, log_mel_png, overlay_png
from crnn_weak.report.page import write_report

WITHOUT_SALIENCY = ClipOptions(n_clips=2, saliency=False)


class Reader(HTMLParser):
    """Collects tags with their attributes and refuses what does not nest."""

    VOID = frozenset({"meta", "link", "img", "br", "input", "hr"})

    def __init__(self):
        super().__init__()
        self.tags, self.open, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open, tag
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def read(path):
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    assert not reader.open
    return reader


@pytest.fixture(scope="module")
def experiment_path(tmp_path_factory):
    return make_experiment(tmp_path_factory.mktemp("page"), classes=NASTY)


@pytest.fixture(scope="module")
def page(experiment_path):
    return read(write_report(experiment_path, options=options_of(experiment_path)))


def options_of(experiment_path, **changes):
    """Two clips without saliency, with the recordings that lie beside the experiment."""
    folders = (experiment_path.parent / "audio",)
    return dataclasses.replace(WITHOUT_SALIENCY, audio_folders=folders, **changes)


def test_labels_are_text_and_never_markup(page):
    assert [tag for tag, _ in page.tags].count("script") == 1  # the page's own
    assert any("<script>alert(1)</script>" in text for text in page.text)
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)


def test_the_page_asks_for_nothing(page):
    policies = [a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert len(policies) == 1
    assert "default-src 'none'" in policies[0]
    assert "'unsafe-inline'" not in policies[0].split("script-src")[1].split(";")[0]
    for tag, attributes in page.tags:
        for name in ("src", "href", "data", "action", "poster", "srcset"):
            if name in attributes:
                assert attributes[name].startswith(("data:", "#")), (tag, attributes[name][:80])


def test_the_policy_allows_exactly_the_pages_script(experiment_path):
    import hashlib

    text = (experiment_path / "report.html").read_text(encoding="utf-8")
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"sha256-{digest}".replace("+", "&#43;") in text or f"sha256-{digest}" in text


def test_ids_are_unique_and_references_have_their_ids(page):
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in page.tags:
        for name in ("aria-labelledby", "aria-describedby"):
            if name in attributes:
                assert attributes[name] in ids
        if attributes.get("href", "").startswith("#"):
            assert attributes["href"][1:] in ids


def test_what_can_be_operated_has_a_name(page):
    for tag, attributes in page.tags:
        if tag == "img":
            assert "alt" in attributes
        if attributes.get("role") in ("slider", "region", "group", "img"):
            assert attributes.get("aria-label")
    sliders = [attributes for _, attributes in page.tags if attributes.get("role") == "slider"]
    assert sliders
    assert all(slider["aria-valuemax"] == "2.0" and slider["tabindex"] == "0" for slider in sliders)


def test_the_page_holds_the_table_coverage_and_configuration(page):
    text = " ".join(" ".join(page.text).split())
    assert "paper 38.8" in text  # 1:1, detection F
    assert "11" in text
    assert "made for tests" in text.lower()
    assert "epochs" in text
    assert "rank correlation" in text
    assert "F 100 %" in text or "F 9" in text


def test_sound_is_embedded_and_is_the_clip(page, experiment_path):
    import soundfile

    addresses = [attributes["src"] for tag, attributes in page.tags if tag == "audio"]
    assert addresses
    assert all(address.startswith("data:audio/mpeg;base64,") for address in addresses)
    content = base64.b64decode(addresses[0].split(",", 1)[1])
    audio, rate = soundfile.read(io.BytesIO(content))
    assert (rate, len(audio)) == (8000, 16000)
    assert 0.1 < np.sqrt(np.mean(audio**2)) < 0.3


def test_sound_beside_the_page_where_asked(experiment_path, tmp_path):
    options = options_of(experiment_path, embed=False)
    target = write_report(experiment_path, out=tmp_path / "p.html", options=options)
    sources = [attributes["src"] for tag, attributes in read(target).tags if tag == "audio"]
    assert sources
    assert all((tmp_path / source).is_file() for source in sources)
    assert all(source.startswith("p-sound/clip-") for source in sources)  # no name from the data


def test_without_recordings_there_are_pictures_and_a_note(tmp_path):
    path = make_experiment(tmp_path, settings=((1.0, 1.0),), sound=False)
    reader = read(write_report(path, options=WITHOUT_SALIENCY))
    assert not [tag for tag, _ in reader.tags if tag == "audio"]
    assert any("were not found" in text for text in reader.text)
    assert any(a.get("class") == "log-mel" for _, a in reader.tags)


def test_without_strong_labels_there_is_no_detection(tmp_path):
    path = make_experiment(tmp_path, settings=((1.0, 1.0),), with_events=False, sound=False)
    reader = read(write_report(path, options=WITHOUT_SALIENCY))
    assert any("not known" in text for text in reader.text)
    assert not any("detection F-score" in text for text in reader.text)


def test_without_the_store_the_page_still_has_its_table(tmp_path):
    path = make_experiment(tmp_path, settings=((1.0, 1.0),), sound=False)
    (tmp_path / "test.h5").unlink()
    reader = read(write_report(path, options=WITHOUT_SALIENCY))
    assert any("feature store of the test clips was not found" in text for text in reader.text)
    assert "paper 38.8" in " ".join(" ".join(reader.text).split())


def test_a_single_run_has_a_page(experiment_path, tmp_path):
    target = write_report(experiment_path / "1_1" / "seed-0", out=tmp_path / "run.html", options=WITHOUT_SALIENCY)
    assert any("One model, strong weight 1" in text for text in read(target).text)


def test_without_a_model_the_page_says_why_there_is_no_saliency(experiment_path, tmp_path):
    target = write_report(experiment_path, out=tmp_path / "p.html", options=ClipOptions(n_clips=1))
    assert any("No saliency:" in text for text in read(target).text)


def test_unknown_clips_and_methods_are_refused(experiment_path, tmp_path):
    with pytest.raises(ClipError, match="Did you mean 'clip-000"):
        write_report(experiment_path, out=tmp_path / "p.html", options=ClipOptions(wanted=("clip-0001",)))
    with pytest.raises(ConfigError, match="Did you mean 'talk'"):
        write_report(experiment_path, out=tmp_path / "p.html", options=ClipOptions(method="tlak"))
    assert not list(tmp_path.iterdir())


def test_the_command_writes_the_page(experiment_path, tmp_path, capsys):
    target = tmp_path / "new" / "page.html"
    code = main(["-q", "report", str(experiment_path), "--out", str(target), "--no-saliency", "--clips", "0",
                 "--clip=clip-00002", "--setting", "1:1"])  # fmt: skip
    assert code == 0
    assert "open it in a browser" in capsys.readouterr().out
    assert [a["id"] for tag, a in read(target).tags if tag == "article"] == ["clip-1"]


def test_bad_arguments_are_one_line_and_code_2(experiment_path, tmp_path, capsys):
    mine = tmp_path / "tags.tsv"
    mine.write_text("a.wav\tdog\n")
    for arguments in (
        [str(tmp_path / "nothing")],
        [str(experiment_path), "--clips", "-1"],
        [str(experiment_path), "--clip=--jc0NAxK8M_30.000_40.000"],
        [str(experiment_path), "--setting", "7:1"],
        [str(experiment_path), "--model-card", str(tmp_path / "card.md")],
        [str(experiment_path), "--out", str(mine)],
        [str(experiment_path), "--out", ""],
    ):
        assert main(["-q", "report", "--no-saliency", *arguments]) == 2
        error = capsys.readouterr().err
        assert error.startswith("crnn-weak report: error: ")
        assert error.count("\n") == 1
    assert mine.read_text() == "a.wav\tdog\n"


def test_pictures_are_one_pixel_per_frame_and_band():
    from PIL import Image

    log_mel = np.random.default_rng(0).normal(size=(20, 8))
    log_mel[4, 7] = 50.0  # the highest band, far the loudest
    image = Image.open(io.BytesIO(log_mel_png(log_mel)))
    assert image.size == (20, 8)
    pixels = np.asarray(image.convert("RGB")).sum(axis=2)
    assert np.unravel_index(pixels.argmax(), pixels.shape) == (0, 4)  # high bands on top, time to the right
    overlay = np.asarray(Image.open(io.BytesIO(overlay_png(np.abs(log_mel), "#3DB7FF"))).convert("RGBA"))
    assert (overlay[0, 4] == (0x3D, 0xB7, 0xFF, 255)).all()
    assert (
        np.asarray(Image.open(io.BytesIO(overlay_png(np.zeros((20, 8)), "#3DB7FF"))).convert("RGBA"))[..., 3] == 0
    ).all()


def test_a_rate_that_mp3_lacks_gives_flac(experiment_path):
    path = next((experiment_path.parent / "audio").iterdir())
    assert encode_audio(path, sample_rate_hz=8000, clip_seconds=2.0).media_type == "audio/mpeg"
    sound = encode_audio(path, sample_rate_hz=12_345, clip_seconds=2.0)
    assert (sound.media_type, sound.suffix) == ("audio/flac", "flac")


def test_a_page_of_very_many_clips_stays_below_15_megabytes(experiment_path, monkeypatch, tmp_path):
    from crnn_weak.report import clips

    options = options_of(experiment_path)
    whole = write_report(experiment_path, out=tmp_path / "whole.html", options=options).stat().st_size
    monkeypatch.setattr(clips, "_BUDGET", 40_000)
    less = write_report(experiment_path, out=tmp_path / "less.html", options=options)
    assert less.stat().st_size < whole
    text = less.read_text(encoding="utf-8")
    assert "below 15 MB" in text
    assert text.count("<audio") < (tmp_path / "whole.html").read_text(encoding="utf-8").count("<audio")


# --- folders from strangers ----------------------------------------------------------------------------------------


def silent_copy(experiment_path, tmp_path, audio):
    """Copy a run of an experiment, with recordings at places that its sender chose."""
    run = shutil.copytree(experiment_path / "1_1" / "seed-0", tmp_path / "sent" / "run")
    data = json.loads((experiment_path / "data.json").read_text())
    data["test_store"] = os.path.relpath(experiment_path.parent / "test.h5", run)
    data["audio"] = {clip_id: audio(clip_id, place) for clip_id, place in data["audio"].items()}
    (run / "data.json").write_text(json.dumps(data))
    return run


def n_players(path):
    return sum(tag == "audio" for tag, _ in read(path).tags)


@pytest.mark.parametrize("form", ["absolute", "relative", "link"])
def test_recordings_outside_the_named_folders_are_not_opened(experiment_path, tmp_path, form):
    def place(clip_id, path):
        if form == "link":
            (tmp_path / "sent" / "run" / f"{clip_id}.wav").symlink_to(path)
            return f"{clip_id}.wav"
        return path if form == "absolute" else os.path.relpath(path, tmp_path / "sent" / "run")

    run = silent_copy(experiment_path, tmp_path, place)
    report = write_report(run, options=WITHOUT_SALIENCY)
    assert n_players(report) == 0
    assert "outside the folders that may be opened" in report.read_text(encoding="utf-8")
    assert n_players(write_report(run, options=options_of(experiment_path))) > 0


def test_recordings_inside_the_run_folder_are_opened(experiment_path, tmp_path):
    def place(clip_id, path):
        shutil.copy(path, tmp_path / "sent" / "run" / f"{clip_id}.wav")
        return f"{clip_id}.wav"

    assert n_players(write_report(silent_copy(experiment_path, tmp_path, place), options=WITHOUT_SALIENCY)) > 0


def test_links_in_the_folder_are_replaced_and_not_followed(experiment_path, tmp_path):
    run = silent_copy(experiment_path, tmp_path, lambda clip_id, path: path)
    victim = tmp_path / "victim.txt"
    victim.write_text("mine")
    for name in ("report.html", ".report.html.tmp", "model-card.md", ".model-card.md.tmp"):
        (run / name).symlink_to(victim)
    (run / "best.keras").write_bytes(b"")
    write_report(run, options=WITHOUT_SALIENCY)
    assert victim.read_text() == "mine"
    assert not (run / "report.html").is_symlink()
    (run / "report-sound").symlink_to(tmp_path)
    with pytest.raises(RunError, match="is a link"):
        write_report(run, options=options_of(experiment_path, embed=False))


@pytest.mark.slow
def test_the_same_report_twice_is_the_same_page_byte_for_byte(tmp_path):
    path = make_experiment(tmp_path, classes=NASTY, settings=((1.0, 1.0), (1.0, 0.02)), model=True)
    options = ClipOptions(n_clips=2, audio_folders=(tmp_path,))
    first, second = (write_report(path, out=tmp_path / f"{n}.html", options=options).read_bytes() for n in (1, 2))
    assert first == second
    assert first.count(b"<audio") > 2


def test_a_failed_report_leaves_the_old_one_and_nothing_else(experiment_path, tmp_path, monkeypatch):
    target = tmp_path / "page.html"
    target.write_text("old")

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_report(experiment_path, out=target, options=WITHOUT_SALIENCY)
    assert [entry.name for entry in tmp_path.iterdir()] == ["page.html"]
    assert target.read_text() == "old"
