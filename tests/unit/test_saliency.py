"""Saliency: the scalar, the gradient, the modifiers, the errors; on small models whose answers are known."""

import keras
import numpy as np
import pytest
from keras import layers

import crnn_weak.model  # noqa: F401
from crnn_weak.errors import ConfigError, DataError, DependencyError, LabelError, ModelFileError
from crnn_weak.features.scaler import Scaler
from crnn_weak.model.crnn import build_model
from crnn_weak.model.heads import WEAK_HEADS
from crnn_weak.saliency import METHODS, Explainer, Method, Target, method, replace_relu

CLASSES = ("Bus", "Car", "Train")
FRAMES, MELS, HOP = 12, 8, 0.25


def _outputs(x):
    strong = layers.TimeDistributed(layers.Dense(len(CLASSES), activation="sigmoid"), name="strong")(x)
    weak = layers.Dense(len(CLASSES), activation="sigmoid", name="weak")(layers.GlobalMaxPooling1D()(strong))
    return {"strong": strong, "weak": weak}


def small_model(*, recurrent=True, dtype="float64", kernel=3, seed=0):
    """Conv, batch norm, pool, ReLU, GRU, dense: the network's layers, small; float64 for finite differences."""
    keras.utils.set_random_seed(seed)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        x = log_mel = keras.Input((FRAMES, MELS), dtype=dtype)
        x = layers.Reshape((FRAMES, MELS, 1))(x)
        for number in (1, 2):
            x = layers.Conv2D(4, kernel, padding="same", name=f"conv_{number}")(x)
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
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            # Statistics that are not 0 and 1, or batch and inference mode would look the same.
            layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    return model


def explainer(model, **options):
    return Explainer(model, classes=CLASSES, hop_seconds=HOP, **options)


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.fixture(scope="module")
def still():
    """Without recurrence: quick to trace, and each frame's score depends on its neighborhood alone."""
    return small_model(recurrent=False)


@pytest.fixture(scope="module")
def clips():
    return np.random.default_rng(1).standard_normal((3, FRAMES, MELS))


@pytest.fixture(scope="module")
def scaler():
    rng = np.random.default_rng(2)
    return Scaler(rng.uniform(-9, -5, MELS).astype(np.float32), rng.uniform(0.5, 3.0, MELS).astype(np.float32))


@pytest.fixture(scope="module")
def two_spaces(model, scaler):
    """One explainer for most tests: what it has traced stays traced."""
    return explainer(model, scaler=scaler)


def scalars(model, target, clips):
    """The scalar of each clip, in plain NumPy from the model's outputs."""
    scores = np.asarray(model(clips, training=False)[target.output])[..., target.index(CLASSES)]
    if target.scale == "logit":
        scores = np.log(scores / (1 - scores))
    if target.output == "weak":
        return scores
    first, last = (0, FRAMES) if target.span_seconds is None else [round(t / HOP) for t in target.span_seconds]
    return {"mean": np.mean, "max": np.max, "sum": np.sum}[target.reduction](scores[:, first:last], axis=1)


def scalar(model, target, clip):
    return scalars(model, target, clip[None])[0]


TARGETS = [
    Target("strong", "Car"),
    Target("strong", "Bus", reduction="sum", span_seconds=(0.5, 1.25)),
    Target("strong", "Train", reduction="max"),
    Target("weak", "Car"),
    Target("weak", 2),
    Target("strong", "Car", reduction="max", span_seconds=(0.0, 2.0), scale="logit"),
    Target("weak", "Car", scale="logit"),
]


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.caption(CLASSES))
@pytest.mark.parametrize("space", ["standardized", "raw"])
def test_gradient_equals_finite_differences(model, two_spaces, clips, scaler, target, space):
    # float64: a central difference with step h is off by O(h^2) + 1e-16 / h; h = 1e-5 leaves 1e-10.
    x = clips[0].astype(np.float64)
    std = np.asarray(scaler.std, np.float64)

    def standardize(raw):
        return (raw - np.asarray(scaler.mean, np.float64)) / std

    start = x if space == "standardized" else x * std + np.asarray(scaler.mean, np.float64)
    steps = 1e-5 * np.eye(x.size).reshape(-1, *x.shape)  # one cell each
    ends = [start + steps, start - steps]
    if space == "raw":
        ends = [standardize(end) for end in ends]
    upper, lower = (scalars(model, target, end) for end in ends)
    expected = ((upper - lower) / 2e-5).reshape(x.shape)
    found = two_spaces.explain(x[None], [target], space=space)
    assert np.abs(expected).max() > 1e-4  # otherwise zero would pass
    np.testing.assert_allclose(found.maps[0], expected, atol=1e-8)
    assert found.values[0] == pytest.approx(scalar(model, target, x), abs=1e-10)


