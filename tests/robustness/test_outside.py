"""Full disks, closed streams, files in the way, killed writers: one line and exit code 2, and files whole or absent."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from crnn_weak.cli import run_guarded

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
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "crnn-weak train: error: No space left on device. Free some space, then rerun the same command; "
        "finished work is kept."
    ]


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
