"""`crnn-weak grid` without a preset, a file or data is the default grid; everything else is what it says."""

import tomllib

import pytest

from crnn_weak import config as configuration
from crnn_weak.experiments.loss_weight_grid import main

QUICK = configuration.preset("quick")


def _printed(capsys, *arguments):
    assert main([*arguments, "--print-config"]) == 0
    return configuration.from_dict(tomllib.loads(capsys.readouterr().out))


@pytest.mark.parametrize("arguments", [(), ("--head", "max_dense"), ("--set", "training.seed=0")])
def test_the_default_grid_trains_few_clips_for_few_epochs(arguments, capsys):
    config = _printed(capsys, *arguments)
    assert (config.data.n_train, config.training.epochs) == (1200, 10)
    assert config.features == QUICK.features


def test_a_preset_next_to_a_file_of_another_is_refused(tmp_path, capsys):
    (tmp_path / "mine.toml").write_text('preset = "paper"\n')
    assert main(["--preset", "quick", "--config", str(tmp_path / "mine.toml"), "--print-config"]) == 2
    assert "mine.toml names preset 'paper'. Omit one of them." in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [("--preset", "quick"), ("--data", "street"), ("--set", "data.source=street")])
def test_a_preset_or_data_are_taken_as_they_are(arguments, capsys):
    assert _printed(capsys, *arguments) == QUICK
