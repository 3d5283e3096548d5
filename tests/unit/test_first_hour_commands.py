"""``--version``, doctor, demo, export: what a new user types first, and what an issue report holds."""

import ast
import functools
import importlib.util
import json
import logging
import re
import sys
import types
from pathlib import Path
from unittest import mock

import keras
import numpy as np
import pytest
from helpers import run_fresh

import crnn_weak
from crnn_weak.bundled import EVERYDAY_TERMS
from crnn_weak.cli import main, version_line
from crnn_weak.commands import doctor
from crnn_weak.environment import backend_name, prepare_environment
from crnn_weak.errors import DependencyError, LogFormatter, ModelFileError
from crnn_weak.model import export

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_backend_is_the_one_that_keras_will_use(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    assert backend_name() == "tensorflow"
    (tmp_path / "keras.json").write_text('{"backend": "none-such"}')
    assert backend_name() == "none-such"
    with pytest.raises(DependencyError, match="Keras backend 'none-such' is not installed"):
        prepare_environment()
    (tmp_path / "keras.json").write_text("[damaged")
    assert backend_name() == "tensorflow"
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    assert backend_name() == "torch"


def test_doctor_prints_what_an_issue_report_needs(capsys, monkeypatch):
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    for text in (version_line(), "devices", "precision float32", "CPUs", "free here", "libsndfile", "sed_eval"):
        assert text in out
    assert EVERYDAY_TERMS in out
    assert "No problem found." in out
    monkeypatch.setattr(keras.config, "floatx", lambda: "float16")
    assert main(["doctor"]) == 1
    assert "PROBLEM: Keras computes in float16" in capsys.readouterr().out


def test_doctor_names_what_is_missing_and_prints_the_rest(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "_REQUIRED", ("numpy", "no-such-distribution", "setuptools<82"))
    monkeypatch.setitem(sys.modules, "pkg_resources", None)
    monkeypatch.setattr(doctor, "_EXTRAS", {"dask": (("no_such_package",), "grid --scheduler")})
    monkeypatch.setattr(doctor, "_LEAST_FREE_BYTES", 10**18)
    monkeypatch.setenv("KERAS_BACKEND", "theano")
    monkeypatch.setitem(sys.modules, "soundfile", None)
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "no-such-distribution PROBLEM: not installed. pip install no-such-distribution" in out
    assert "grid --scheduler: not installed. pip install 'crnn-weak[dask]'" in out
    assert "PROBLEM: the Keras backend 'theano' is not installed" in out
    assert "GB free. The default grid needs 2 GB" in out
    assert "setuptools<82  PROBLEM: not installed. pip install 'setuptools<82'" in out
    assert "5 problem(s) found." in out


def test_doctor_knows_the_requirements_and_extras_of_setup():
    tree = ast.walk(ast.parse((REPOSITORY / "setup.py").read_text(encoding="utf-8")))
    call = next(node for node in tree if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "setup")
    given = {key.arg: key.value for key in call.keywords}
    required = {re.split(r"[<>=]", text)[0] for text in ast.literal_eval(given["install_requires"])}
    required |= {"numba", "Pillow"}  # librosa's, figures'
    assert {name.partition("<")[0] for name in doctor._REQUIRED} == required
    extras = ast.literal_eval(given["extras_require"])
    for name, (packages, _) in doctor._EXTRAS.items():
        assert {re.split(r"[<>=]", text)[0] for text in extras[name]} == set(packages)


@pytest.mark.parametrize(
    ("arguments", "missing", "code"),
    [
        (["--help"], "msgspec", 0),
        (["train", "--help"], "msgspec", 2),
        (["data", "check"], "numpy", 2),
        (["convert", "a.txt", "b.csv", "--to", "csv"], "soundfile", 2),
    ],
)
def test_a_missing_package_is_one_line(arguments, missing, code):
    done = run_fresh(f"sys.modules[{missing!r}] = None; from crnn_weak.cli import main; sys.exit(main({arguments}))")
    assert done.returncode == code
    assert done.stderr.count("\n") == (code == 2)
    assert (f"error: the package {missing} is not installed. pip install {missing}" in done.stderr) == (code == 2)


@pytest.mark.parametrize("name", ["\x1b[31ma", "a\n10:00 done", "\u202egnp"])
def test_messages_print_names_without_control_characters(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("e.tsv").write_text("a.wav\t0.0\t1.0\tdog\n")
    shown = name.encode("unicode_escape").decode()
    for arguments, code in (
        (["convert", name, "out.csv", "--to", "csv"], 2),
        (["convert", "e.tsv", name, "--to", "csv"], 0),
        (["evaluate", "--reference", name, "--estimated", name], 0),
        (["convert", "e.tsv", "out.csv", "--to", name], 2),
        (["data", "check", "--data", "folder", "--audio", name, "--metadata", "e.tsv"], 2),
    ):
        assert main(arguments) == code
        printed = capsys.readouterr()
        assert name not in printed.out + printed.err
        text = (printed.out + printed.err).replace("\\\\", "\\")
        assert shown in text or " ".join(name.split()) in text  # an error's message is joined to one line
    record = logging.LogRecord("", logging.INFO, "", 0, "%s: done", (name,), None)
    assert LogFormatter().format(record) == f"{shown}: done"


def test_the_demo_shows_true_and_detected_events_and_writes_a_picture_and_a_page(capsys, tmp_path, refused):
    out = tmp_path / "demo"
    assert main(["demo", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    truth, detected = printed.split("\n\n")[0].removeprefix("true events\n").split("detected events (score)\n")
    assert all("rooster" in part and "helicopter" in part for part in (truth, detected))
    page = (out / "index.html").read_text(encoding="utf-8")
    for text in ("dog", 'src="detection.png"', 'src="example.flac"'):
        assert text in page
    assert (out / "detection.png").read_bytes()[:4] == b"\x89PNG"
    assert sorted(path.name for path in out.iterdir()) == ["detection.png", "example.flac", "index.html"]
    assert "--overwrite" in refused("demo", "--out", out)


@pytest.fixture(scope="module")
def detector():
    return crnn_weak.load()


def run_saved_model(path, log_mel, outputs):
    import tensorflow as tf

    loaded = tf.saved_model.load(path)  # kept: its functions hold their variables weakly
    return loaded.serve(log_mel)


def run_page(word, path, log_mel, outputs=()):
    """Run the lines of docs/export.md that hold a word, window by window."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "export.md").read_text(encoding="utf-8")
    (lines,) = (block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if word in block)
    found = {"strong": [], "weak": []}
    for window in log_mel:
        names = {"window": window[None]}
        exec(re.sub(r'"yard\.\w+"', "path", lines), names | {"path": path}, names)
        for output, windows in found.items():
            windows.append(names[output])
    return {output: np.stack(windows) for output, windows in found.items()}


def run_tflite(path, log_mel, outputs):
    if importlib.util.find_spec("ai_edge_litert") is None:
        import tensorflow as tf

        same = types.SimpleNamespace(Interpreter=tf.lite.Interpreter)
        with mock.patch.dict(sys.modules, {"ai_edge_litert": same, "ai_edge_litert.interpreter": same}):
            return run_page("Interpreter", path, log_mel)
    return run_page("Interpreter", path, log_mel)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("kind", "run"),
    [
        ("saved_model", run_saved_model),
        pytest.param("tflite", run_tflite, marks=pytest.mark.slow),
        pytest.param("onnx", functools.partial(run_page, "onnxruntime"), marks=pytest.mark.slow),
    ],
)
def test_an_exported_model_gives_the_same_scores_and_is_described(kind, run, capsys, tmp_path, detector):
    for package in ("onnx", "tf2onnx", "onnxruntime") if kind == "onnx" else ():
        pytest.importorskip(package, reason="the optional extra onnx is not installed")
    path, features = str(tmp_path / f"model.{kind}"), detector.features
    assert main(["export", "--format", kind, "--out", path]) == 0
    assert capsys.readouterr().err == ""
    noise = np.random.default_rng(0).normal(size=(2, features.n_frames, features.n_mels)).astype(np.float32)
    scores = detector.model.predict_on_batch(noise)
    found = run(path, detector.scaler.mean + detector.scaler.std * noise, list(scores))
    for output, want in scores.items():
        np.testing.assert_allclose(found[output], want, atol=1e-5)
    found = json.loads(Path(f"{path}.json").read_text(encoding="utf-8"))
    assert found["classes"] == list(detector.classes)
    assert found["input"]["shape"] == [1 if kind == "tflite" else None, features.n_frames, features.n_mels]
    assert found["features"]["sample_rate_hz"] == features.sample_rate_hz
    assert found["operating_point"] == detector.operating_point.to_dict()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere: no such model"),
        (["--format", "tflite", "--out", "model.bin"], "ends with .tflite"),
        (["--out", "."], "exists, a folder"),
        (["--out", ".", "--overwrite"], "a folder without saved_model.pb"),  # never a folder of other things
    ],
)
def test_wrong_arguments_of_export_give_one_line(refused, arguments, message):
    assert message in refused("export", *arguments)


def test_onnx_without_its_packages_is_one_line_and_leaves_nothing(refused, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "tensorflow", sys.modules.get("tensorflow") or __import__("tensorflow"))
    assert "pip install 'crnn-weak[onnx]'" in refused("export", "--format", "onnx", "--out", tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_export_leaves_nothing(tmp_path, monkeypatch, detector):
    class Broken:
        def export(self, path, **options):
            Path(path).mkdir()
            (Path(path) / "half").write_text("half")
            raise NotImplementedError("no such operation\nin this format")

    monkeypatch.setattr(export, "portable_model", lambda model, scaler: Broken())
    with pytest.raises(ModelFileError, match=r"cannot be exported as saved_model: no such operation$"):
        export.export_model(detector.model, detector.scaler, tmp_path / "exported", "saved_model")
    assert list(tmp_path.iterdir()) == []
