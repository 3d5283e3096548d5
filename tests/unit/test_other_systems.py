"""Rules of Windows and macOS, simulated (neither system ran these tests): paths, drives, open files, locks."""

import ntpath
import os
import subprocess
import sys

import pytest

from crnn_weak.files import relative_path, write_text


def test_files_are_written_without_the_locks_of_posix(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)
    write_text(tmp_path / "a.txt", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_paths_in_documents_have_slashes_or_name_the_drive(monkeypatch):
    monkeypatch.setattr(os.path, "relpath", ntpath.relpath)
    monkeypatch.setattr(os.path, "abspath", ntpath.normpath)
    monkeypatch.setattr(os, "sep", "\\")
    assert relative_path(r"C:\cache\features\test.h5", r"C:\runs\first") == "../../cache/features/test.h5"
    assert relative_path(r"D:\cache\test.h5", r"C:\runs\first") == "D:/cache/test.h5"


def test_a_file_that_another_program_holds_open_keeps_its_content(tmp_path, monkeypatch, refused):
    def held(source, destination):
        raise PermissionError(13, "used by another process", str(destination))

    target = tmp_path / "table.csv"
    target.write_text("filename,onset,offset,label\na.wav,0,4,Car\n")
    monkeypatch.setattr(os, "replace", held)
    assert "table.csv" in refused("convert", target, target, "--to", "csv", "--overwrite")
    assert target.read_text() == "filename,onset,offset,label\na.wav,0,4,Car\n"
    assert list(tmp_path.iterdir()) == [target]  # no temporary file is left


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_a_label_that_the_terminal_cannot_show_is_escaped(tmp_path, encoding):
    reference = tmp_path / "reference.tsv"
    reference.write_text("a.wav\t0.0\t4.0\t犬\n", encoding="utf-8")
    command = [sys.executable, "-m", "crnn_weak", "evaluate", "--baselines", "--reference", str(reference)]
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\\u72ac everywhere" in done.stdout