def test_rows_of_a_batch_keep_to_themselves(still, clips):
    targets = [TARGETS[0], TARGETS[3], TARGETS[1]]
    together = explainer(still, batch_size=2).explain(clips, targets)
    for row in range(3):
        alone = explainer(still).explain(clips[row : row + 1], [targets[row]])
        np.testing.assert_allclose(together.maps[row], alone.maps[0], atol=1e-12)


@pytest.mark.parametrize("head", sorted(WEAK_HEADS))
def test_saliency_reaches_the_input_through_every_weak_head(head):
    keras.utils.set_random_seed(5)
    network = build_model("quick", n_classes=3, n_frames=20, head=head)
    kernel, bias = network.get_layer("strong").get_weights()
    network.get_layer("strong").set_weights([kernel, bias - 4])  # low scores: noisy-or of twenty frames is not yet sure
    x = np.random.default_rng(6).standard_normal((1, 20, 40)).astype(np.float32)
    one, target = explainer(network), Target("weak", "Car")
    talk = one.explain(x, [target], method="talk").maps
    assert np.isfinite(talk).all()
    assert np.abs(talk).max() > 0
    # Against the slope along the gradient's own direction, where the sum of many cells stands above the rounding.
    gradient = one.explain(x, [target]).maps[0]
    length, h = np.linalg.norm(gradient), 0.05
    ends = [one.explain(x + sign * h * gradient / length, [target]).values[0].astype(float) for sign in (1, -1)]
    assert (ends[0] - ends[1]) / (2 * h) == pytest.approx(length, rel=0.03)


def test_same_call_same_map(clips):
    for name in ("talk", "smoothgrad"):
        first, second = (
            explainer(small_model(recurrent=False)).explain(clips[:1], TARGETS[:1], method=name).maps for _ in range(2)
        )
        assert np.array_equal(first, second), name


def test_frames_outside_the_span_do_not_matter_without_recurrence(still, clips):
    # Two 3x3 convolutions see two frames to either side.
    found = explainer(still).explain(clips, [Target("strong", "Car", span_seconds=(1.0, 1.5))] * 3)
    assert not found.maps[:, :2].any()
    assert not found.maps[:, 8:].any()
    assert (np.abs(found.maps[:, 4:6]).max(axis=(1, 2)) > 0).all()


def test_bands_and_padding_that_the_model_ignores_are_zero(clips):
    """A model that masks the last three frames and never reads the two lowest bands."""
    mask = np.ones((FRAMES, MELS))
    mask[-3:], mask[:, :2] = 0, 0
    x = log_mel = keras.Input((FRAMES, MELS))
    x = layers.Lambda(lambda z: z * mask.astype(np.float32))(x)
    masked = keras.Model(log_mel, _outputs(x))
    for name in ("gradient", "integrated_gradients"):
        maps = explainer(masked).explain(clips, [Target("strong", "Car")] * 3, method=name).maps
        assert not maps[:, mask == 0].any()
        assert (maps[:, mask == 1] != 0).all()


def test_the_logit_does_not_vanish_where_the_score_does():
    """A score of 1 to rounding: the score's gradient is zero, the logit's is the layer's own weight."""
    log_mel = keras.Input((1, 2))
    strong = layers.Dense(1, activation="sigmoid", name="strong")(log_mel)
    sure = keras.Model(log_mel, {"strong": strong, "weak": layers.GlobalMaxPooling1D(name="weak")(strong)})
    sure.get_layer("strong").set_weights([np.array([[3.0], [-2.0]]), np.zeros(1)])
    one = Explainer(sure, classes=["a"], hop_seconds=HOP)
    clip = np.array([[[4.0, 0.0]]])  # the score is 1 - 6e-6
    score, logit = (one.explain(clip, [Target("strong", "a", scale=s)]).maps[0, 0] for s in ("score", "logit"))
    assert np.abs(score).max() < 1e-4
    np.testing.assert_allclose(logit, [3, -2], rtol=0.05)
    beyond = one.explain(np.array([[[40.0, 0.0]]]), [Target("strong", "a", scale="logit")])
    assert np.isfinite(beyond.maps).all()
    assert np.isfinite(beyond.values).all()


