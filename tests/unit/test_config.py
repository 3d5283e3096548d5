"""Presets, overrides, TOML, fingerprints, and the fidelity table."""

import dataclasses
import re

import fidelity_table
import pytest

from crnn_weak import config as configuration
from crnn_weak import paper
from crnn_weak.config import PRESETS, FeatureConfig, apply_overrides, load_config, preset, to_toml
from crnn_weak.errors import ConfigError


@pytest.mark.parametrize(
    ("rate", "hop", "n_hop"), [(22_050, 0.025, 551), (11_025, 0.02, 220), (44_100, 1 / 3, 14_700), (8_000, 0.0333, 266)]
)
def test_a_hop_between_two_samples_says_what_it_became(rate, hop, n_hop, caplog):
    configuration._warn_once.cache_clear()
    features = FeatureConfig(sample_rate_hz=rate, hop_seconds=hop, window_seconds=0.04, fmax_hz=rate / 2, n_fft=4096)
    assert (features.n_hop, features.hop_seconds) == (n_hop, n_hop / rate)
    assert features.n_frames == round(10 * rate / n_hop)
    assert (f"{n_hop} samples" in caplog.text) == (hop != n_hop / rate)
    caplog.clear()
    configuration._warn_once.cache_clear()
    # What is stored is exact: reading it changes nothing and says nothing.
    assert dataclasses.replace(features) == features
    assert not caplog.records


@pytest.mark.parametrize("source", configuration.DATA_SETTINGS)
@pytest.mark.parametrize("name", PRESETS)
def test_toml_round_trip_is_exact(name, source, tmp_path):
    config = apply_overrides(preset(name), [f"data.source={source}"])
    (tmp_path / "config.toml").write_text(to_toml(config), encoding="utf-8")
    assert load_config(tmp_path / "config.toml") == config


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("preset=quick", "the other settings start from 'paper'"),
        ("training.epoch=3", "epochs"),
        ("training.epochs", "section.name=value"),
        ("training.epochs=many", "expected int"),
        ("training.epochs=0", "training.epochs = 0: expected int >= 1"),
        ("model.pools=[]", "length >= 1"),
        ("model.pools=[5, 0]", "expected int >= 1"),
        ("training.epochs=" + "9" * 400, "training.epochs = 999"),
        ("data.root=folder", "not one of source 'street', but of scenes"),
        ("data.source=[]", "data.source '[]' is not known"),
        ("model.weak_head=maxdense", "'max_dense'"),
        ("features.fmax_hz=30000", "half the sample rate"),
        ("features.n_fft=1024", "at least the window"),
        ("training.learning_rate=nan", "> 0"),
        ("features.hop_seconds=1e-300", "at least one sample"),
        ("model.pools=" + "[" * 500 + "]" * 500, "model.pools = "),
        ("operating_point.min_tags=2", "operating_point.min_tags = 2: expected int <= 1"),
        ("operating_point.min_tags=true", "expected int"),
        ('targets.teacher="a\\u0000"', "null character"),
        ("targets.strong=self_training", "targets.teacher"),
        ("targets.teacher_low=0.9", "at most 0.5"),
    ],
)
def test_a_bad_override_is_one_clear_line(override, message):
    with pytest.raises(ConfigError, match=re.escape(message)) as error:
        apply_overrides(preset("paper"), [override])
    assert "\n" not in str(error.value)


def test_the_constructor_a_preset_and_a_file_are_checked_too(tmp_path):
    with pytest.raises(ConfigError, match=r"^features\.n_mels = 0: expected int >= 1\.$"):
        FeatureConfig(n_mels=0)
    with pytest.raises(ConfigError, match="'quick'"):
        preset("quik")
    (tmp_path / "bad.toml").write_text("epochs: 3")
    with pytest.raises(ConfigError, match=r"bad\.toml"):
        load_config(tmp_path / "bad.toml")


def test_the_pages_have_every_setting_its_default_its_source_and_a_reason():
    for name, _, _, source, note in fidelity_table.rows():
        assert source in configuration.SOURCES, name
        assert note, name
    page = fidelity_table.PAGE.read_text(encoding="utf-8")
    assert fidelity_table.table() in page, "it differs from the defaults: run python scripts/fidelity_table.py"
    page = fidelity_table.PAGE.with_name("settings.md").read_text(encoding="utf-8")
    shown = re.findall(r"^\| `([a-z_]+\.[a-z_]+)` \| `(.*?)` \| .+ \|$", page, re.MULTILINE)
    assert shown == [(name, value) for name, value, *_ in fidelity_table.rows()]


def test_the_published_f_scores_follow_from_precision_and_recall():
    assert len(paper.RESULTS) == 7
    rows = [(row.tagging_precision, row.tagging_recall, row.tagging_f) for row in paper.RESULTS]
    challenge = [
        (row.challenge_tagging_precision, row.challenge_tagging_recall, row.challenge_tagging_f)
        for row in paper.RESULTS
        if row.challenge_tagging_f is not None
    ]
    assert len(challenge) == 4
    for precision, recall, f_score in rows + challenge:
        assert 2 * precision * recall / (precision + recall) == pytest.approx(f_score, abs=0.1)  # rounded
