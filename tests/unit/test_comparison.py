"""Designs of comparisons, tuning, and intervals, worked by hand."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from crnn_weak.config import preset
from crnn_weak.detection.postprocessing import OperatingPoint
from crnn_weak.detection.scores import Scores
from crnn_weak.errors import ConfigError, DataError, RunError
from crnn_weak.experiments.beyond import write_tables
from crnn_weak.labels.events import Event
from crnn_weak.runs import scores as scoring

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"
DESIGN = """
seeds = [0, 3]

[data.street]
preset = "quick"

[data.other]
preset = "quick"
training.epochs = 7

[entries.max]
model.weak_head = "max"
augmentation = { mixup = 0.3, time_shift = true }

[entries.more]
base = "max"
augmentation.mixup = 0.5

[entries.taught]
base = "more"
teacher = "max"
targets.strong = "self_training"

[entries.tuned]
start = "street/max"
data = ["other"]

[entries."tuned, frozen"]
base = "tuned"
training.freeze = ["conv_*"]
"""


def design_of(tmp_path, text=DESIGN):
    path = tmp_path / "design.toml"
    path.write_text(text)
    return scoring.read_design(path)


def test_an_entry_lays_its_settings_over_those_of_its_base_and_of_the_data(tmp_path):
    design = design_of(tmp_path)
    config = design.config("other", "more", 3)
    assert (config.model.weak_head, config.augmentation.mixup, config.augmentation.time_shift) == ("max", 0.5, True)
    assert (config.training.epochs, config.training.seed) == (7, 3)
    assert design.config("street", "taught", 0, teacher="a.keras").targets.teacher == "a.keras"
    assert design.data_of("tuned, frozen") == ["other"]
    assert design.groups() == [["max", "more"], ["taught", "tuned", "tuned, frozen"]]  # after the models they need


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('weak_head = "max"', 'weak_head = "maxx"', "entries.max: model.weak_head = 'maxx' is not known"),
        ("augmentation.mixup = 0.5", "augmentation.mixpu = 0.5", "Did you mean 'mixup'"),
        ('base = "max"', 'base = "mex"', "Did you mean 'max'"),
        ('base = "max"', 'base = "taught"', "'taught' is not known"),
        ('teacher = "max"', 'teacher = "taught"', "entries.taught.teacher: 'taught' is not known"),
        ('"street/max"', '"steet/max"', "Did you mean 'street/max'"),
        ('data = ["other"]', 'data = ["othr"]', "Did you mean 'other'"),
        ("seeds = [0, 3]", 'curves = [["mx"]]', "'mx' is not known"),
        ("seeds", "sedes", "sedes"),
    ],
)
def test_a_design_that_leads_nowhere_is_one_clear_line(tmp_path, old, new, message):
    with pytest.raises(ConfigError, match=message) as error:
        design_of(tmp_path, DESIGN.replace(old, new, 1))
    assert "design.toml" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_run_is_named_by_what_it_is_not_by_where_its_files_are(tmp_path):
    design = design_of(tmp_path, DESIGN.replace('preset = "quick"', 'preset = "quick"\ndata.source = "scenes"', 1))
    here, there = (design.config("street", "taught", 0, teacher=name) for name in ("a.keras", "b/c.keras"))
    moved = dataclasses.replace(there, data=dataclasses.replace(there.data, root="/moved"))
    assert scoring.run_name(here) == scoring.run_name(moved)
    assert scoring.run_name(here) != scoring.run_name(design.config("street", "taught", 3, teacher="a.keras"))
    assert scoring.run_name(here) != scoring.run_name(design.config("street", "more", 0))


def score(*counts):
    return scoring.RunScore({"tagging": [list(one) for one in counts]}, {"tagging": 0.25}, {"tagging": 0.5}, {}, {})


def test_intervals_of_one_seed_cover_clips_and_differences_are_paired():
    rng = np.random.default_rng(0)
    clips = [(4, 4, int(c)) for c in rng.integers(0, 4, size=300)]
    better = [(4, 4, c + 1) for *_, c in clips]
    entries = {"base": {0: score(*clips)}, "better": {0: score(*better)}}
    found = scoring.compare(entries, baselines={"tagging": "base"})
    base, other = found["base"]["tagging"], found["better"]["tagging"]
    spread = np.std([c / 4 for *_, c in clips]) / np.sqrt(300)  # F is the mean of the clips' shares here
    assert base.high - base.low == pytest.approx(2 * 1.96 * spread, rel=0.15)
    assert other[3:] == pytest.approx((0.25, 0.25, 0.25))  # the same clips are drawn


def test_intervals_over_seeds_are_students():
    seeds = {seed: score(*[(10, 10, correct)] * 20) for seed, correct in enumerate((4, 5, 6))}
    found = scoring.compare({"three": seeds}, baselines={})["three"]["tagging"]
    assert found[:3] == pytest.approx((0.5, 0.5 - 4.3027 * 0.1 / 3**0.5, 0.5 + 4.3027 * 0.1 / 3**0.5), rel=1e-4)


def test_a_difference_is_one_of_the_seeds_that_both_have():
    base = {seed: score(*[(4, 4, seed)] * 20) for seed in (0, 1, 2)}
    better = {seed: score(*[(4, 4, seed + 1)] * 20) for seed in (2, 1)}  # in another order
    entries = {"base": base, "better": better, "other": {7: score(*[(4, 4, 4)] * 20)}}
    found = scoring.compare(entries, baselines={"tagging": "base"})
    assert found["better"]["tagging"].mean == pytest.approx(2.5 / 4)
    assert found["better"]["tagging"][3:] == pytest.approx((0.25, 0.25, 0.25))
    assert np.isnan(found["other"]["tagging"].difference)


def test_the_table_and_the_values_say_the_same_and_runs_of_other_clips_are_refused():
    entries = {"base": {0: score(*[(1, 1, 1)] * 3)}, "new": {0: score(*[(2, 2, 1)] * 3)}}
    found = scoring.compare(entries, baselines={"tagging": "base"})
    text = scoring.comparison_markdown(found, entries, {"tagging": "base"}, "clips of a test", 10)
    cells = (
        "clips of a test", "| new | 1 | 50.0 [50.0, 50.0] (-50.0: -50.0, -50.0) | 25.0 |",
        "| 100.0 [100.0, 100.0] | 25.0 |",
    )  # fmt: skip
    assert [cell for cell in cells if cell not in text] == []
    values = scoring.comparison_csv(found, entries)
    assert "new,1,tagging,0.50000,0.50000,0.50000,-0.50000,-0.50000,-0.50000,0.25000" in values
    with pytest.raises(DataError, match="new: scored on other test clips"):
        scoring.compare(entries | {"new": {0: score(*[(1, 1, 1)] * 4)}}, baselines={})


def scored_clips(weak, strong, events):
    """Return one run with one class, clips of 10 s, 10 frames each."""
    ids = tuple(f"clip {n}" for n in range(len(weak)))
    scores = Scores(ids, ("dog",), 1.0, np.array(strong, np.float32)[:, :, None], np.array(weak, np.float32)[:, None])
    run = SimpleNamespace(config=preset("quick"))
    truth = {clip: tuple(Event(*times, "dog") for times in one) for clip, one in zip(ids, events, strict=True)}
    tags = {clip: ("dog",) if one else () for clip, one in truth.items()}
    return scoring.ScoredRun(run, scores, tags, truth, "")


BARK = [0.1, 0.1, 0.6, 0.6, 0.6, 0.1, 0.1, 0.1, 0.1, 0.1]
START = OperatingPoint.from_config(preset("quick").operating_point, ("dog",))
WIND = [0.1, 0.9, 0.9, 0.9, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]  # louder, but of a clip without the tag
# No gate separates these two; a threshold that is low enough for the whole event also detects the other clip.
LONG = [0.1, 0.1, 0.3, 0.8, 0.8, 0.3, 0.3, 0.1, 0.1, 0.1]
SHORT = [0.1, 0.1, 0.3, 0.3, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]


@pytest.mark.parametrize(
    ("weak", "strong", "event", "name", "counted", "gated"),
    [
        ([0.7, 0.1], [BARK, WIND], (2.0, 5.0), "segment", 3, True),
        ([0.7, 0.1], [BARK, WIND], (2.0, 5.0), "event", 1, True),
        ([0.7, 0.7], [LONG, SHORT], (2.0, 7.0), "event", 1, False),
        ([0.7], [BARK], (2.0, 5.0), "event", 1, False),  # of equals, the simpler
    ],
)
def test_gate_and_hysteresis_are_chosen_where_they_help_on_validation_clips(weak, strong, event, name, counted, gated):
    clips = scored_clips(weak, strong, [[event], []][: len(weak)])
    tuned = scoring.tuned_point(clips, name, START)
    assert scoring.count_clips(clips, name, tuned).tolist() == [[counted] * 3, [0, 0, 0]][: len(weak)]
    assert tuned.weak_gate == gated
    if LONG in strong:
        assert 0 < tuned.low_thresholds[0] < 0.3


def test_a_gate_of_the_run_is_searched_and_not_kept_and_tags_need_no_strong_labels():
    clip = scored_clips([0.05], [BARK], [[(2.0, 5.0)]])
    gated = dataclasses.replace(preset("quick").operating_point, weak_gate=True, low_threshold=0.3)
    clip.run.config = dataclasses.replace(clip.run.config, operating_point=gated)
    score = scoring.tune_and_count(clip, clip)
    assert score.counts["event"] == [[1, 1, 1]]
    # 3 of 10 segments: rotated 3 * 3 / 10 are right on average
    assert score.counts["segment_rotated"] == [[3, 3, 0.9]]
    assert score.counts["segment_whole_clip"] == [[3, 10, 3]]
    estimates = scoring.compare({"own": {0: score}}, baselines={})
    assert estimates["own"]["timing_gain"].mean == pytest.approx(1 - 0.3)
    text = scoring.comparison_markdown(estimates, {"own": {0: score}}, {}, "made", 10)
    assert "| timing gain |" in text
    assert "True tags over the whole clip: SED F 46.2." in text  # 2 * 3 / (3 + 10)
    assert (score.gates, score.low_thresholds, score.untuned["event"]) == ({}, {}, 0.0)
    assert list(scoring.tune_and_count(dataclasses.replace(clip, known_events={}), clip).counts) == ["tagging"]


def test_scores_come_back_and_damaged_ones_are_refused(tmp_path):
    path, of_run = tmp_path / "scores.json.gz", tmp_path / "comparison.json"
    run = scoring.PublishedRun("max, frozen", 3, "0123456789ab", score([2, 1, 1], [0, 0, 0]))
    runs = scoring.PublishedRuns("of scenes", [run])
    scoring.write_scores(path, runs)
    assert scoring.read_scores(path) == runs
    assert scoring.read_scores(tmp_path / "none.json.gz").runs == []
    data = path.read_bytes()
    for damaged in (data[:-9], b"{}", data[:30] + b"?" + data[31:]):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"scores\.json\.gz"):
            scoring.read_scores(path)
    assert scoring.read_score(of_run) is None
    of_run.write_text('{"counts": {}, "untuned": {}, "thresholds": {}}')
    with pytest.raises(RunError, match=r"comparison\.json: .*Delete it"):
        scoring.read_score(of_run)


@pytest.mark.parametrize("name", ["beyond", "development", "fine_tuning"])
def test_the_published_tables_follow_from_the_published_scores(name, tmp_path):
    design, published = scoring.read_design(EXPERIMENTS / f"{name}.toml"), EXPERIMENTS / "results" / name
    assert design.seeds == ([0] if name == "development" else [0, 1, 2])  # the development set: one seed
    assert write_tables(design, tmp_path, published)
    for data in design.data:
        for file in ("table.md", "results.csv", "scores.json.gz"):
            assert (tmp_path / data / file).read_bytes() == (published / data / file).read_bytes(), f"{data}/{file}"
