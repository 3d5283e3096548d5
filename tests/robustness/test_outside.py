"""Full disks, closed streams, files in the way, killed writers: one line and exit code 2, and files whole or absent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from crnn_weak.audio.files import write_audio
from crnn_weak.cli import main, run_guarded
from crnn_weak.files import write_json

pytestmark = pytest.mark.skipif(os.name != "posix", reason="POSIX shells, devices and signals")
COMMAND = f"{sys.executable} -m crnn_weak"


def shell(line):
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=120)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(folder)], capture_output=True)
    if done.returncode:
        pytest.skip("a small file system cannot be mounted here (needs root)")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("arguments", ["--help", "train --help", "train --print-config"])
def test_a_reader_that_ends_early_is_no_error(arguments):
    done = shell(f"(for i in 1 2 3; do {COMMAND} {arguments} || exit; done; echo all >&2) | (exec 0<&-; true)")
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_standard_output_on_a_full_disk_is_one_line():
    done = shell(f"{COMMAND} train --print-config > /dev/full")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "crnn-weak train: error: No space left on device. Free some space, then rerun the same command; "
        "finished work is kept."
    ]


def test_closed_streams_are_no_error():
    assert shell(f"{COMMAND} train --print-config <&- >&- 2>&-").returncode == 0
    assert shell(f"{COMMAND} --version <&-").stdout.startswith("crnn-weak ")


def test_files_do_not_become_closed_standard_streams(tmp_path):
    new, number = tmp_path / "new", tmp_path / "number"
    code = (
        "import os; from crnn_weak.cli import main; main(['--version']); "
        f"opened = os.open({str(new)!r}, os.O_CREAT | os.O_WRONLY); open({str(number)!r}, 'w').write(str(opened))"
    )
    assert shell(f'{sys.executable} -c "{code}" <&- >&- 2>&-').returncode == 0
    assert int(number.read_text()) > 2


def test_a_package_that_is_broken_is_one_line_and_a_bug_is_none(capsys):
    def broken(name):
        raise ImportError("cannot import name 'x'", name=name)

    assert run_guarded("x", lambda: broken("sklearn.metrics")) == 2
    assert "the package scikit-learn cannot be imported (cannot import name 'x')" in capsys.readouterr().err
    with pytest.raises(ImportError):
        run_guarded("x", lambda: broken("crnn_weak.runs"))


@pytest.mark.parametrize("command", ["train", "grid"])
@pytest.mark.parametrize("below", ["", "/run"])
def test_a_file_in_the_place_of_a_folder_is_refused_first(command, below, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("precious")
    assert main([command, "--preset", "quick", "--out", f"file{below}"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"crnn-weak {command}: error: file: is a file, expected a folder. Choose another place."
    ]
    assert os.listdir(tmp_path) == ["file"]
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.parametrize("command", ["train", "grid"])
def test_a_name_that_is_too_long_is_one_line(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([command, "--preset", "quick", "--out", "x" * 256]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("File name too long.")


def test_a_name_of_250_bytes_is_written(tmp_path):
    write_json(tmp_path / ("x" * 250), {})
    assert os.listdir(tmp_path) == ["x" * 250]


def test_a_full_disk_keeps_the_old_file(small_disk, capsys):
    write_json(small_disk / "a.json", ["old"])
    assert run_guarded("x", lambda: write_json(small_disk / "a.json", ["new"] * 100_000)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "No space left on device" in line
    assert os.listdir(small_disk) == ["a.json"]
    assert "old" in (small_disk / "a.json").read_text()


def test_a_full_disk_takes_no_part_of_a_clip(small_disk, capsys):
    free = os.statvfs(small_disk)
    (small_disk / "fill").write_bytes(bytes(free.f_bavail * free.f_frsize - 20_000))
    noise = np.random.default_rng(0).uniform(-1, 1, 160_000)
    assert run_guarded("x", lambda: write_audio(small_disk / "clip.flac", noise, 16_000)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "No space left on device" in line
    assert os.listdir(small_disk) == ["fill"]


@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="root may write to every folder")
def test_a_read_only_folder_is_one_line(tmp_path, capsys):
    tmp_path.chmod(0o500)
    assert run_guarded("x", lambda: write_json(tmp_path / "a.json", {})) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "Permission denied" in line
    assert "choose another place" in line


def test_a_killed_writer_leaves_the_old_file_or_the_new_one(tmp_path):
    code = (
        "import itertools, sys; from crnn_weak.files import write_json\n"
        "for number in itertools.count(): write_json(sys.argv[1], [number] * 20_000)"
    )
    path = tmp_path / "a.json"
    for _ in range(5):
        process = subprocess.Popen([sys.executable, "-c", code, str(path)])
        deadline, before = time.monotonic() + 60, path.stat().st_mtime_ns if path.exists() else 0
        while not (path.exists() and path.stat().st_mtime_ns > before) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        text = path.read_text()
        assert text.startswith("[")
        assert text.endswith("]\n")
        assert text.count(",") == 19_999
