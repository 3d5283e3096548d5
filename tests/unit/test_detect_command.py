"""``crnn-weak detect`` with a model that costs nothing; hostile names, full disks and cut pipes."""

import csv
import io
import json
import os
import re
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from detection_fakes import RATE, bursts, detector

from crnn_weak.cli import main
from crnn_weak.commands.detect import _EVENT_FORMATS
from crnn_weak.detection.postprocessing import StoredPoint
from crnn_weak.detection.scores import load_scores
from crnn_weak.labels.writing import EVENT_FORMATS

HOSTILE = [
    "b.wav", "b.flac", "b.wav.mp3", "c.wav.mp3", "C.wav", "-dash.wav", "com,ma.wav", "tab\t.wav", "line\nfeed.wav",
    "line\\nfeed.wav", "forged.wav\t0.000\t9.000\tcar\nx.wav", "esc\x1b[31mred.wav", "bell\x07.wav", "\u202egpj.wav",
    "u\u0308.wav", "\u00fc.wav", "quote\".wav", "'single'.wav", "100%.wav", "a" * 250 + ".wav",
]  # fmt: skip
NOT_UTF8 = [b"latin\xfc.wav", b"\xff\xfe.wav"]
FORMATS = [f"--format={name}" for name in (*EVENT_FORMATS, "scores", "scores-h5")]


@pytest.fixture(autouse=True)
def fake(monkeypatch):
    fake = detector()
    monkeypatch.setattr("crnn_weak.detection.detector.load", lambda path=None, **options: fake)
    return fake


@pytest.fixture
def street(tmp_path):
    path = tmp_path / "street.wav"
    soundfile.write(path, bursts(12.0), RATE)
    return path


def detect(*arguments):
    return main(["detect", *map(str, arguments)])


def names_in(path):
    with path.open(newline="", encoding="utf-8") as file:
        return [row["filename"] for row in csv.DictReader(file, delimiter="," if path.suffix == ".csv" else "\t")]


def test_a_table_or_one_format_of_one_recording(street, fake, capsys):
    assert detect(street) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].split() == ["onset/s", "offset/s", "score", "label"]
    rows = [(float(row[0]), float(row[1]), row[3]) for row in map(str.split, lines[1:])]
    assert rows == [(round(e.onset, 3), round(e.offset, 3), e.label) for e in fake.detect(street)]
    assert "operating point: threshold 0.5" in err
    assert "1 of 1 recordings, 12.0 s of sound" in err
    assert detect(street, "--quiet") == 0
    assert capsys.readouterr() == (out, "")
    assert tuple(EVENT_FORMATS) == _EVENT_FORMATS  # repeated there: --help must not import NumPy
    for name, form in EVENT_FORMATS.items():
        assert detect(street, "--format", name, "-q") == 0
        assert len(capsys.readouterr().out.splitlines()) == len(fake.detect(street)) + bool(form.header)


def test_files_folders_figures_and_a_report(street, tmp_path, fake, refused, monkeypatch):
    monkeypatch.setattr("crnn_weak.detection.detector._MOST_COLUMNS", 70)  # 30 s in frames of 0.05 s, 9 a column
    out = tmp_path / "out"
    soundfile.write(tmp_path / "long.flac", bursts(30.0, 1), RATE)
    (tmp_path / "bad.wav").write_bytes(b"no audio")
    formats = [f"--format={name}" for name in ("desed", "audacity", "scores", "scores-h5")]
    assert detect(tmp_path, "--out", out, *formats, "--figure", "--report", "--tags") == 1
    wanted = {name: len(fake.detect(tmp_path / name)) for name in ("long.flac", "street.wav")}
    assert Counter(names_in(out / "events.tsv")) == wanted
    assert len((out / "scores" / "long.tsv").read_text().splitlines()) == 601
    strong = load_scores(out / "scores.h5", "long.flac").strong
    np.testing.assert_array_equal(strong, fake.scores(tmp_path / "long.flac").strong)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("<article") == 3
    assert page.count('<td class="left">') == sum(wanted.values())
    for name in ("long", "street"):
        assert f'<img src="figures/{name}.png"' in page
        assert (out / "figures" / f"{name}.png").read_bytes()[1:4] == b"PNG"
    assert [f'src="../{name}"' in page for name in ("long.flac", "street.wav", "bad.wav")] == [True, True, False]
    assert f"{tmp_path / 'bad.wav'}: " in page  # why it failed
    assert (out / "tags.tsv").read_text().splitlines()[0] == "filename\tevent_label\tscore"
    for option in ("--report", "--tags", "--format=scores"):
        assert "--overwrite" in refused("-q", "detect", street, "--out", out, option)


