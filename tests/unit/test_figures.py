"""Figures: what is drawn is what was given, for every reader, at every size."""

import itertools
import subprocess
import sys
import typing

import numpy as np
import pytest
from helpers import TINY

from crnn_weak import figures, paper, preset
from crnn_weak.config import FeatureConfig, ModelConfig
from crnn_weak.errors import DataError, LabelError
from crnn_weak.figures.network import blocks_of_config, blocks_of_model
from crnn_weak.figures.style import hertz_ticks, relative_decibels
from crnn_weak.labels.classes import DCASE2017_TASK4
from crnn_weak.labels.events import Event
from crnn_weak.report.media import figure_svg
from crnn_weak.settings import hints_of

CLASSES = ("bell", "drill", "rain")


def one_axes(width=5, height=3):
    figure, (ax,) = figures.new_figure(width, height)
    return figure, ax


def test_importing_figures_imports_no_matplotlib():
    code = "import sys, crnn_weak.figures; print('matplotlib' in sys.modules, 'tensorflow' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.split() == ["False", "False"]


def test_figures_leave_pyplot_and_the_users_style_alone():
    import matplotlib

    before = dict(matplotlib.rcParams)
    figure, ax = one_axes()
    figures.plot_event_roll([Event(0, 1, "bell")], None, classes=CLASSES, clip_seconds=2.0, ax=ax)
    assert dict(matplotlib.rcParams) == before
    assert not hasattr(figure, "number")  # pyplot numbers the figures it keeps


def test_log_mel_has_seconds_on_x_and_hertz_on_y():
    _, ax = one_axes()
    image = figures.plot_log_mel(np.zeros((20, 8)), features=TINY, ax=ax)
    assert image.get_extent() == [0.0, pytest.approx(2.0), -0.5, 7.5]
    assert ax.get_xlim() == pytest.approx((0.0, 2.0))
    assert ax.get_xlabel() == "time / s"
    assert "Hz" in ax.get_ylabel()


def test_log_mel_of_other_bands_is_refused():
    _, ax = one_axes()
    with pytest.raises(DataError, match=r"log_mel: expected an array of shape \(any, 8\), received \(20, 9\)"):
        figures.plot_log_mel(np.zeros((20, 9)), features=TINY, ax=ax)


def test_hertz_ticks_stand_at_the_bands_of_their_frequency():
    librosa = pytest.importorskip("librosa")
    features = FeatureConfig()
    places, names = hertz_ticks(features)
    centers = librosa.mel_frequencies(features.n_mels + 2, fmin=features.fmin_hz, fmax=features.fmax_hz)[1:-1]
    for place, name in zip(places, names, strict=True):
        hertz = float(name.removesuffix("k")) * (1000 if name.endswith("k") else 1)
        assert np.interp(place, np.arange(features.n_mels), centers) == pytest.approx(hertz, rel=0.01)


def test_padded_frames_do_not_take_the_range_of_the_picture():
    log_mel = np.random.default_rng(0).normal(-5.0, 1.0, (100, 8))
    _, floor = relative_decibels(log_mel)
    log_mel[60:] = np.log(1e-8)
    _, padded = relative_decibels(log_mel)
    assert padded == pytest.approx(floor, abs=3.0)
    assert relative_decibels(np.full((4, 8), -18.0))[1] == -1.0  # silence divides nothing by zero


def test_event_roll_draws_truth_above_estimate_and_the_first_class_on_top():
    _, ax = one_axes()
    drawn = figures.plot_event_roll(
        [Event(0.5, 1.5, "drill"), Event(1.0, 1.0, "rain")], [Event(0.4, 1.0, "drill")],
        classes=CLASSES, clip_seconds=2.0, ax=ax,
    )  # fmt: skip
    truth, point = drawn["reference"]
    (found,) = drawn["estimated"]
    assert (truth.get_x(), truth.get_width()) == (0.5, 1.0)
    assert point.get_width() > 0  # a zero-length event is seen
    bottom, top = ax.get_ylim()
    assert bottom > top  # y runs downwards: row 0 is on top
    assert [label.get_text() for label in ax.get_yticklabels()] == list(CLASSES)
    assert truth.get_y() + truth.get_height() <= found.get_y()  # the truth's lane ends above the estimate's
    assert 0.5 < truth.get_y() < found.get_y() + found.get_height() < 1.5  # both in the lane of class 1


def test_event_of_an_unknown_class_is_refused():
    _, ax = one_axes()
    with pytest.raises(LabelError, match="Did you mean 'drill'"):
        figures.plot_event_roll([Event(0, 1, "dril")], None, classes=CLASSES, clip_seconds=2.0, ax=ax)


