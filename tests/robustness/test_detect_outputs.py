"""Detection's outputs under hostile names, full disks and cut pipes: whole or absent, one line, the right exit code."""

import csv
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
from detection_fakes import RATE, bursts, detector

from crnn_weak.cli import main
from crnn_weak.detection.scores import load_scores
from crnn_weak.labels.writing import EVENT_FORMATS

TESTS = Path(__file__).resolve().parents[1]
# The command in a process of its own, with a model that costs nothing.
COMMAND = (
    f"import sys; sys.path.insert(0, {str(TESTS)!r}); import detection_fakes, crnn_weak.detection.detector as module; "
    "module.load = lambda path=None, **options: detection_fakes.detector(); "
    "from crnn_weak.cli import main; sys.exit(main(sys.argv[1:]))"
)
HOSTILE = [
    "b.wav", "b.flac", "b.wav.mp3", "c.wav.mp3", "C.wav", "-dash.wav", "com,ma.wav", "tab\t.wav", "line\nfeed.wav",
    "line\\nfeed.wav", "forged.wav\t0.000\t9.000\tcar\nx.wav", "esc\x1b[31mred.wav", "bell\x07.wav", "\u202egpj.wav",
    "u\u0308.wav", "\u00fc.wav", "quote\".wav", "'single'.wav", "100%.wav", "a" * 250 + ".wav",
]  # fmt: skip
NOT_UTF8 = [b"latin\xfc.wav", b"\xff\xfe.wav"]
FORMATS = [f"--format={name}" for name in (*EVENT_FORMATS, "scores", "scores-h5")]


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.setattr("crnn_weak.detection.detector.load", lambda path=None, **options: detector())


@pytest.fixture(scope="module")
def wav():
    file = io.BytesIO()
    soundfile.write(file, bursts(5.0), RATE, format="WAV")
    return file.getvalue()


@pytest.fixture
def hostile(tmp_path, wav):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in [*map(os.fsencode, HOSTILE), *NOT_UTF8]:
        try:
            (folder / os.fsdecode(name)).write_bytes(wav)
        except OSError as error:
            pytest.skip(f"this file system refuses the name {name!r} ({error})")
    return folder


def in_shell(script, *arguments, **options):
    """Run a script of bash in which $0 -c "$1" is the command."""
    call = ["bash", "-c", script, sys.executable, COMMAND, *map(str, arguments)]
    return subprocess.run(call, capture_output=True, text=True, check=False, **options)


def names_in(path):
    with path.open(newline="", encoding="utf-8") as file:
        return [row["filename"] for row in csv.DictReader(file, delimiter="," if path.suffix == ".csv" else "\t")]


def test_every_recording_has_its_own_outputs_whatever_its_name(fake, hostile, tmp_path, capsys):
    out, n = tmp_path / "out", len(HOSTILE) + len(NOT_UTF8)
    (hostile / "bad\x1b[31m\n.wav").write_bytes(b"RIFF")
    assert main(["detect", str(hostile), "--out", str(out), *FORMATS, "--tags"]) == 1
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


@pytest.mark.parametrize(
    "entry", ["no\x1b[31mthere.wav", "no\nthere.wav", "\udcff.wav", "no\x1b[31m*.wav", "--model=no\x1b[31mmodel"]
)
def test_a_missing_name_is_one_harmless_line(fake, entry, capsys):
    assert main(["detect", entry]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "\x1b" not in err


@pytest.mark.skipif(sys.platform == "win32", reason="pipes and limits of POSIX")
class TestProcesses:
    def test_a_reader_that_goes_away_ends_it_quietly(self, hostile):
        done = in_shell('"$0" -c "$1" detect "$2" --quiet | head -1; exit "${PIPESTATUS[0]}"', hostile)
        assert done.returncode in (0, 141)
        assert (done.stderr, done.stdout.count("\n")) == ("", 1)

    def test_closed_standard_input_is_one_line(self):
        done = in_shell('"$0" -c "$1" detect - --quiet <&-')
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert "standard input is closed" in done.stderr

    @pytest.mark.parametrize(("name", "limit"), [("scores-h5", 2000), ("desed", 500)])
    def test_a_full_disk_is_one_line_and_leaves_no_half_file(self, fake, tmp_path, name, limit):
        # A limit of the process on the size of its files, which fails writes just as a full disk does.
        import resource

        soundfile.write(tmp_path / "a.wav", bursts(40.0), RATE)
        script = f'"$0" -c "$1" detect "$2/a.wav" --out "$2/out" --format {name} -q'
        full = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))}
        done = in_shell(script, tmp_path, **full)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert "cannot be written" in done.stderr
        left = [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()]
        assert all(entry.endswith(".partial") for entry in left)
        assert main(["detect", str(tmp_path / "a.wav"), "--out", str(tmp_path / "out"), "--format", name]) == 0

    def test_two_processes_may_write_one_output(self, tmp_path, wav):
        for index in range(8):
            (tmp_path / f"{index}.wav").write_bytes(wav)
        call = [sys.executable, "-c", COMMAND, "detect", str(tmp_path), "--out", str(tmp_path / "out"), "--overwrite"]
        call += FORMATS
        both = [subprocess.Popen(call, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) for _ in range(2)]
        for process in both:
            _, err = process.communicate()
            assert process.returncode == 0, err
        assert len(set(names_in(tmp_path / "out" / "events.tsv"))) == 8
        assert len(load_scores(tmp_path / "out" / "scores.h5")) == 8
        assert not [path for path in (tmp_path / "out").rglob(".*")]


@pytest.mark.parametrize("place", ["afile", "afile/below", "n" * 300])
def test_an_output_that_cannot_be_is_one_line(fake, tmp_path, wav, capsys, place):
    (tmp_path / "a.wav").write_bytes(wav)
    (tmp_path / "afile").write_text("mine")
    assert main(["detect", str(tmp_path / "a.wav"), "--out", str(tmp_path / place), "-q"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert (tmp_path / "afile").read_text() == "mine"


def test_links_in_the_output_folder_are_replaced_not_followed(fake, tmp_path, wav):
    (tmp_path / "a.wav").write_bytes(wav)
    (tmp_path / "out").mkdir()
    (tmp_path / "precious").write_text("mine")
    for name in ("events.tsv", "events.tsv.partial", "recordings.csv.partial", "recordings.csv", "scores.h5"):
        (tmp_path / "out" / name).symlink_to(tmp_path / "precious")
    call = ["detect", str(tmp_path / "a.wav"), "--out", str(tmp_path / "out"), "--format=desed", "--format=scores-h5"]
    assert main([*call, "-q"]) == 2
    assert main([*call, "-q", "--overwrite"]) == 0
    assert (tmp_path / "precious").read_text() == "mine"
    assert not (tmp_path / "out" / "events.tsv").is_symlink()