def test_snippets_to_review_are_cut_with_their_tracks(street, tmp_path, fake, capsys):
    soundfile.write(tmp_path / "long.v2.flac", bursts(30.0, 1), RATE)
    soundfile.write(tmp_path / "short.wav", bursts(2.0, 2), RATE)
    out = tmp_path / "out"
    assert detect(tmp_path, "--out", out, "--snippets", 2) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line.split(" ")[0] for line in printed[:3]] == ["long.v2.flac", "short.wav", "street.wav"]
    assert "(30.0 s): " in printed[0]
    assert "High" in printed[0]
    rows = list(csv.DictReader((out / "snippets.csv").read_text().splitlines()))
    assert printed[3].startswith(f"{len(rows)} snippets")
    counts = Counter((row["label"], row["kind"]) for row in rows)
    assert counts == dict.fromkeys([(label, kind) for label in fake.classes for kind in ("uncertain", "certain")], 2)
    for row in rows:
        name, begin, end = row["snippet"].removeprefix("snippets/").removesuffix(".flac").rsplit("_", 2)
        source = next(path for path in tmp_path.iterdir() if path.stem == name)
        audio, whole = soundfile.read(out / row["snippet"])[0], soundfile.read(source)[0]
        first = round(float(begin) * RATE)
        np.testing.assert_allclose(audio, whole[first : first + len(audio)], atol=1e-4)
        assert len(audio) == min(4 * RATE, len(whole))
        assert float(begin) <= float(row["seconds"]) < float(end)
        events = [line.split("\t") for line in (out / row["snippet"]).with_suffix(".txt").read_text().splitlines()]
        expected = [e for e in fake.detect(source) if e.onset < float(end) and e.offset > float(begin)]
        assert [label for *_, label in events] == [event.label for event in expected]
        assert all(0 <= float(onset) < float(offset) <= len(audio) / RATE for onset, offset, _ in events)
    distances = [abs(float(row["score"]) - 0.5) for row in rows]
    assert [distances[at] <= distances[at + 1] for at in (0, 4)] == [True, True]  # the most uncertain first
    assert [distances[at] >= distances[at + 1] > 0 for at in (2, 6)] == [True, True]
    assert detect(street, "--out", out, "--snippets", 1) == 2
    assert detect(street, "--out", out / "street", "--snippets", 1) == 0
    corrected = next((out / "street" / "snippets").glob("*.txt"))
    corrected.write_text("corrected")
    assert detect(street, "--out", out / "street", "--snippets", 1, "--overwrite") == 0
    assert corrected.read_text() == "corrected"


def test_plot_draws_a_path_and_an_array(street, fake):
    for source in (street, (bursts(12.0), RATE)):
        bands, roll = fake.plot(source).axes
        assert [text.get_text() for text in roll.get_yticklabels()] == ["High", "Low"]
        assert f"{len(fake.detect(source))} events" in bands.get_title(loc="left")
        assert bands.get_xlim()[1] == pytest.approx(12.0)


def test_tags_and_warnings(street, tmp_path, capsys):
    assert detect(street, "--tags", "--out", tmp_path / "out", "-q") == 0
    assert not (tmp_path / "out" / "events.tsv").exists()
    assert detect(street, "--tags", "-q") == 0
    assert {line.split()[1] for line in capsys.readouterr().out.splitlines()[1:]} == {"Low", "High"}
    soundfile.write(street, np.zeros(RATE), RATE)
    assert detect(street) == 0
    out, err = capsys.readouterr()
    assert "(no events)" in out
    assert "warning: street.wav: digital silence" in err