def test_maximum_reaches_one_frame_without_recurrence(clips):
    pointwise = small_model(recurrent=False, kernel=1)
    maps = explainer(pointwise).explain(clips, [Target("strong", "Car", reduction="max")] * 3).maps
    assert (np.any(maps != 0, axis=2).sum(axis=1) == 1).all()


def test_planted_tone():
    """A model that fires on one band: the map falls on the band and the time of the tone, for both outputs."""
    band, onset, offset = 5, 3, 7
    x = log_mel = keras.Input((FRAMES, MELS))
    x = layers.Reshape((FRAMES, MELS, 1))(x)
    x = layers.Conv2D(1, (3, 1), padding="same", name="conv")(x)
    x = layers.ReLU()(x)
    x = layers.Reshape((FRAMES, MELS))(x)
    tone = keras.Model(log_mel, _outputs(x))
    kernel = np.full((3, 1, 1, 1), 1 / 3)
    tone.get_layer("conv").set_weights([kernel, np.full(1, -0.5)])
    dense = np.zeros((MELS, 3))
    dense[band, 1] = 2
    tone.get_layer("strong").set_weights([dense, np.full(3, -2.0)])
    tone.get_layer("weak").set_weights([np.eye(3), np.zeros(3)])  # positive, or guided ReLUs stop everything
    clip = np.zeros((1, FRAMES, MELS))
    clip[0, onset:offset, band] = 3
    on_tone = explainer(tone)
    for target in (Target("strong", "Car"), Target("weak", "Car")):
        for name in METHODS:
            energy = np.abs(on_tone.explain(clip, [target], method=method(name, noise=0.01)).maps[0])
            inside = energy[onset - 2 : offset + 2, band].sum()  # two kernels' reach
            # The deconvolution rule ignores the forward pass, so it keeps to the band and not to the time.
            expected = energy[:, band].sum() if METHODS[name].relu == "deconvolution" else inside
            assert inside > 0
            assert expected / energy.sum() > 0.999, (target, name)


