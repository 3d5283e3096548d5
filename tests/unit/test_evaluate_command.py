"""``crnn-weak evaluate`` on label files: what a user types, what is printed, what is refused."""

import csv
import io
import json

import pytest

from crnn_weak.cli import main
from crnn_weak.labels.files import read_classes
from crnn_weak.labels.pair import class_list, file_kind

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
    assert rows["Car everywhere"][0] == "11.04"


@pytest.mark.parametrize("text", ["filename\tonset\toffset\tevent_label\n", "a.wav\t0\t0\tCar\n", ""])
def test_baselines_of_a_reference_without_events_are_dashes(capsys, files, text):
    code, out, err = run(
        capsys, "--baselines", "--events", "--drop-zero-length", "--reference", files("empty.tsv", text)
    )
    assert (code, err) == (0, "")
    rows = [line.split() for line in out.splitlines() if line.startswith(("nothing", "true tags"))]
    assert [row[-4:] for row in rows] == [["-"] * 4] * 2


def test_the_former_name_of_baselines_still_works(capsys, pair):
    _, new, _ = run(capsys, *pair[:2], "--baselines")
    _, old, _ = run(capsys, *pair[:2], "--yardsticks")
    assert old == new
    assert "sed_eval" in new


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


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (WEAK, "tags"),
        (STRONG, "events"),
        ("", "empty"),
        ("\n\n", "empty"),
        ("a.wav\tCar\n", "tags"),
        ("filename\tevent_label\na.wav\tCar\n", "tags"),
        ("filename\tonset\toffset\tevent_label\na.wav\t0.0\t1.0\tCar\n", "events"),
        ("0.5\t1.5\tCar\n", "events"),
        ("a.wav\n", "empty"),
        # both in one file, or nothing that tells: a user must say
        (WEAK + "abc_30.000_40.000.wav\t0.5\t4.2\tCar\n", "unclear"),
        ("xyz_0.000_10.000.wav\t0.000\t10.000\tCar\n", "unclear"),
        # a whole-clip event among others is one
        (STRONG + "xyz_0.000_10.000.wav\t0.000\t10.000\tCar\n", "events"),
        ('abc,30.000,40.000,"Car,Bus","/m/0k4j,/m/01bjv"\n', "tags"),
    ],
)
def test_kind_of_a_file(files, text, kind):
    assert file_kind(files("list.csv", text)) == kind


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


def test_lists_without_file_names_are_one_recording(capsys, files):
    truth, guess = files("truth.txt", "0.0\t2.0\tCar\n"), files("guess.txt", "0.0\t2.0\tCar\n")
    code, out, _ = run(capsys, "--reference", truth, "--estimated", guess)
    assert code == 0
    assert figure(out, "F-score") == 100.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to score"),
        (["--reference", "{ref}"], "--baseline NAME"),
        (["--reference", "{ref}", "--estimated", "gone.csv"], "gone.csv: no such"),
        (["--reference", "{ref}", "--estimated", "{est}", "--baselines"], "remove --estimated"),
        (["--reference", "{ref}", "--baseline", "tag"], "Did you mean 'tags'"),
        (["--reference", "{ref}", "--estimated", "{est}", "--collar", "-1"], "collar_seconds"),
        (["--reference", "{est}", "--estimated", "{ref}"], "'c'"),
        (["--reference", "{ref}", "--estimated", "{est}", "--classes", "{classes}"], "'Bus' is not in the class list"),
        (["nowhere", "--reference", "{ref}"], "not both"),
        (["nowhere"], "no such run folder"),
        (["--reference", "{ref}", "--estimated", "{est}", "--json", "{ref}"], "--overwrite"),
        (["--reference", "{ref}", "--estimated", "{est}", "--bootstrap", "-5"], "0 or more"),
        (["--reference", "{ref}", "--estimated", "{est}", "--bootstrap", "5", "--seed", "-1"], "--seed -1"),
        (["nowhere", "--classes", "{classes}"], "--classes goes with label files"),
        (["nowhere", "--tags"], "--tags goes with label files"),
        (["--reference", "{ref}", "--estimated", "{est}", "--threshold-free"], "--threshold-free goes with a run"),
        (["--reference", "{ref}", "--estimated", "{est}", "--one-class", "Car"], "goes with --baseline"),
        (["--reference", "{ref}", "--baselines", "--clip-seconds", "0"], "expected a length above 0"),
        (["--reference", "{ref}", "--baselines", "--tags-reference", "{tags}"], "'z' is not in the reference"),
    ],
)
def test_wrong_arguments_give_one_line(capsys, files, arguments, message):
    paths = {
        "ref": files("ref.txt", REFERENCE),
        "est": files("est.txt", ESTIMATED),
        "classes": files("classes.txt", "Car\n"),
        "tags": files("tags.tsv", "filename\tevent_label\nz.wav\tCar\n"),
    }
    code, out, err = run(capsys, *(argument.format(**paths) for argument in arguments))
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


# --- class lists ----------------------------------------------------------------------------------------------------


def test_class_list_of_the_organizers(task4_metadata):
    classes = read_classes(task4_metadata / "sound_event_list_17_classes.txt")
    assert len(classes) == 17
    assert classes[1] == "Air horn, truck horn"
    assert class_list({"a": ["Car"]}) == classes
    assert class_list({"a": ["Car", "dog"]}) == ("Car", "dog")


def test_class_lists_that_are_none(files):
    from crnn_weak.errors import DataError

    with pytest.raises(DataError, match="no class"):
        read_classes(files("empty.txt", "\n"))
    with pytest.raises(DataError, match="twice"):
        read_classes(files("twice.txt", "Car\nCar\n"))
