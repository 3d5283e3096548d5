"""A run folder is taken up again only by the same run: configuration, data, classes and initial model."""

from __future__ import annotations

import json

import pytest

from crnn_weak.errors import RunError
from crnn_weak.run_files import RunFiles
from crnn_weak.runs.identity import Identity, check_identity, write_identity

ASKED = Identity(classes=["bell", "drill"], training_data="a" * 32, testing_data="b" * 32)


@pytest.fixture
def files(tmp_path):
    made = RunFiles(tmp_path / "run")
    write_identity(made, ASKED)
    return made


def test_the_same_identity_passes(files):
    check_identity(files, ASKED)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training_data": "c" * 32}, "training clips or their labels"),
        ({"testing_data": "c" * 32}, "test clips or their labels"),
        ({"classes": ["bell", "saw"]}, r"classes 'bell', 'drill', now 'bell', 'saw'"),
        ({"initial_model": "d" * 32}, r"the model that it starts from \(--from\)"),
        ({"teacher": "d" * 32}, r"strong targets \(targets\.teacher\)"),
    ],
)
def test_another_identity_is_refused_by_what_differs_with_both_ways_out(files, changes, message):
    asked = Identity(**{name: changes.get(name, getattr(ASKED, name)) for name in ASKED.__struct_fields__})
    with pytest.raises(RunError, match=message) as caught:
        check_identity(files, asked)
    assert "--out" in str(caught.value)
    assert "--overwrite" in str(caught.value)


def test_a_damaged_identity_is_refused(files):
    files.identity.write_text(json.dumps({"classes": 3}))
    with pytest.raises(RunError, match=r"identity\.json: "):
        check_identity(files, ASKED)


def test_an_empty_folder_is_free(tmp_path):
    check_identity(RunFiles(tmp_path), ASKED)


def test_a_run_of_an_earlier_version_is_taken_up_with_a_warning(tmp_path, caplog):
    (tmp_path / "config.toml").write_text("")
    check_identity(RunFiles(tmp_path), ASKED)
    assert "earlier version" in caplog.text
