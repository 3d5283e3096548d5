"""Figures: they draw the values that they are given, for every reader, at every size."""

import matplotlib
import numpy as np
import pytest
from helpers import TINY

from crnn_weak import paper
from crnn_weak.config import FeatureConfig
from crnn_weak.errors import DataError, LabelError
from crnn_weak.figures import clip, results, style
from crnn_weak.labels.events import Event
from crnn_weak.runs.table import Result, ResultsTable

CLASSES = ("bell", "drill", "rain")


@pytest.fixture
def ax():
    return style.new_figure(5, 3)[1][0]


def draw_roll(ax, label="bell", classes=CLASSES):
    clip.plot_event_roll([Event(0, 1, label)], None, classes=classes, clip_seconds=2.0, ax=ax)


def test_log_mel_has_seconds_on_x_and_hertz_at_its_bands_on_y(ax):
    librosa = pytest.importorskip("librosa")
    features = FeatureConfig()
    clip.plot_log_mel(np.zeros((100, 40)), features=features, ax=ax)
    assert ax.images[0].get_extent() == [0.0, pytest.approx(2.0), -0.5, 39.5]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("time / s", "frequency / Hz")
    assert [label.get_text() for label in ax.get_yticklabels()] == ["200", "500", "1k", "2k", "5k", "10k"]
    centers = librosa.mel_frequencies(42, fmin=features.fmin_hz, fmax=features.fmax_hz)[1:-1]
    drawn = np.interp(ax.get_yticks(), np.arange(40), centers)
    assert drawn == pytest.approx([200, 500, 1000, 2000, 5000, 10_000], rel=0.01)
    with pytest.raises(DataError, match=r"log_mel: expected an array of shape \(20, 40\), received \(20, 41\)"):
        clip.plot_log_mel(np.zeros((20, 41)), features=features, ax=ax)


def test_padded_frames_do_not_take_the_range_of_the_picture(ax):
    def floor(log_mel):
        clip.plot_log_mel(log_mel, features=TINY, ax=ax)
        return ax.images[-1].get_clim()[0]

    log_mel = np.random.default_rng(0).normal(-5.0, 1.0, (100, 8))
    padded = np.concatenate([log_mel, np.full((60, 8), np.log(1e-8))])
    assert floor(padded) == pytest.approx(floor(log_mel), abs=3.0)
    assert floor(np.full((4, 8), -18.0)) == -1.0  # silence divides nothing by zero


def test_event_roll_draws_truth_above_estimate_and_the_first_class_on_top(ax):
    clip.plot_event_roll(
        [Event(0.5, 1.5, "drill"), Event(1.0, 1.0, "rain")], [Event(0.4, 1.0, "drill")],
        classes=CLASSES, clip_seconds=2.0, ax=ax,
    )  # fmt: skip
    truth, point, found = (patch for patch in ax.patches if patch.get_zorder() == 2)
    assert (truth.get_x(), truth.get_width()) == (0.5, 1.0)
    assert point.get_width() > 0  # a zero-length event is seen
    bottom, top = ax.get_ylim()
    assert bottom > top  # y runs downwards: row 0 is on top
    assert [label.get_text() for label in ax.get_yticklabels()] == list(CLASSES)
    assert truth.get_y() + truth.get_height() <= found.get_y()  # the truth's lane ends above the estimate's
    assert 0.5 < truth.get_y() < found.get_y() + found.get_height() < 1.5  # both in the lane of class 1
    with pytest.raises(LabelError, match="Did you mean 'drill'"):
        draw_roll(ax, "dril")