@pytest.mark.parametrize(
    ("seconds", "options", "labels"),
    [
        (4.0, [], ["Low"]),  # one window: the likeliest class, below the threshold
        (1.0, [], ["Low"]),
        (4.0, ["--classes", "High"], ["High"]),  # of those asked for
        (4.0, ["--min-tags", "0"], ["(no tags)"]),
        (9.0, [], ["(no tags)"]),  # longer than a clip
    ],
)
def test_a_clip_has_at_least_one_tag_and_a_longer_recording_may_have_none(street, capsys, seconds, options, labels):
    quiet = 1e-4 * np.random.default_rng(0).standard_normal(round(seconds * RATE))
    quiet += 2e-4 * np.sin(2 * np.pi * 500 * np.arange(len(quiet)) / RATE)
    soundfile.write(street, quiet, RATE)
    assert detect(street, "--tags", "-q", "--threshold", "0.99", *options) == 0
    rows = [line.split("  ", 3)[-1].strip() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [row.split("  ")[-1] for row in rows] == labels


def test_broken_recordings_among_many_disturb_none(tmp_path, fake, capsys):
    folder = tmp_path / "many"
    folder.mkdir()
    for index in range(43):
        soundfile.write(folder / f"{index:02}.wav", bursts(1.0, index), RATE)
    for name, seed in (("a", 1), ("b", 2), ("c", 3)):
        soundfile.write(folder / f"{name}.flac", bursts(50.0, seed), RATE)
    (folder / "07.wav").write_text("text")
    (folder / "21.wav").write_bytes(b"")
    # Truncated after several windows, some of which were scored together with the neighbors' windows.
    data = (folder / "b.flac").read_bytes()
    (folder / "b.flac").write_bytes(data[: int(len(data) * 0.9)])
    assert detect(folder, "--out", tmp_path / "out") == 1
    err = capsys.readouterr().err.splitlines()
    assert "43 of 46 recordings" in err[-4]
    assert [line.split(":")[0] for line in err[-3:]] == ["failed"] * 3
    assert all(name in line for name, line in zip(("07.wav", "21.wav", "b.flac"), err[-3:], strict=True))
    status = (tmp_path / "out" / "recordings.csv").read_text()
    assert (status.count(",ok,"), status.count(",failed,")) == (43, 3)
    assert fake.model.batch_sizes[:5] == [8] * 5  # short recordings share batches
    found = Counter(names_in(tmp_path / "out" / "events.tsv"))
    wanted = {name: len(fake.detect(folder / name)) for name in ("a.flac", "c.flac")}
    assert {name: n_events for name, n_events in found.items() if name.endswith("flac")} == wanted
    none = ["--out", tmp_path / "none", "--format=scores-h5", "--overwrite"]
    assert detect(folder / "06.wav", *none) == 0
    assert detect(folder / "07.wav", folder / "21.wav", *none) == 2
    assert (tmp_path / "none" / "recordings.csv").read_text().count(",failed,") == 2
    assert not (tmp_path / "none" / "scores.h5").exists()


def test_an_operating_point_and_classes_from_the_command_line(street, tmp_path, fake, capsys):
    options = ["--median", "0.3", "--low-threshold", "0.4", "--threshold", "0.8", "--weak-gate"]
    text = "threshold 0.8, tag threshold 0.8, low threshold 0.4, median filter 0.3 s, gated by the tags"
    for min_tags, end in (([], ", at least one tag per clip"), (["--min-tags", "0"], "")):
        detect(street, *options, *min_tags)
        assert f"{text}{end}\n" in capsys.readouterr().err
    point = fake.operating_point.replace(thresholds=(0.3, 0.6))
    StoredPoint(operating_point=point).write(tmp_path / "point.json")
    detect(street, "--operating-point", tmp_path / "point.json")
    assert "threshold 0.3 to 0.6 by class" in capsys.readouterr().err
    capsys.readouterr()
    for options, classes in ((["--classes", "High"], {"High"}), ([], {"Low", "High"})):
        assert detect(street, *options) == 0
        assert {line.split()[3] for line in capsys.readouterr().out.splitlines()[1:]} == classes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no recording was given"),
        (["STREET", "--classes", "Hgh"], "'High'"),
        (["STREET", "--threshold", "1.5"], "scores in (0, 1)"),
        (["STREET", "--min-tags", "2"], "min_tags = 2: expected 0 or 1"),
        (["STREET", "--operating-point", "nowhere.json"], "nowhere.json"),
        (["STREET", "--figure"], "--out"),
        (["STREET", "--report"], "--out"),
        (["STREET", "--snippets", "2"], "--out"),
        (["STREET", "--out", "new", "--snippets", "0"], "1 or more"),
        (["STREET", "--format", "scores"], "--out"),
        (["STREET", "--format", "csv", "--tags"], "--out"),
        (["STREET", "STREET.gone", "--format", "raven"], "holds one recording"),
    ],
)
def test_a_users_error_is_one_line_and_2(street, arguments, message, capsys):
    assert detect(*[argument.replace("STREET", str(street)) for argument in arguments]) == 2
    out, err = capsys.readouterr()
    assert message in err.splitlines()[-1]
    assert out == ""


