"""``crnn-weak evaluate`` on label files: what a user types, what is printed, what is refused."""

import csv
import io
import json

import pytest

from crnn_weak.cli import main
from crnn_weak.labels.reading import class_list

WEAK = "abc_30.000_40.000.wav\t30.000\t40.000\tCar\nxyz_0.000_10.000.wav\t0.000\t10.000\tAir horn, truck horn\n"
STRONG = "abc_30.000_40.000.wav\t0.5\t4.2\tCar\nxyz_0.000_10.000.wav\t0\t0\tAir horn, truck horn\n"
REFERENCE = "a.wav\t0.0\t4.0\tCar\nb.wav\t1.0\t3.0\tBus\nc.wav\t0\t0\tCar\n"
ESTIMATED = "a.wav\t0.05\t4.0\tCar\nb.wav\t1.0\t3.0\tCar\n"


@pytest.fixture
def files(tmp_path):
    """Return a function that writes a file and returns its path."""

    def write(name, text):
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


@pytest.fixture
def pair(files):
    return ["--reference", files("ref.txt", REFERENCE), "--estimated", files("est.txt", ESTIMATED)]


def run(capsys, *arguments):
    code = main(["evaluate", *map(str, arguments)])
    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    return out


def as_json(capsys, *arguments):
    return json.loads(run(capsys, *arguments, "--format", "json"))


def test_the_baselines(capsys, task4_metadata):
    out = run(
        capsys, "--baselines",
        "--reference", task4_metadata / "groundtruth_strong_label_testing_set.csv",
        "--tags-reference", task4_metadata / "groundtruth_weak_label_testing_set.csv",
    )  # fmt: skip
    rows = {line.rsplit(maxsplit=5)[0].strip(): line.rsplit(maxsplit=5)[1:4] for line in out.splitlines()[2:]}
    assert rows["nothing"] == ["0.00", "1.000", "0.00"]
    assert rows["true tags, whole clip"] == ["100.00", "0.388", "83.75"]
    assert rows["Car everywhere"][0] == "10.97"
    assert len(class_list({"a": ["Car"]})) == 17  # the task's, where all labels are
    assert class_list({"a": ["Car", "dog"]}) == ("Car", "dog")
    assert rows["true events, rotated"] == ["-", "0.235", "88.06"]


@pytest.mark.parametrize("text", ["filename\tonset\toffset\tevent_label\n", "a.wav\t0\t0\tCar\n", ""])
def test_baselines_of_a_reference_without_events_are_dashes(capsys, files, text):
    out = run(capsys, "--baselines", "--events", "--drop-zero-length", "--reference", files("empty.tsv", text))
    rows = [line.split() for line in out.splitlines() if line.startswith(("nothing", "true tags"))]
    assert [row[-4:] for row in rows] == [["-"] * 4] * 2


@pytest.mark.parametrize(("estimated", "options"), [(WEAK, []), (STRONG, ["--tags"])])
def test_weak_files_are_scored_as_tags(capsys, files, estimated, options):
    found = as_json(capsys, "--reference", files("a", WEAK), "--estimated", files("b", estimated), *options)
    assert found["tagging"]["f_score"] == 1.0
    assert "segment" not in found
    # Labels of the estimate alone count as errors.
    pair = ["--reference", files("a", WEAK), "--estimated", files("b", WEAK + "abc_30.000_40.000.wav\t30\t40\tCat\n")]
    found = as_json(capsys, *pair)
    assert found["tagging"]["precision"] == pytest.approx(2 / 3)
    assert "1 label(s) occur only in the estimate" in found["notes"][0]


def test_json_csv_and_text_agree_and_say_what_was_read(capsys, pair):
    found = as_json(capsys, *pair)
    assert found["segment"]["error_rate"] == pytest.approx(2 / 6)
    assert "error rate 0.333" in " ".join(run(capsys, *pair).split())
    assert "Bus" in run(capsys, *pair, "--class-wise")
    text = run(capsys, *pair, "--format", "csv", "--class-wise", "--bootstrap", "50")
    rows = {(row["output"], row["label"], row["metric"]): row for row in csv.DictReader(io.StringIO(text))}
    row = rows["segment", "", "f_score"]
    assert float(row["low"]) <= float(row["value"]) <= float(row["high"])
    assert rows["segment", "Bus", "f_score"]["value"] == "0"
    # Zero-length rows are named and can be dropped.
    assert "1 zero-length rows" in run(capsys, *pair)
    found = as_json(capsys, *pair, "--drop-zero-length")
    assert found["event"]["n_reference"] == 2
    assert found["segment"]["n_clips"] == 3  # the clip stays, with its false alarms
    # Lengths and collars are used, and what ends later is said.
    found = as_json(capsys, *pair, "--segment-seconds", "0.5", "--collar", "0.04", "--clip-seconds", "2")
    assert found["segment"]["n_reference"] == 4 + 2
    assert found["event_onset"]["n_correct"] == 0
    for name in ("ref.txt", "est.txt"):
        assert any(f"{name}: 2 events end after --clip-seconds 2" in note for note in found["notes"])


