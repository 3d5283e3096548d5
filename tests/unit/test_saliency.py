"""Saliency: the scalar, the gradient, the methods, localization, the errors; on models whose answers are known."""

import keras
import numpy as np
import pytest
from keras import layers

import crnn_weak.model  # noqa: F401
from crnn_weak.errors import DataError, DependencyError, LabelError, ModelFileError
from crnn_weak.features.log_mel import Scaler
from crnn_weak.model.crnn import build_model
from crnn_weak.saliency.localization import localize, summarize
from crnn_weak.saliency.maps import Explainer, Target, deconvnet_model

CLASSES = ("Bus", "Car", "Train")
FRAMES, MELS = 12, 8


def _outputs(x):
    strong = layers.TimeDistributed(layers.Dense(len(CLASSES), activation="sigmoid"), name="strong")(x)
    weak = layers.Dense(len(CLASSES), activation="sigmoid", name="weak")(layers.GlobalMaxPooling1D()(strong))
    return {"strong": strong, "weak": weak}


def small_model(*, recurrent=True, dtype="float64"):
    """Conv, batch norm, pool, ReLU, GRU, dense: the network's layers, small; float64 for finite differences."""
    keras.utils.set_random_seed(0)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        x = log_mel = keras.Input((FRAMES, MELS), dtype=dtype)
        x = layers.Reshape((FRAMES, MELS, 1))(x)
        for number in (1, 2):
            x = layers.Conv2D(4, 3, padding="same", name=f"conv_{number}")(x)
            x = layers.BatchNormalization(name=f"norm_{number}")(x)
            x = layers.MaxPooling2D((1, 2))(x)
            x = layers.ReLU(name=f"relu_{number}")(x)
            x = layers.Dropout(0.5)(x)
        x = layers.Reshape((FRAMES, -1))(x)
        if recurrent:
            x = layers.Bidirectional(layers.GRU(5, return_sequences=True))(x)
        model = keras.Model(log_mel, _outputs(x))
    finally:
        keras.config.set_dtype_policy(before)
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            # Statistics that are not 0 and 1, or batch and inference mode would look the same.
            layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    return model


def explainer(model, **options):
    return Explainer(model, classes=CLASSES, **options)


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.fixture(scope="module")
def clips():
    return np.random.default_rng(1).standard_normal((3, FRAMES, MELS))


@pytest.fixture(scope="module")
def one(model):
    """One explainer for most tests: what it has traced stays traced."""
    return explainer(model)


def scalars(model, target, clips):
    """The scalar of each clip, in plain NumPy from the model's outputs."""
    scores = np.asarray(model(clips, training=False)[target.output])[..., CLASSES.index(target.label)]
    if target.scale == "logit":
        scores = np.log(scores / (1 - scores))
    return scores if target.output == "weak" else {"mean": np.mean, "max": np.max}[target.reduction](scores, axis=1)


TARGETS = [
    Target("strong", "Car"),
    Target("strong", "Train", reduction="max"),
    Target("weak", "Car"),
    Target("strong", "Car", reduction="max", scale="logit"),
    Target("weak", "Bus", scale="logit"),
]


@pytest.mark.parametrize("target", TARGETS, ids=Target.caption)
def test_gradient_equals_finite_differences(model, one, clips, target):
    # float64: a central difference with step h is off by O(h^2) + 1e-16 / h; h = 1e-5 leaves 1e-10.
    x = clips[0]
    steps = 1e-5 * np.eye(x.size).reshape(-1, *x.shape)  # one cell each
    upper, lower = (scalars(model, target, end) for end in (x + steps, x - steps))
    expected = ((upper - lower) / 2e-5).reshape(x.shape)
    found = one.explain(x[None], [target])
    assert np.abs(expected).max() > 1e-4  # otherwise zero would pass
    np.testing.assert_allclose(found.maps[0], expected, atol=1e-8)
    assert found.values[0] == pytest.approx(scalars(model, target, x[None])[0], abs=1e-10)


def test_features_are_standardized_first(model, one, clips):
    rng = np.random.default_rng(2)
    scaler = Scaler(rng.uniform(-9, -5, MELS), rng.uniform(0.5, 3.0, MELS))
    raw = clips * scaler.std + scaler.mean
    found = explainer(model, standardize=scaler.transform).explain(raw, TARGETS[:3]).maps
    np.testing.assert_allclose(found, one.explain(clips, TARGETS[:3]).maps, atol=1e-6)