def test_scores_are_steps_with_their_thresholds():
    _, ax = one_axes()
    strong = np.zeros((4, 3))
    strong[1:3, 1] = 1.0
    lines = figures.plot_scores(
        strong, classes=CLASSES, hop_seconds=0.5, ax=ax, thresholds={"drill": 0.25}, weak=np.array([0.1, 0.9, 0.3])
    )
    assert len(lines) == 3
    x, y = lines[1].get_data()
    assert x.tolist() == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert y[0] - y[1] == pytest.approx(0.78)  # full height
    texts = {text.get_text(): text.get_fontweight() for text in ax.texts}
    assert texts["0.90"] == "bold"
    assert texts["0.10"] == "normal"


def test_class_wise_bars_write_a_dash_for_what_is_undefined():
    _, ax = one_axes()
    drawn = figures.plot_class_wise(
        {"tagging": [50.0, float("nan"), 0.0]}, classes=CLASSES, ax=ax, n_reference=[4, 0, 1200]
    )
    assert [bar.get_width() for bar in drawn["tagging"]] == [50.0, 0.0, 0.0]
    assert [text.get_text() for text in ax.texts] == ["50", "–", "0"]
    assert ax.get_yticklabels()[2].get_text() == "rain  (1,200)"


def test_training_curves_mark_the_best_epoch():
    _, axes = figures.new_figure(6, 3, n_columns=2)
    epochs = [1, 2, 3]
    history = {"epoch": epochs}
    for name in ("strong_loss", "weak_loss", "val_strong_loss", "val_weak_loss"):
        history[name] = [0.5, 0.3, 0.4]
    lines = figures.plot_training_curves(history, axes=axes, best_epoch=2)
    assert [line.get_label() for line in lines] == ["training", "validation"] * 2
    marked = [line.get_xydata().tolist() for line in axes[0].lines if line.get_marker() == "o"]
    assert marked == [[[2.0, 0.3]]]
    with pytest.raises(DataError, match="val_weak_loss"):
        figures.plot_training_curves({k: v for k, v in history.items() if k != "val_weak_loss"}, axes=axes)


def test_loss_weight_grid_draws_means_deviations_and_the_paper():
    _, axes = figures.new_figure(8, 4, n_columns=2)
    results = {(1.0, 1.0): {"segment_f": [40.0, 44.0], "tagging_f": 30.0, "error_rate": float("nan")}}
    drawn = figures.plot_loss_weight_grid(results, axes=axes)
    assert set(drawn) == {"segment_f", "tagging_f"}  # the undefined error rate is left out
    assert list(drawn["segment_f"].lines[0].get_data()[1]) == [42.0]
    (bars,) = drawn["segment_f"].lines[2]
    (low, high) = bars.get_segments()[0][:, 1]
    assert (high - low) / 2 == pytest.approx(np.std([40, 44], ddof=1))
    published = [list(line.get_ydata()) for line in axes[0].lines if line.get_label() == "detection F, paper"]
    assert published == [[row.segment_f for row in paper.RESULTS]]
    assert axes[0].get_xscale() == "log"


def test_loss_weight_grid_shows_a_weight_of_zero_beyond_the_others():
    _, axes = figures.new_figure(8, 4, n_columns=2)
    results = {setting: {"segment_f": 1.0} for setting in ((1.0, 0.0), (0.0, 1.0), (1.0, 1.0))}
    drawn = figures.plot_loss_weight_grid(results, axes=axes, show_paper=False)
    assert list(drawn["segment_f"].lines[0].get_data()[0]) == [0.1, 1.0, 10.0]


def test_co_occurrence_by_hand():
    truth = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0]], bool)
    guess = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1]], bool)
    shares = figures.co_occurrence(truth, guess)
    assert shares[0].tolist() == [0.5, 0.5, 0.0]  # drill in clip 1 is true and no confusion
    assert shares[1].tolist() == [0.0, 0.5, 0.5]
    assert np.isnan(shares[2]).all()
    assert figures.co_occurrence(truth, guess, false_only=False)[0].tolist() == [0.5, 1.0, 0.0]


def test_confusion_prints_the_shares():
    _, ax = one_axes(5, 5)
    shares = np.array([[1.0, 0.004, 0.0], [0.0, 0.256, 0.0], [np.nan] * 3])
    figures.plot_confusion(shares, classes=CLASSES, ax=ax)
    assert sorted(text.get_text() for text in ax.texts) == ["100", "26"]


def test_saliency_panels_share_time_and_mark_only_their_class():
    figure, axes = figures.new_figure(6, 5, n_rows=3, share_x=True)
    rng = np.random.default_rng(0)
    maps = rng.random((20, 8))
    images = figures.plot_saliency(
        maps, maps - 0.5, rng.normal(size=(20, 8)), features=TINY, axes=axes, label="bell",
        reference=[Event(0, 1, "bell"), Event(0, 2, "rain")], estimated=[Event(0.5, 1, "bell")],
    )  # fmt: skip
    assert len(images) == 3
    assert images[0].get_clim()[0] == 0.0
    low, high = images[1].get_clim()
    assert low == -high  # signed: centered on zero
    assert all(ax.get_xlim() == pytest.approx((0.0, 2.0)) for ax in axes)
    bars = [line for line in axes[0].lines if line.get_linewidth() == 3.0]
    assert [list(line.get_xdata()) for line in bars] == [[0, 1], [0.5, 1]]
    figure.draw_without_rendering()