def test_trained_model_points_at_the_tone():
    """Trained from weak labels alone for a few steps, the strong output's map lies on the tone's band."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    tagged = rng.random((128, 3)) < 0.5
    x = rng.standard_normal((128, FRAMES, MELS)).astype(np.float32) * 0.3
    starts = rng.integers(0, FRAMES - 4, (128, 3))
    for clip, index in zip(*np.nonzero(tagged), strict=True):
        x[clip, starts[clip, index] : starts[clip, index] + 4, 2 * index + 1] += 3
    trained = small_model(dtype="float32", recurrent=False)
    trained.compile(keras.optimizers.Adam(0.02), loss={"strong": "binary_crossentropy", "weak": "binary_crossentropy"})
    strong = np.repeat(tagged[:, None], FRAMES, axis=1).astype(np.float32)
    trained.fit(x, {"strong": strong, "weak": tagged.astype(np.float32)}, epochs=25, batch_size=16, verbose=0)
    clip, index = (axis[:40] for axis in np.nonzero(tagged))
    targets = [Target("strong", int(one)) for one in index]
    maps = np.abs(explainer(trained).explain(x[clip], targets, method="gradient_x_input").maps)
    on_tone = np.zeros(maps.shape, bool)
    for row, (c, k) in enumerate(zip(clip, index, strict=True)):
        on_tone[row, starts[c, k] : starts[c, k] + 4, 2 * k + 1] = True
    share = (maps * on_tone).sum(axis=(1, 2)) / maps.sum(axis=(1, 2))
    chance = on_tone.mean()  # 4 of 96 cells
    assert share.mean() > 8 * chance


# --- methods -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS[:4:3], ids=["strong", "weak"])
def test_integrated_gradients_are_complete(model, two_spaces, clips, target):
    whole = two_spaces.explain(clips, [target] * 3, method=method("integrated_gradients", n_steps=200))
    at_zero = [scalar(model, target, np.zeros((FRAMES, MELS)))] * 3
    np.testing.assert_allclose(whole.maps.sum(axis=(1, 2)), whole.values - at_zero, atol=2e-4)
    np.testing.assert_allclose(whole.delta, whole.maps.sum(axis=(1, 2)) - (whole.values - at_zero), atol=1e-12)
    coarse = two_spaces.explain(clips, [target] * 3, method=method("integrated_gradients", n_steps=1))
    assert np.abs(coarse.delta).max() > 5 * np.abs(whole.delta).max()


def test_integrated_gradients_from_another_baseline(model, two_spaces, clips):
    baseline = np.full((1, MELS), -1.0)
    found = two_spaces.explain(
        clips[:1], TARGETS[:1], method=method("integrated_gradients", n_steps=200), baseline=baseline
    )
    change = found.values[0] - scalar(model, TARGETS[0], np.full((FRAMES, MELS), -1.0))
    assert found.maps.sum() == pytest.approx(change, abs=2e-4)


def test_integrated_gradients_of_raw_and_standardized_input_are_equal(model, two_spaces, clips, scaler):
    spaces = [
        two_spaces.explain(clips, TARGETS[:3], method="integrated_gradients", space=space).maps
        for space in ("standardized", "raw")
    ]
    assert np.array_equal(*spaces)


def test_raw_gradient_times_input_uses_the_raw_input(model, two_spaces, clips, scaler):
    both = two_spaces
    raw = both.explain(clips, TARGETS[:3], space="raw").maps
    times = both.explain(clips, TARGETS[:3], method="gradient_x_input", space="raw").maps
    np.testing.assert_allclose(times, raw * (clips * scaler.std + scaler.mean), rtol=1e-5)


def test_absolute_drops_the_sign(model, two_spaces, clips):
    signed = two_spaces.explain(clips, TARGETS[:3]).maps
    assert (signed < 0).any()
    assert np.array_equal(two_spaces.explain(clips, TARGETS[:3], method="absolute").maps, np.abs(signed))


def test_smoothgrad_is_the_mean_over_its_copies(model, two_spaces, clips):
    chosen = method("smoothgrad", n_samples=3, noise=0.2, seed=7)
    x = clips[:1]
    noise = np.random.default_rng(7).standard_normal((3, FRAMES, MELS)) * 0.2 * (x.max() - x.min())
    copies = two_spaces.explain(x + noise, TARGETS[:1] * 3).maps
    found = two_spaces.explain(x, TARGETS[:1], method=chosen).maps[0]
    np.testing.assert_allclose(found, copies.mean(axis=0), atol=1e-12)
    other = two_spaces.explain(x, TARGETS[:1], method=method(chosen, seed=8)).maps[0]
    assert np.abs(other - found).max() > 1e-6


def test_smoothgrad_of_a_clip_does_not_depend_on_its_neighbors(still, clips):
    together = explainer(still, batch_size=2).explain(clips, TARGETS[:1] * 3, method="smoothgrad").maps
    alone = explainer(still).explain(clips[2:], TARGETS[:1], method="smoothgrad").maps
    np.testing.assert_allclose(together[2:], alone, atol=1e-12)


# --- ReLU rules --------------------------------------------------------------------------------------------------


def test_relu_rules_by_hand():
    """y = sum(v * relu(w * x)): the gradient is w * v where the rule lets it pass."""
    w, v = np.array([1.0, 1.0, 1.0, 1.0]), np.array([2.0, -3.0, 2.0, -3.0])
    x = np.array([1.0, 1.0, -1.0, -1.0])
    log_mel = keras.Input((1, 4))
    y = layers.ReLU()(log_mel)
    strong = layers.Dense(1, use_bias=False, name="strong")(y)
    linear = keras.Model(log_mel, {"strong": strong, "weak": layers.GlobalMaxPooling1D(name="weak")(strong)})
    linear.get_layer("strong").set_weights([v[:, None]])
    one = Explainer(linear, classes=["a"], hop_seconds=HOP)
    for rule, passes in {
        "plain": x > 0,
        "guided": (x > 0) & (v > 0),
        "deconvolution": v > 0,
    }.items():
        found = one.explain((x * w)[None, None], [Target("strong", "a")], method=Method(relu=rule)).maps[0, 0]
        assert found.tolist() == np.where(passes, v, 0).tolist(), rule


@pytest.mark.parametrize("rule", ["guided", "deconvolution"])
def test_modified_model_shares_weights_and_values(clips, rule, tmp_path):
    original = small_model(dtype="float32")
    modified = replace_relu(original, rule)
    for name in ("strong", "weak"):
        assert np.array_equal(original(clips)[name], modified(clips)[name])
    original.get_layer("conv_1").set_weights([2 * w for w in original.get_layer("conv_1").get_weights()])
    assert np.array_equal(original(clips)["strong"], modified(clips)["strong"])
    original.save(tmp_path / "after.keras")  # sharing layers must not spoil the original
    again = keras.models.load_model(tmp_path / "after.keras")
    assert np.array_equal(again(clips)["strong"], original(clips)["strong"])


def test_rules_differ_from_the_plain_gradient_on_the_network():
    network = build_model("quick", n_classes=3, n_frames=20)
    x = np.random.default_rng(0).standard_normal((1, 20, 40)).astype(np.float32)
    one = explainer(network)
    maps = [one.explain(x, TARGETS[:1], method=name).maps for name in ("gradient", "guided", "talk")]
    assert np.isfinite(maps).all()
    assert np.abs(maps[0] - maps[1]).max() > 0
    assert np.abs(maps[1] - maps[2]).max() > 0


def test_a_relu_that_cannot_be_replaced_is_refused():
    log_mel = keras.Input((FRAMES, MELS))
    with pytest.raises(ModelFileError, match="has no ReLU layer"):
        replace_relu(keras.Model(log_mel, _outputs(log_mel)), "guided")
    hidden = layers.Dense(4, activation="relu", name="hides")(layers.ReLU()(log_mel))
    with pytest.raises(ModelFileError, match="'hides' holds a ReLU"):
        replace_relu(keras.Model(log_mel, _outputs(hidden)), "guided")
    with pytest.raises(ModelFileError, match="cannot be replaced"):
        replace_relu(keras.Model(log_mel, _outputs(layers.ReLU(max_value=6.0)(log_mel))), "guided")


# --- words and errors --------------------------------------------------------------------------------------------


def test_caption_names_output_class_reduction_method_and_sign(model, clips):
    found = explainer(model).explain(clips[:1], [Target("strong", 1, span_seconds=(0.0, 2.5))], method="talk")
    assert found.captions == (
        "output 'strong', class 'Car', mean over the frames of 0-2.5 s: gradient with respect to the standardized log "
        "mel-band energies, deconvolution ReLU, absolute value",
    )
    assert Method().caption("raw").endswith("before standardization, signed")


@pytest.mark.parametrize(
    ("error", "words", "call"),
    [
        (LabelError, "Did you mean 'Train'", lambda e, x: e.explain(x, [Target("strong", "Trian")])),
        (LabelError, "expected 0 to 2", lambda e, x: e.explain(x, [Target("weak", 3)])),
        (DataError, "one target per clip", lambda e, x: e.explain(x, [])),
        (DataError, "after the end", lambda e, x: e.explain(x, [Target("strong", 0, span_seconds=(3.0, 4.0))])),
        (DataError, "NaN", lambda e, x: e.explain(x * np.nan, [Target("weak", 0)])),
        (ModelFileError, "12 frames and 8 mel bands", lambda e, x: e.explain(x[:, :5], [Target("weak", 0)])),
        (ConfigError, "Did you mean 'smoothgrad'", lambda e, x: e.explain(x, [Target("weak", 0)], method="smothgrad")),
        (ConfigError, "scaler", lambda e, x: e.explain(x, [Target("weak", 0)], space="raw")),
        (ConfigError, "space 'row'", lambda e, x: e.explain(x, [Target("weak", 0)], space="row")),
        (ConfigError, "output 'week'", lambda e, x: Target("week", 0)),
        (ConfigError, "one score per clip", lambda e, x: Target("weak", 0, reduction="max")),
        (ConfigError, "scale 'logits'", lambda e, x: Target("weak", 0, scale="logits")),
        (ConfigError, "start < end", lambda e, x: Target("strong", 0, span_seconds=(2.0, 2.0))),
        (ConfigError, "reduction 'media'", lambda e, x: Target("strong", 0, reduction="media")),
        (ConfigError, "times_input", lambda e, x: Method(kind="integrated_gradients", times_input=True)),
    ],
)
def test_errors_say_what_to_do(model, clips, error, words, call):
    with pytest.raises(error, match=words):
        call(explainer(model), clips[:1])


def test_a_model_of_other_classes_is_refused(model):
    with pytest.raises(ModelFileError, match="scores 3 classes, but 2 class names"):
        Explainer(model, classes=["a", "b"], hop_seconds=HOP)
    single = keras.Sequential([keras.Input((FRAMES, MELS)), layers.Dense(3)])
    with pytest.raises(ModelFileError, match="'strong' and 'weak'"):
        explainer(single)


def test_another_backend_is_refused(model, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(DependencyError, match="KERAS_BACKEND=tensorflow"):
        explainer(model)


def test_no_clips_no_maps(model):
    assert explainer(model).explain(np.zeros((0, FRAMES, MELS)), []).maps.shape == (0, FRAMES, MELS)