def test_controls_need_a_length(capsys, pair):
    found = as_json(capsys, *pair)
    assert "no controls for time: rotation needs a length, --clip-seconds S or --block-seconds S" in found["notes"]
    assert "controls" not in found
    # a: Car 4 of 5 segments in both; b: Bus 2 in the reference, Car 2 in the estimate; c: nothing
    found = as_json(capsys, *pair, "--clip-seconds", "5")["controls"]
    assert found["estimate"]["segment/f_score"] == pytest.approx(2 * 4 / (6 + 6))
    assert found["rotated"]["segment/f_score"] == pytest.approx(2 * 4 * 4 / 5 / (6 + 6))
    assert found["timing gain"]["segment/f_score"] == pytest.approx(2 * 4 / 12 - 2 * 3.2 / 12)
    assert found["own classes, whole clip"]["segment/f_score"] == pytest.approx(2 * 4 / (6 + 10))
    assert list(found)[4:] == ["nothing", "true tags, whole clip", "Car everywhere"]
    assert "own classes, whole clip" in run(capsys, *pair, "--clip-seconds", "5", "--format", "csv")
    # Of recordings, in blocks: of 4 s, and of one that keeps every segment in its place.
    for seconds, f_score in ((4, 1.0), (1, 1.0)):
        found = as_json(capsys, "--reference", pair[1], "--estimated", pair[1], "--block-seconds", seconds)["controls"]
        assert found["estimate"]["segment/f_score"] == f_score
        assert (found["rotated"]["segment/f_score"] == 1.0) == (seconds == 1)
        assert "nothing" not in found


def test_scores_of_an_estimate_are_said_and_filter(capsys, files):
    estimated = files("est.csv", "filename,onset,offset,label,score\na.wav,0,4,Car,0.9\na.wav,0,4,Bus,0.0\n")
    pair = ["--reference", files("ref.csv", "filename,onset,offset,label\na.wav,0,4,Car\n"), "--estimated", estimated]
    assert "est.csv has scores from 0 to 0.9: every row counts; --min-score S drops" in run(capsys, *pair)
    found = as_json(capsys, *pair, "--min-score", "0.1", "--clip-seconds", "4")
    assert (found["notes"], found["segment"]["f_score"]) == ([], 1.0)


def test_folders_of_tracks_and_lists_without_file_names(capsys, files, tmp_path):
    for name in ("truth", "guess"):
        (tmp_path / name).mkdir()
        files(f"{name}/y.wav.txt", "0.0\t2.0\tCar\n")
        files(f"{name}/z.txt", "")
    truth, guess = tmp_path / "truth", tmp_path / "guess"
    found = as_json(capsys, "--reference", truth, "--estimated", guess)
    assert (found["segment"]["n_clips"], found["segment"]["f_score"]) == (2, 1.0)
    found = as_json(capsys, "--reference", truth / "y.wav.txt", "--estimated", guess / "z.txt")
    assert found["segment"]["n_clips"] == 1


def test_the_organizers_y_is_stripped(capsys, files):
    pair = ["--reference", files("a", WEAK), "--estimated", files("b", "Y-------abcd_0.000_10.000.wav\tCar\n")]
    files("a", "-------abcd_0.000_10.000.wav\tCar\n")
    assert as_json(capsys, *pair, "--strip-y")["tagging"]["f_score"] == 1.0


PAIR = ["--reference", "{ref}", "--estimated", "{est}"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "or a run folder instead"),
        (["--reference", "{ref}"], "give --reference with --estimated or --baselines"),
        (["--reference", "{ref}", "--estimated", "gone.csv"], "gone.csv: cannot be read (No such file"),
        ([*PAIR, "--baselines"], "give --reference with --estimated or --baselines"),
        ([*PAIR, "--collar", "-1"], "collar_seconds"),
        (["--reference", "{est}", "--estimated", "{ref}"], "'c'"),
        ([*PAIR, "--classes", "{classes}"], "'Bus' is not in the class list"),
        (["nowhere", "--reference", "{ref}"], "or a run folder instead"),
        (["nowhere"], "no such run folder"),
        ([*PAIR, "--bootstrap", "-5"], "numbers of 0 or more"),
        ([*PAIR, "--bootstrap", "5", "--seed", "-1"], "--seed: expected"),
        (["nowhere", "--classes", "{classes}"], "--classes goes with label files"),
        ([*PAIR, "--threshold-free"], "--threshold-free goes with a run"),
        (["--reference", "{ref}", "--baselines", "--min-score", "0"], "--min-score goes with --estimated"),
        ([*PAIR, "--min-score", "0"], "est.txt, line 1: no score"),
        ([*PAIR, "--clip-seconds", "1"], "begins at 1 s, after --clip-seconds 1"),
        ([*PAIR, "--block-seconds", "0"], "--block-seconds 0: expected a length above 0"),
        ([*PAIR, "--tags", "--block-seconds", "9"], "--block-seconds goes with events"),
        (["--reference", "{ref}", "--baselines", "--clip-seconds", "0"], "expected a length above 0"),
        (["--reference", "{ref}", "--baselines", "--tags-reference", "{tags}"], "'a' is only in this list or in"),
        (["--reference", "{strong}", "--estimated", "{weak}"], "holds tags, the other file events"),
        (["--reference", "{weak}", "--estimated", "{weak}", "--events"], "--tags"),
        (["--reference", "{unclear}", "--estimated", "{strong}"], "--events or --tags"),
    ],
)
def test_wrong_arguments_give_one_line(refused, files, arguments, message):
    paths = {
        "ref": files("ref.txt", REFERENCE),
        "est": files("est.txt", ESTIMATED),
        "classes": files("classes.txt", "Car\n"),
        "tags": files("tags.tsv", "filename\tevent_label\nz.wav\tCar\n"),
        "weak": files("weak.txt", WEAK),
        "strong": files("strong.txt", STRONG),
        "unclear": files("unclear.txt", "xyz_0.000_10.000.wav\t0.000\t10.000\tCar\n"),
    }
    assert message in refused("evaluate", *(argument.format(**paths) for argument in arguments))