@pytest.mark.parametrize(
    ("name", "head", "count"),
    [("paper", "max", 218_001), ("paper", "max_dense", 218_307), ("sibling", "max", 218_193),
     ("sibling", "max_dense", 218_499)],
)  # fmt: skip
def test_architecture_counts_by_arithmetic(name, head, count):
    import dataclasses

    model = dataclasses.replace(preset(name).model, weak_head=head)
    assert sum(block.n_weights for block in blocks_of_config(model)) == count


@pytest.mark.parametrize("head", typing.get_args(typing.get_args(hints_of(ModelConfig)["weak_head"])[0]))
def test_architecture_of_the_built_model_equals_that_of_its_configuration(head):
    import dataclasses

    from crnn_weak.model.crnn import build_model

    config = preset("quick")
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, weak_head=head))
    built = blocks_of_model(build_model(config))
    planned = blocks_of_config(config.model, n_frames=config.features.n_frames, n_mels=config.features.n_mels)
    assert [(b.kind, b.shape, b.n_weights) for b in built] == [(b.kind, b.shape, b.n_weights) for b in planned]
    _, ax = one_axes(8, 5)
    assert len(figures.draw_architecture(build_model(config), ax=ax)) == len(planned)


def test_architecture_writes_the_total():
    _, ax = one_axes(8, 5)
    figures.draw_architecture(ModelConfig(), ax=ax)
    assert "218,307" in [text.get_text() for text in ax.texts]


def test_save_figure_writes_png_and_pdf_whole_and_the_same_twice(tmp_path):
    figure, ax = one_axes()
    figures.plot_event_roll([Event(0, 1, "bell")], None, classes=CLASSES, clip_seconds=2.0, ax=ax)
    paths = figures.save_figure(figure, tmp_path / "new" / "v1.5")
    assert [path.name for path in paths] == ["v1.5.png", "v1.5.pdf"]  # the dot of the name is no extension
    before = [path.read_bytes() for path in paths]
    figures.save_figure(figure, tmp_path / "new" / "v1.5.png")
    assert [path.read_bytes() for path in paths] == before
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["v1.5.pdf", "v1.5.png"]


def test_svg_has_text_unique_ids_variables_and_no_markup_from_labels():
    figure, ax = one_axes()
    nasty = ("<script>alert(1)</script>", "a $x_$ b", 'quo"te')
    figures.plot_event_roll([Event(0, 1, nasty[0])], None, classes=nasty, clip_seconds=2.0, ax=ax)
    svg = figure_svg(figure, name="roll", label='a "label" <b>')
    assert "<script" not in svg
    assert "&lt;script&gt;" in svg
    assert "a $x_$ b" in svg
    assert "var(--truth)" in svg
    assert 'aria-label="a &quot;label&quot; &lt;b&gt;"' in svg
    assert 'id="roll-' in svg
    assert 'id="figure_1"' not in svg
    assert "http://" not in svg.replace("http://www.w3.org/2000/svg", "")


def test_colors_of_truth_and_estimate_stay_apart_without_color():
    """Lightness differs by a fifth at least, so that gray print and every kind of color blindness keep them apart."""

    def lightness(color):
        red, green, blue = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
        return 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2

    truth, estimate = figures.COLORS["reference"], figures.COLORS["estimated"]
    strong, weak = figures.COLORS["strong"], figures.COLORS["weak"]
    assert abs(lightness(truth) - lightness(estimate)) > 0.15
    assert abs(lightness(strong) - lightness(weak)) > 0.2


def test_every_figure_takes_the_seventeen_classes():
    figure, ax = one_axes(7, 5)
    figures.plot_scores(np.full((10, 17), 0.3), classes=DCASE2017_TASK4, hop_seconds=0.1, ax=ax)
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in ax.get_yticklabels()]
    tops = sorted((box.y0, box.y1) for box in boxes)
    assert all(upper[0] >= lower[1] - 1 for lower, upper in itertools.pairwise(tops))  # no label on another


def test_text_on_fixed_colors_does_not_follow_the_page_into_the_dark():
    figure, ax = one_axes(8, 5)
    boxes = figures.draw_architecture(ModelConfig(), ax=ax)
    fixed = {text.get_color() for text in ax.texts if text.get_text() in ("conv_1", "strong", "weak")}
    svg = figure_svg(figure, name="network", label="network").lower()
    assert len(boxes) == 9
    assert all(color.lower() in svg for color in fixed)