def test_rows_of_a_batch_do_not_depend_on_each_other_and_the_same_call_gives_the_same_map(clips):
    still, targets = small_model(recurrent=False), TARGETS[:3]
    pairs, single = explainer(still, batch_size=2), explainer(still)
    for method in ("gradient", "smoothgrad"):
        together = pairs.explain(clips, targets, method=method)
        for row in range(3):
            alone = single.explain(clips[row : row + 1], [targets[row]], method=method)
            np.testing.assert_allclose(together.maps[row], alone.maps[0], atol=1e-12)
    again = explainer(small_model(recurrent=False), batch_size=2).explain(clips, targets, method="smoothgrad")
    assert np.array_equal(again.maps, together.maps)


@pytest.mark.parametrize("head", ["max_dense", "attention", "noisy_or"])  # gradients of all heads: test_model.py
def test_saliency_reaches_the_input_through_a_weak_head(head):
    keras.utils.set_random_seed(5)
    network = build_model("quick", n_classes=3, n_frames=20, head=head)
    kernel, bias = network.get_layer("strong").get_weights()
    network.get_layer("strong").set_weights([kernel, bias - 4])  # low scores: noisy-or of twenty frames is not yet sure
    x = np.random.default_rng(6).standard_normal((1, 20, 40)).astype(np.float32)
    one, target = explainer(network), Target("weak", "Car")
    found = one.explain(x, [target], method="deconvnet").maps
    assert np.isfinite(found).all()
    assert found.max() > 0
    # Against the slope along the gradient's own direction, where the sum of many cells stands above the rounding.
    gradient = one.explain(x, [target]).maps[0]
    length, h = np.linalg.norm(gradient), 0.05
    ends = [one.explain(x + sign * h * gradient / length, [target]).values[0].astype(float) for sign in (1, -1)]
    assert (ends[0] - ends[1]) / (2 * h) == pytest.approx(length, rel=0.03)


def single_class(layer, weights, **options):
    """Return an explainer of one class, whose strong scores are a dense layer's of what `layer` makes of the input."""
    log_mel = keras.Input((1, len(weights)))
    strong = layers.Dense(1, use_bias=False, name="strong", **options)(layer(log_mel))
    model = keras.Model(log_mel, {"strong": strong, "weak": layers.GlobalMaxPooling1D(name="weak")(strong)})
    model.get_layer("strong").set_weights([np.array(weights)[:, None]])
    return Explainer(model, classes=["a"])


def test_the_logit_does_not_vanish_where_the_score_does():
    """A score of 1 to rounding: the score's gradient is zero, the logit's is the layer's own weight."""
    one = single_class(layers.Identity(), [3.0, -2.0], activation="sigmoid")
    clip = np.array([[[4.0, 0.0]]])  # the score is 1 - 6e-6
    score, logit = (one.explain(clip, [Target("strong", "a", scale=s)]).maps[0, 0] for s in ("score", "logit"))
    assert np.abs(score).max() < 1e-4
    np.testing.assert_allclose(logit, [3, -2], rtol=0.05)
    beyond = one.explain(10 * clip, [Target("strong", "a", scale="logit")])
    assert np.isfinite(beyond.maps).all()
    assert np.isfinite(beyond.values).all()


def test_absolute_drops_the_sign_and_smoothgrad_is_the_mean_over_its_copies(one, clips):
    signed = one.explain(clips, TARGETS[:3]).maps
    assert (signed < 0).any()
    assert np.array_equal(one.explain(clips, TARGETS[:3], method="absolute").maps, np.abs(signed))
    x = clips[:1]
    noise = np.random.default_rng(0).standard_normal((16, FRAMES, MELS)) * 0.1 * (x.max() - x.min())
    copies = one.explain(x + noise, TARGETS[:1] * 16).maps
    found = one.explain(x, TARGETS[:1], method="smoothgrad").maps[0]
    np.testing.assert_allclose(found, copies.mean(axis=0), atol=1e-12)


def test_deconvolution_by_hand():
    """y = sum(v * relu(x)): the gradient is v where the rule lets it pass."""
    v, x = np.array([2.0, -3.0, 2.0, -3.0]), np.array([1.0, 1.0, -1.0, -1.0])
    one = single_class(layers.ReLU(), v)
    for name, passes in {"gradient": x > 0, "deconvnet": v > 0}.items():
        found = one.explain(x[None, None], [Target("strong", "a")], method=name).maps[0, 0]
        assert found.tolist() == np.where(passes, v, 0).tolist(), name


