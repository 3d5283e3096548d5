"""Safe writes: whole or not at all, and never through a link."""

from __future__ import annotations

import os
import stat

import pytest

from crnn_weak.errors import RunError
from crnn_weak.storage import lock, replace_file, write_json, write_text


def test_a_file_appears_whole(tmp_path):
    with replace_file(tmp_path / "new" / "a.bin") as temporary:
        temporary.write_bytes(b"123")
        assert not (tmp_path / "new" / "a.bin").exists()
    assert (tmp_path / "new" / "a.bin").read_bytes() == b"123"
    assert os.listdir(tmp_path / "new") == ["a.bin"]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    write_text(tmp_path / "a.txt", "old")

    def fail():
        with replace_file(tmp_path / "a.txt") as temporary:
            temporary.write_text("new")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (tmp_path / "a.txt").read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_temporary_names_cannot_be_foreseen(tmp_path):
    names = set()
    for _ in range(3):
        with replace_file(tmp_path / "a.keras", suffix=".keras") as temporary:
            names.add(temporary.name)
            assert temporary.suffix == ".keras"
    assert len(names) == 3


def test_a_link_is_replaced_and_its_target_stays(tmp_path):
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "report.html").symlink_to(tmp_path / "precious")
    write_text(tmp_path / "report.html", "page")
    assert (tmp_path / "precious").read_text() == "precious"
    assert (tmp_path / "report.html").read_text() == "page"
    assert not (tmp_path / "report.html").is_symlink()


def test_line_ends_and_letters_stay(tmp_path):
    write_text(tmp_path / "a.txt", "å\r\nb\n")
    assert (tmp_path / "a.txt").read_bytes() == "å\r\nb\n".encode()
    write_json(tmp_path / "a.json", {"å": 1})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n "å": 1\n}\n'


def test_the_lock_removes_what_a_killed_process_left_a_day_ago(tmp_path):
    old, recent, foreign = (tmp_path / f".{sign * 16}.tmp.keras" for sign in "abx")
    for path in (old, recent, foreign):
        path.write_bytes(b"half")
        os.utime(path, (0, 0) if path != recent else None)
    with lock(tmp_path):
        assert {path.name for path in tmp_path.glob("*.tmp*")} == {recent.name, foreign.name}


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_the_mode_is_that_of_any_other_file(tmp_path):
    (tmp_path / "plain").write_text("")
    write_text(tmp_path / "safe", "")
    assert stat.S_IMODE((tmp_path / "safe").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_the_lock_is_never_taken_through_a_link(tmp_path):
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").symlink_to(tmp_path / "precious")
    with pytest.raises(RunError, match="is a link"), lock(tmp_path / "run"):
        pass
    assert (tmp_path / "precious").read_text() == "precious"