def test_scores_are_steps_with_their_thresholds(ax):
    strong = np.zeros((4, 3))
    strong[1:3, 1] = 1.0
    shown = {"thresholds": {"drill": (0.25, 0.1)}, "weak": [0.1, 0.9, 0.3]}
    clip.plot_scores(strong, classes=CLASSES, hop_seconds=0.5, ax=ax, **shown)
    lines = [line for line in ax.lines if line.get_drawstyle() == "steps-post"]
    assert len(lines) == 3
    x, y = lines[1].get_data()
    assert x.tolist() == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert y[0] - y[1] == pytest.approx(0.78)  # full height
    dashed = [line.get_ydata()[0] for line in ax.lines if line not in lines]
    assert dashed == pytest.approx([0.01, 1.205, 1.322, 2.01])  # 0.5 without another threshold
    assert labels(ax) == ["threshold", "event continues above"]
    assert [text.get_text() for text in ax.texts] == ["0.10", "0.90", "0.30"]


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_saliency_has_three_panels_on_one_scale_each(sign):
    _, axes = style.new_figure(6, 5, n_rows=3, share_x=True)
    maps = np.abs(np.random.default_rng(0).normal(size=(20, 8)))
    maps[0] *= sign
    clip.plot_saliency(
        maps, np.zeros((20, 8)), np.zeros((20, 8)), features=TINY, axes=axes, label="bell",
        reference=[Event(0.5, 1.0, "bell"), Event(0.0, 1.0, "rain")],
    )  # fmt: skip
    strong, weak, log_mel = (ax.images[0] for ax in axes)
    low, high = strong.get_clim()
    assert low == (0 if sign > 0 else -high)  # signed maps are centered on zero
    assert weak.get_clim() == (0, 1)
    assert log_mel.get_array().shape == (8, 20)
    assert len(axes[0].lines) == 3  # the bar above the picture, onset and offset; only the class that is named


def test_a_clip_shows_the_classes_of_its_events_and_the_likeliest_others():
    classes = tuple(f"class {k}" for k in range(12))
    strong = np.zeros((20, 12))
    strong[:, 11] = 0.4
    shared = {"features": TINY, "classes": classes, "thresholds": {}, "reference": [Event(0, 1, "class 1")]}
    figure = clip.clip_figure(np.zeros((20, 8)), strong, strong[0], **shared)
    assert [label.get_text() for label in figure.axes[1].get_yticklabels()] == ["class 1", "class 11"]
    assert [ax.get_xlabel() for ax in figure.axes] == ["", "", "time / s"]
    figure.draw_without_rendering()
    ((left, right),) = {tuple(ax.get_position().intervalx) for ax in figure.axes}  # one place in time for all panels
    assert 0.05 < left < right < 1.0
    everything = [Event(0, 1, name) for name in classes]
    figure = clip.clip_figure(np.zeros((20, 8)), strong, strong[0], estimated=everything, **shared)
    shown = [label.get_text() for label in figure.axes[2].get_yticklabels()]
    assert shown == ["class 0", *(f"class {k}" for k in range(1, 7)), "class 11"]  # eight at most, the true one too


def test_bars_of_classes_write_a_dash_for_undefined_values():
    (ax,) = results.class_figure({"tagging": [50.0, float("nan"), 0.0]}, CLASSES).axes
    assert [bar.get_width() for bar in ax.patches] == [50.0, 0.0, 0.0]
    assert [text.get_text() for text in ax.texts] == ["50", "–", "0"]


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_training_curves_mark_the_best_epoch_and_those_of_settings_are_ordered_by_ratio():
    columns = ("strong_loss", "weak_loss", "val_strong_loss", "val_weak_loss")
    history = {"epoch": [1, 2, 3], **{name: [0.5, 0.3, 0.4] for name in columns}}
    axes = results.training_figure(history, 2).axes
    assert [labels(ax) for ax in axes] == [["training", "validation"]] * 2
    assert [line.get_xydata().tolist() for line in axes[0].lines if line.get_marker() == "o"] == [[[2.0, 0.3]]]
    history = {"epoch": [1], "val_strong_loss": [0.5], "val_weak_loss": [0.4]}
    figure = results.setting_figure({(1, 0.0): history, (0.02, 1): history, (1, 1): history})
    assert labels(figure.axes[1]) == ["0.02 : 1", "1 : 1", "1 : 0"]


