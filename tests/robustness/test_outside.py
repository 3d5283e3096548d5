"""Full disks, closed streams, files in the way, signals: one line and exit code 2, and files whole or absent."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys

import helpers_tasks as tasks
import numpy as np
import pytest

from crnn_weak.audio import write_audio
from crnn_weak.cli import main, run_guarded
from crnn_weak.features.store import FeatureStore

pytestmark = pytest.mark.skipif(os.name != "posix", reason="POSIX shells, devices and signals")
COMMAND = f"{sys.executable} -m crnn_weak"


def shell(line):
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("arguments", ["--help", "train --print-config"])
def test_a_reader_that_ends_early_is_not_an_error(arguments):
    done = shell(f"(for i in 1 2 3; do {COMMAND} {arguments} || exit; done; echo all >&2) | (exec 0<&-; true)")
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_standard_output_on_a_full_disk_is_one_line():
    done = shell(f"{COMMAND} train --print-config > /dev/full")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("crnn-weak train: error: No space left on device. Free some space, then rerun")


def test_closed_streams_are_not_an_error_and_no_file_takes_their_place(tmp_path):
    assert shell(f"{COMMAND} train --print-config <&- >&- 2>&-").returncode == 0
    new, number = tmp_path / "new", tmp_path / "number"
    code = (
        "import os; from crnn_weak.cli import main; main(['--version']); "
        f"opened = os.open({str(new)!r}, os.O_CREAT | os.O_WRONLY); open({str(number)!r}, 'w').write(str(opened))"
    )
    assert shell(f'{sys.executable} -c "{code}" <&- >&- 2>&-').returncode == 0
    assert int(number.read_text()) > 2


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ImportError("no name 'x'", name="sklearn.metrics"), 2, "scikit-learn cannot be imported (no name 'x')"),
        (ImportError("multiarray failed"), 2, "a package cannot be imported (multiarray failed)"),
        (ModuleNotFoundError("no", name="pkg_resources"), 2, "the package 'setuptools<82' is not installed. pip inst"),
        (ImportError("no name 'x'", name="crnn_weak.runs"), None, ""),  # a bug keeps its traceback
        (PermissionError(errno.EACCES, "Permission denied", "a"), 2, "a: Permission denied. Change the permissions"),
        (KeyboardInterrupt(), 130, "interrupted. Rerun the same command to resume."),
    ],
)
def test_an_error_of_the_installation_or_the_system_is_one_line(error, code, message, capsys):
    def fail():
        raise error

    if code is None:
        with pytest.raises(ImportError):
            run_guarded("x", fail)
        return
    assert run_guarded("x", fail) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


@pytest.mark.parametrize("command", ["train", "grid"])
@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("file", "file: is a file, expected a folder. Choose another place."),
        ("file/run", "file: is a file, expected a folder. Choose another place."),
        ("x" * 256, "File name too long."),
    ],
)
def test_a_place_where_no_folder_can_be_is_refused_first(command, out, message, tmp_path, monkeypatch, refused):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("precious")
    assert refused(command, "--preset", "quick", "--out", out).rstrip().endswith(message)
    assert os.listdir(tmp_path) == ["file"]
    assert (tmp_path / "file").read_text() == "precious"


def test_a_command_on_a_nearly_full_disk_is_done_or_says_why(tmp_path, monkeypatch, capsys):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(disk)], capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here (needs root)")
    for number in range(4):
        write_audio(tmp_path / f"{number}.wav", np.random.default_rng(number).uniform(-1, 1, 8_000), 8_000)
    (tmp_path / "tags.tsv").write_text("".join(f"{number}.wav\tbell\n" for number in range(4)))
    data = f"--preset quick --data folder --audio {tmp_path} --metadata {tmp_path}/tags.tsv --set data.test_fraction=0"
    codes = []
    try:
        for free_kib in range(8, 132, 12):
            (disk / "filler").write_bytes(bytes(1024 * (256 - free_kib)))
            with (disk / "said").open("w") as said:
                monkeypatch.setattr(sys, "stdout", said)
                codes.append(main(["features", "build", *data.split(), "--jobs", "1", "--out", str(disk / "train.h5")]))
            (error, *_) = capsys.readouterr().err.splitlines()[-1:]
            if codes[-1] == 0:
                assert FeatureStore(disk / "train.h5").counts["short"] == 4
                assert "4 of 4 clips" in (disk / "said").read_text()
            else:
                assert "No space left on device" in error
            for path in disk.iterdir():
                path.unlink()
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    assert set(codes) == {0, 2}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("arguments", "begun"),
    [
        ("data make street --set data.n_train=4000", "**/*.flac"),
        ("grid --set data.n_train=20 --set data.n_test=10", "**/history.csv"),
    ],
)
def test_a_signal_ends_a_command_and_its_workers_in_ten_seconds(tmp_path, number, arguments, begun):
    command = [*COMMAND.split(), *arguments.split(), "--preset", "quick", "--cache", "cache", "--jobs", "2"]
    # A test run in the background of a shell ignores interrupts, and so would its children.
    default = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, start_new_session=True, text=True)
    signal.signal(signal.SIGINT, default)
    tasks.wait_until(lambda: any(tmp_path.glob(begun)), seconds=600)
    process.send_signal(number)
    _, said = process.communicate(timeout=10)  # also of the workers, which have the same standard error
    assert process.returncode == 128 + number
    word = "terminated" if number == signal.SIGTERM else "interrupted"
    assert said.splitlines()[-1].endswith(f"{word}. Rerun the same command to resume.")
    assert "Traceback" not in said