def test_a_wav_on_standard_input(street, monkeypatch, tmp_path, capsys, refused):
    for options in (["--format", "csv"], ["--out", tmp_path / "out", "--figure"]):
        pipe = io.BytesIO(street.read_bytes())
        pipe.seek = None  # a pipe has no way back
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=pipe))
        assert detect("-", *options, "-q") == 0
    out, err = capsys.readouterr()
    assert "stdin,0." in out
    assert "no figure: a recording on standard input cannot be read twice" in err
    monkeypatch.setattr("sys.stdin", None)
    assert "standard input is closed" in refused("detect", "-")


def test_every_recording_has_its_own_outputs_whatever_its_name(street, tmp_path, capsys):
    out, hostile, n = tmp_path / "out", tmp_path / "in", len(HOSTILE) + len(NOT_UTF8)
    hostile.mkdir()
    for name in [*map(os.fsencode, HOSTILE), *NOT_UTF8]:
        try:
            (hostile / os.fsdecode(name)).write_bytes(street.read_bytes())
        except OSError as error:
            pytest.skip(f"this file system refuses the name {name!r} ({error})")
    (hostile / "bad\x1b[31m\n.wav").write_bytes(b"RIFF")
    assert detect(hostile, "--out", out, *FORMATS, "--tags") == 1
    status = (out / "recordings.csv").read_text(encoding="utf-8")
    names = set(names_in(out / "events.csv"))
    assert (len(names), len(set(names_in(out / "recordings.csv")))) == (n, n + 1)
    lines = (out / "events.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    listed = [[json.loads(line)["filename"] for line in lines], load_scores(out / "scores.h5").clip_ids]
    listed.append(names_in(out / "events.tsv"))
    assert [set(each) for each in listed] == [names] * 3
    for kind in ("audacity", "raven", "scores"):
        files = [path for path in (out / kind).rglob("*") if path.is_file()]
        assert len(files) == len({str(path).casefold() for path in files}) == n
    shown = capsys.readouterr()
    assert shown.err.splitlines()[-1].startswith("failed: ")
    for text in (shown.out, shown.err, status, (out / "events.tsv").read_text(), (out / "tags.tsv").read_text()):
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2028\u2029]", text)


@pytest.mark.parametrize(("name", "limit"), [("scores-h5", 2000), ("desed", 500)])
def test_a_full_disk_is_one_line_and_leaves_no_half_file(tmp_path, name, limit, refused):
    resource = pytest.importorskip("resource", reason="limits of POSIX")
    soundfile.write(tmp_path / "a.wav", bursts(40.0), RATE)
    call = [tmp_path / "a.wav", "--out", tmp_path / "out", "--format", name]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # A limit on the size of files fails writes just as a full disk does.
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        assert "File too large. Free some space" in refused("detect", *call, "-q")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    left = [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert all(entry.endswith(".partial") for entry in left)
    assert detect(*call) == 0


def test_an_output_that_cannot_be_is_one_line_and_links_are_replaced_not_followed(street, tmp_path, refused):
    (tmp_path / "precious").write_text("mine")
    for place in ("precious", "precious/below", "n" * 300):
        refused("detect", street, "--out", tmp_path / place, "-q")
    (tmp_path / "out").mkdir()
    for name in ("events.tsv", "events.tsv.partial", "recordings.csv.partial", "recordings.csv", "scores.h5"):
        (tmp_path / "out" / name).symlink_to(tmp_path / "precious")
    call = [street, "--out", tmp_path / "out", "--format=desed", "--format=scores-h5", "-q"]
    assert detect(*call) == 2
    assert detect(*call, "--overwrite") == 0
    assert (tmp_path / "precious").read_text() == "mine"
    assert not (tmp_path / "out" / "events.tsv").is_symlink()