def test_modified_model_shares_weights_and_values(clips, tmp_path):
    original = small_model(dtype="float32")
    modified = deconvnet_model(original)
    for name in ("strong", "weak"):
        assert np.array_equal(original(clips)[name], modified(clips)[name])
    original.get_layer("conv_1").set_weights([2 * w for w in original.get_layer("conv_1").get_weights()])
    assert np.array_equal(original(clips)["strong"], modified(clips)["strong"])
    original.save(tmp_path / "after.keras")  # sharing layers must not spoil the original
    again = keras.models.load_model(tmp_path / "after.keras")
    assert np.array_equal(again(clips)["strong"], original(clips)["strong"])


def test_a_relu_that_cannot_be_replaced_is_refused():
    log_mel = keras.Input((FRAMES, MELS))
    hidden = layers.Dense(4, activation="relu", name="hides")(layers.ReLU()(log_mel))
    capped = layers.ReLU(max_value=6.0)(log_mel)
    for x, words in ((log_mel, "no ReLU layer"), (hidden, "'hides' holds a ReLU"), (capped, "cannot be replaced")):
        with pytest.raises(ModelFileError, match=words):
            deconvnet_model(keras.Model(log_mel, _outputs(x)))


def test_share_hit_and_coverage_by_hand():
    maps = np.zeros((5, 4, 2))
    maps[0, 1] = [3, -1]  # frame 1: 4
    maps[0, 2] = [-2, 2]  # frame 2: 4
    maps[1, 3, 0] = -5
    maps[3:] = 1
    inside = np.array([[0, 1, 0, 0], [1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]], bool)
    found = localize(maps, inside)
    np.testing.assert_array_equal(found.share, [0.5, 0.0, np.nan, 1.0, 0.0])
    np.testing.assert_array_equal(found.hit, [1, 0, np.nan, 1, 0])  # frame 1 holds the largest single value
    np.testing.assert_array_equal(found.coverage, [0.25, 0.75, 0.5, 1, 0])
    # Pairs that cannot tell maps apart are counted, not averaged.
    summary = summarize(found, list("abcde"))
    assert [summary[name] for name in ("n_pairs", "n_skipped", "n_zero", "n_clips")] == [2, 2, 1, 2]
    assert (summary["share"], summary["hit"], summary["coverage"]) == (0.25, 0.5, 0.5)
    nothing = summarize(localize(maps[:0], inside[:0]), [])
    assert nothing["n_pairs"] == 0
    assert np.isnan(nothing["share"])
    with pytest.raises(DataError, match="NaN"):
        localize(maps * np.nan, inside)


def test_maps_at_chance_and_perfect_maps():
    rng = np.random.default_rng(0)
    inside = np.arange(50)[None] < rng.integers(5, 45, (400, 1))
    clip_ids = [str(index) for index in range(400)]
    chance = summarize(localize(rng.standard_normal((400, 50, 4)), inside), clip_ids)
    assert abs(chance["share_gain"]) < 0.01
    assert chance["hit_gain_low"] < 0 < chance["hit_gain_high"]
    perfect = summarize(localize(inside[..., None].astype(float), inside), clip_ids)
    assert (perfect["share"], perfect["hit"]) == (1, 1)
    assert perfect["share_ratio"] == pytest.approx(1 / perfect["coverage"])
    assert perfect["share_gain_low"] <= perfect["share_gain"] <= perfect["share_gain_high"]
    # Clips are resampled, not pairs: ten pairs of one clip hold no more than one, and the interval has no width.
    inside = np.arange(10)[None] < np.arange(1, 10)[:, None]
    found = localize(rng.random((9, 10, 2)), inside)
    one, many = summarize(found, ["a"] * 9), summarize(found, [str(index) for index in range(9)])
    assert one["share_gain_low"] == pytest.approx(one["share_gain_high"])
    assert many["share_gain_low"] < many["share_gain_high"]


@pytest.mark.parametrize(
    ("error", "words", "call"),
    [
        (LabelError, "Did you mean 'Train'", lambda e, x: e.explain(x, [Target("strong", "Trian")])),
        (DataError, "one target per clip", lambda e, x: e.explain(x, [])),
        (DataError, "NaN", lambda e, x: e.explain(x * np.nan, [Target("weak", "Bus")])),
    ],
)
def test_errors_say_what_to_do(one, clips, error, words, call):
    with pytest.raises(error, match=words):
        call(one, clips[:1])


def test_another_backend_is_refused(model, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(DependencyError, match="KERAS_BACKEND=tensorflow"):
        explainer(model)