def table_of(values):
    lines = [
        Result("x", *setting, seed, output, metric, value, 10, "")
        for (setting, output, metric), seeds in values.items()
        for seed, value in enumerate(seeds)
    ]
    return ResultsTable(lines)


def test_loss_weights_have_means_deviations_and_the_paper():
    setting = (1.0, 1.0)
    values = {(setting, "segment", "f_score"): [0.40, 0.44], (setting, "tagging", "f_score"): [0.30]}
    table = table_of({**values, (setting, "segment", "error_rate"): [float("nan")]})
    f_scores, error_rates = results.loss_weight_figure(table).axes
    assert labels(f_scores) == ["tag F, paper", "SED F, paper", "tag F, here", "SED F, here"]
    assert labels(error_rates) == ["SED ER, paper", "nothing detected"]  # the undefined error rate is omitted
    _, detection = f_scores.containers
    assert list(detection.lines[0].get_data()[1]) == pytest.approx([42.0])
    (bars,) = detection.lines[2]
    (low, high) = bars.get_segments()[0][:, 1]
    assert (high - low) / 2 == pytest.approx(np.std([40, 44], ddof=1))
    published = [list(line.get_ydata()) for line in f_scores.lines if line.get_label() == "SED F, paper"]
    assert published == [[row.segment_f for row in paper.RESULTS]]
    # A loss weight of zero stands beyond the others.
    table = table_of({(setting, "segment", "f_score"): [0.01] for setting in ((1.0, 0.0), (0.0, 1.0), (1.0, 1.0))})
    (drawn,) = results.loss_weight_figure(table).axes[0].containers
    assert list(drawn.lines[0].get_data()[0]) == pytest.approx([0.0002, 1.0, 5000.0])


def test_the_tradeoff_numbers_its_points_and_names_them_in_the_legend():
    points = {f"entry {k}": {"tagging": (k, k - 1, k + 1), "segment": (k, k, k)} for k in range(9)}
    figure = results.tradeoff_figure(points, curves=[["entry 0", "entry 1"]])
    (ax,) = figure.axes
    assert {text.get_text(): text.get_position() for text in ax.texts} == {str(9 - k): (k, k) for k in range(2, 9)}
    assert labels(ax) == ["entry, 0 to 1", *(f"{9 - k}  entry {k}" for k in range(8, 1, -1))]


def test_names_are_text_in_one_line_and_never_mathematics(ax, tmp_path):
    nasty = ("a $x_$ b", "c\x1b[31m\nd", "e" * 100)
    draw_roll(ax, nasty[1], nasty)
    style.save_figure(ax.figure, tmp_path / "nasty")
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a $x_$ b", "c\\x1b[31m\\nd", "e" * 31 + "…"]
    assert not any(label.get_parse_math() for label in ax.get_yticklabels())


def test_a_matplotlibrc_changes_no_figure_and_figures_leave_it_and_pyplot_alone(tmp_path):
    saved = []
    for settings in ({}, {"text.usetex": True, "font.size": 30, "axes.facecolor": "red", "savefig.bbox": "tight"}):
        with matplotlib.rc_context(settings):
            before = dict(matplotlib.rcParams)
            axes = style.new_figure(5, 3)[1][0]
            draw_roll(axes)
            (path,) = style.save_figure(axes.figure, tmp_path / "a", formats=("png",))
            saved.append(path.read_bytes())
            assert dict(matplotlib.rcParams) == before
    assert saved[0] == saved[1]
    assert not hasattr(axes.figure, "number")  # pyplot numbers the figures it keeps


def test_save_figure_writes_png_and_pdf_whole_and_the_same_twice(ax, tmp_path):
    draw_roll(ax)
    paths = style.save_figure(ax.figure, tmp_path / "new" / "v1.5")
    assert [path.name for path in paths] == ["v1.5.png", "v1.5.pdf"]  # the dot of the name is not an extension
    before = [path.read_bytes() for path in paths]
    style.save_figure(ax.figure, tmp_path / "new" / "v1.5.png")
    assert [path.read_bytes() for path in paths] == before
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["v1.5.pdf", "v1.5.png"]
