"""``crnn-weak evaluate`` on label files: what a user types, what is printed, what is refused."""

import csv
import io
import json

import pytest

from crnn_weak.cli import main
from crnn_weak.labels.sets import class_list

WEAK = "abc_30.000_40.000.wav\t30.000\t40.000\tCar\nxyz_0.000_10.000.wav\t0.000\t10.000\tAir horn, truck horn\n"
STRONG = "abc_30.000_40.000.wav\t0.5\t4.2\tCar\nxyz_0.000_10.000.wav\t0\t0\tAir horn, truck horn\n"


@pytest.fixture
def files(tmp_path):
    """Return a function that writes a file and returns its path."""

    def write(name, text):
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


def run(capsys, *arguments):
    code = main(["evaluate", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def figure(out, name):
    """Return the first number behind a name."""
    words = out.replace("\n", " ").split()
    return float(words[words.index(name) + 1])


# --- the promised figures -------------------------------------------------------------------------------------------


def test_the_oracles_estimate(capsys, metric_oracle, task4_metadata):
    code, out, _ = run(
        capsys,
        "--reference", str(task4_metadata / "groundtruth_strong_label_testing_set.csv"),
        "--estimated", str(metric_oracle / "task4_testing_estimated.csv"),
        "--classes", str(task4_metadata / "sound_event_list_17_classes.txt"),
    )  # fmt: skip
    assert code == 0
    assert "F-score 72.10 " in out
    assert "error rate 0.415 " in out


def test_the_baselines(capsys, task4_metadata):
    code, out, _ = run(
        capsys, "--baselines",
        "--reference", str(task4_metadata / "groundtruth_strong_label_testing_set.csv"),
        "--tags-reference", str(task4_metadata / "groundtruth_weak_label_testing_set.csv"),
    )  # fmt: skip
    rows = {line.rsplit(maxsplit=5)[0].strip(): line.rsplit(maxsplit=5)[1:4] for line in out.splitlines()[2:]}
    assert code == 0
    assert rows["nothing"] == ["0.00", "1.000", "0.00"]
    assert rows["true tags, whole clip"] == ["100.00", "0.388", "83.75"]
    assert rows["Car everywhere"][0] == "10.97"


@pytest.mark.parametrize("text", ["filename\tonset\toffset\tevent_label\n", "a.wav\t0\t0\tCar\n", ""])
def test_baselines_of_a_reference_without_events_are_dashes(capsys, files, text):
    code, out, err = run(
        capsys, "--baselines", "--events", "--drop-zero-length", "--reference", files("empty.tsv", text)
    )
    assert (code, err) == (0, "")
    rows = [line.split() for line in out.splitlines() if line.startswith(("nothing", "true tags"))]
    assert [row[-4:] for row in rows] == [["-"] * 4] * 2


def test_an_organizers_tagging_with_unknown_labels(capsys, task4_metadata):
    code, out, _ = run(
        capsys,
        "--reference", str(task4_metadata / "groundtruth_weak_label_testing_set.csv"),
        "--estimated", str(task4_metadata / "evaluation" / "prediction" / "precision_affected_prediction.csv"),
    )  # fmt: skip
    assert code == 0
    assert "precision 99.67   recall 100.00" in out
    assert "2 label(s) occur only in the estimate" in out


# --- weak files are never events ------------------------------------------------------------------------------------


def test_weak_files_are_scored_as_tags(capsys, files):
    code, out, _ = run(capsys, "--reference", files("a", WEAK), "--estimated", files("b", WEAK))
    assert code == 0
    assert "tagging" in out
    assert "segments" not in out


@pytest.mark.parametrize(
    ("reference", "estimated", "options", "message"),
    [
        (STRONG, WEAK, [], "holds tags"),
        (WEAK, WEAK, ["--events"], "--tags"),
        ("xyz_0.000_10.000.wav\t0.000\t10.000\tCar\n", STRONG, [], "--events or --tags"),
    ],
)
def test_tags_as_events_are_refused(capsys, files, reference, estimated, options, message):
    code, out, err = run(capsys, "--reference", files("a", reference), "--estimated", files("b", estimated), *options)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_events_can_be_scored_as_tags(capsys, files):
    code, out, _ = run(capsys, "--reference", files("a", WEAK), "--estimated", files("b", STRONG), "--tags")
    assert code == 0
    assert figure(out, "F-score") == 100.0


# --- options --------------------------------------------------------------------------------------------------------

REFERENCE = "a.wav\t0.0\t4.0\tCar\nb.wav\t1.0\t3.0\tBus\nc.wav\t0\t0\tCar\n"
ESTIMATED = "a.wav\t0.05\t4.0\tCar\nb.wav\t1.0\t3.0\tCar\n"


@pytest.fixture
def pair(files):
    return ["--reference", files("ref.txt", REFERENCE), "--estimated", files("est.txt", ESTIMATED)]


def test_json_and_text_agree(capsys, pair, tmp_path):
    _, text, _ = run(capsys, *pair, "--class-wise", "--json", str(tmp_path / "out.json"))
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["segment"]["error_rate"] == pytest.approx(2 / 6)
    assert figure(text, "rate") == pytest.approx(2 / 6, abs=1e-3)
    assert "Bus" in text


def test_csv_is_long_form(capsys, pair):
    _, text, _ = run(capsys, *pair, "--format", "csv", "--class-wise", "--bootstrap", "50")
    rows = list(csv.DictReader(io.StringIO(text)))
    (row,) = [r for r in rows if (r["output"], r["label"], r["metric"]) == ("segment", "", "f_score")]
    assert float(row["low"]) <= float(row["value"]) <= float(row["high"])
    (row,) = [r for r in rows if (r["output"], r["label"], r["metric"]) == ("segment", "Bus", "f_score")]
    assert row["value"] == "0"


def test_zero_length_rows_are_named_and_can_be_dropped(capsys, pair):
    _, out, _ = run(capsys, *pair)
    assert "1 zero-length rows" in out
    _, out, _ = run(capsys, *pair, "--drop-zero-length", "--format", "json")
    assert json.loads(out)["event"]["n_reference"] == 2
    assert json.loads(out)["segment"]["n_clips"] == 3  # the clip stays, with its false alarms


def test_lengths_and_collars_are_used(capsys, pair):
    options = ["--format", "json", "--segment-seconds", "0.5", "--collar", "0.04", "--clip-seconds", "2"]
    _, out, _ = run(capsys, *pair, *options)
    found = json.loads(out)
    assert found["segment"]["n_reference"] == 4 + 2
    assert found["event_onset"]["n_correct"] == 0


def test_what_ends_after_the_clips_is_said(capsys, pair):
    _, out, _ = run(capsys, *pair, "--clip-seconds", "2")
    assert "ref.txt: 2 events end after --clip-seconds 2" in out
    assert "est.txt: 2 events end after --clip-seconds 2" in out


def test_scores_of_an_estimate_are_said_and_filter(capsys, files):
    reference = files("ref.csv", "filename,onset,offset,label\na.wav,0,4,Car\n")
    estimated = files("est.csv", "filename,onset,offset,label,score\na.wav,0,4,Car,0.9\na.wav,0,4,Bus,0.0\n")
    _, out, _ = run(capsys, "--reference", reference, "--estimated", estimated)
    assert "est.csv has scores from 0 to 0.9: every row counts; --min-score S drops" in out
    _, out, _ = run(capsys, "--reference", reference, "--estimated", estimated, "--min-score", "0.1")
    assert "has scores" not in out
    assert "100.00" in out


def test_folders_of_tracks(capsys, files, tmp_path):
    for name in ("truth", "guess"):
        (tmp_path / name).mkdir()
        files(f"{name}/y.wav.txt", "0.0\t2.0\tCar\n")
        files(f"{name}/z.txt", "")
    code, out, _ = run(capsys, "--reference", str(tmp_path / "truth"), "--estimated", str(tmp_path / "guess"))
    assert code == 0
    assert "2 clips, 1 events" in out
    assert "100.00" in out


def test_lists_without_file_names_are_one_recording(capsys, files):
    truth, guess = files("truth.txt", "0.0\t2.0\tCar\n"), files("guess.txt", "0.0\t2.0\tCar\n")
    code, out, _ = run(capsys, "--reference", truth, "--estimated", guess)
    assert code == 0
    assert figure(out, "F-score") == 100.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "or a run folder instead"),
        (["--reference", "{ref}"], "give --reference with --estimated or --baselines"),
        (["--reference", "{ref}", "--estimated", "gone.csv"], "gone.csv: no such"),
        (
            ["--reference", "{ref}", "--estimated", "{est}", "--baselines"],
            "give --reference with --estimated or --baselines",
        ),
        (["--reference", "{ref}", "--estimated", "{est}", "--collar", "-1"], "collar_seconds"),
        (["--reference", "{est}", "--estimated", "{ref}"], "'c'"),
        (["--reference", "{ref}", "--estimated", "{est}", "--classes", "{classes}"], "'Bus' is not in the class list"),
        (["nowhere", "--reference", "{ref}"], "or a run folder instead"),
        (["nowhere"], "no such run folder"),
        (["--reference", "{ref}", "--estimated", "{est}", "--json", "{ref}"], "--overwrite"),
        (["--reference", "{ref}", "--estimated", "{est}", "--bootstrap", "-5"], "numbers of 0 or more"),
        (["--reference", "{ref}", "--estimated", "{est}", "--bootstrap", "5", "--seed", "-1"], "--seed: expected"),
        (["nowhere", "--classes", "{classes}"], "--classes goes with label files"),
        (["nowhere", "--tags"], "--tags goes with label files"),
        (["--reference", "{ref}", "--estimated", "{est}", "--threshold-free"], "--threshold-free goes with a run"),
        (["--reference", "{ref}", "--estimated", "{est}", "--one-class", "Car"], "goes with --baselines"),
        (["--reference", "{ref}", "--baselines", "--min-score", "0"], "--min-score goes with --estimated"),
        (["--reference", "{ref}", "--estimated", "{est}", "--min-score", "0"], "est.txt, line 1: no score"),
        (
            ["--reference", "{ref}", "--estimated", "{est}", "--clip-seconds", "1"],
            "begins at 1 s, after --clip-seconds 1",
        ),
        (["--reference", "{ref}", "--estimated", "{est}", "--input-format", "raven"], "asked for is raven"),
        (["--reference", "{splits}", "--estimated", "{splits}"], "has a column of splits"),
        (["--reference", "{ref}", "--baselines", "--clip-seconds", "0"], "expected a length above 0"),
        (
            ["--reference", "{ref}", "--baselines", "--tags-reference", "{tags}"],
            "recording 'a' is only in this list or in the reference",
        ),
    ],
)
def test_wrong_arguments_give_one_line(capsys, files, arguments, message):
    paths = {
        "ref": files("ref.txt", REFERENCE),
        "est": files("est.txt", ESTIMATED),
        "classes": files("classes.txt", "Car\n"),
        "splits": files("splits.csv", "filename,label,split\na.wav,Car,train\n"),
        "tags": files("tags.tsv", "filename\tevent_label\nz.wav\tCar\n"),
    }
    code, out, err = run(capsys, *(argument.format(**paths) for argument in arguments))
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_classes_are_the_tasks_where_all_labels_are():
    assert len(class_list({"a": ["Car"]})) == 17
    assert class_list({"a": ["Car", "dog"]}) == ("Car", "dog")
