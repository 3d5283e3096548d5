"""Files whole or not at all, one writer in a folder, documents read as declared types."""

from __future__ import annotations

import errno
import multiprocessing
import os
import stat
import subprocess
import sys
from typing import Annotated

import helpers_tasks as tasks
import msgspec
import pytest
from helpers import contents

from crnn_weak import files
from crnn_weak.errors import RunError


class TestWriting:
    def test_a_file_appears_whole_and_an_error_leaves_the_old_one(self, tmp_path):
        path = tmp_path / "new" / "a.keras"
        with files.replace_file(path) as temporary:
            temporary.write_bytes(b"123")
            assert temporary.suffix == ".keras"
            assert not path.exists()
        with pytest.raises(ZeroDivisionError), files.replace_file(path) as temporary:
            temporary.write_text(f"new {1 / 0}")
        assert path.read_bytes() == b"123"
        assert os.listdir(path.parent) == ["a.keras"]

    @pytest.mark.parametrize("overwrites", [True, False])
    def test_nothing_behind_a_link_in_an_output_folder_is_changed(self, tmp_path, overwrites):
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "a.txt").write_text("precious")
        (tmp_path / "run").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "run")
        (tmp_path / "run" / "saliency").symlink_to(tmp_path / "other")
        path = tmp_path / "link" / "saliency" / "a.txt"
        for change in (
            lambda: files.write_text(path, "new"),
            lambda: files.delete_files([tmp_path / "run" / "b.txt", path]),
            lambda: files.refuse_existing([path], overwrite=overwrites),
            lambda: files.make_folder(path.parent / "sub"),
        ):
            with files.lock(tmp_path / "link"):
                files.write_text(tmp_path / "link" / "b.txt", "the folder itself may be a link")
                with pytest.raises(RunError, match="saliency: is a link inside an output folder"):
                    change()
        assert contents(tmp_path / "other") == {"a.txt": b"precious"}
        assert (tmp_path / "run" / "b.txt").exists(), "deleted before the refusal"

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
    def test_a_pipe_gets_the_content_and_stays(self, tmp_path):
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        files.refuse_existing([pipe], overwrite=False)
        files.write_text(pipe, "å\n")
        assert os.read(reader, 10) == "å\n".encode()
        os.close(reader)
        assert os.listdir(tmp_path) == ["pipe"]
        with pytest.raises(RunError, match="is a device or a pipe; a model needs a file"):
            files.refuse_stream(pipe, "a model")
        with pytest.raises(RunError, match="is a folder, expected a file"):
            files.write_text(tmp_path, "")

    @pytest.mark.parametrize("kind", ["file", "folder", "link"])
    def test_the_next_writer_removes_what_a_killed_one_left(self, tmp_path, kind):
        path = tmp_path / ("å" * 120 + ".txt")  # no room for a longer name
        (tmp_path / "precious").mkdir()
        with files.temporary_path(path) as left:
            assert left.suffix == ".txt"
        if kind == "file":
            files.write_text(path, "old")
            code = "import os; from crnn_weak import files; os.replace = lambda *places: os._exit(9)"
            code += f"; files.write_text({str(path)!r}, 'half, and longer')"
            assert subprocess.run([sys.executable, "-c", code]).returncode == 9
            (left,) = tmp_path.glob(".*.tmp.txt")
            assert (path.read_text(), left.read_text()) == ("old", "half, and longer")
            files._delete_leftovers.cache_clear()  # as in a new process
        elif kind == "folder":
            (left / "inner").mkdir(parents=True)
        else:
            left.symlink_to(tmp_path / "precious")
        files.write_text(path, "new")
        assert {entry.name for entry in tmp_path.iterdir()} == {path.name, "precious"}
        assert path.read_text() == "new"

    def test_line_ends_letters_and_the_usual_mode_stay(self, tmp_path):
        files.write_text(tmp_path / "a.txt", "å\r\nb\n")
        assert (tmp_path / "a.txt").read_bytes() == "å\r\nb\n".encode()
        files.write_json(tmp_path / "a.json", {"å": 1})
        assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n "å": 1\n}\n'
        (tmp_path / "plain").write_text("")
        assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of `tmp_path` for a second."""
    process = multiprocessing.get_context("spawn").Process(target=tasks.hold, args=(str(tmp_path), 1.0))
    process.start()
    tasks.wait_until((tmp_path / "held").exists)
    yield process
    process.kill()
    process.join()


class TestLock:
    @pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
    def test_without_locks_of_the_file_system_it_is_one_warning(self, tmp_path, monkeypatch, caplog, number):
        fcntl = pytest.importorskip("fcntl", reason="POSIX locks")

        def refused(descriptor, operation):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(fcntl, "flock", refused)
        files._warn_once.cache_clear()
        for _ in range(2):
            with files.lock(tmp_path, wait=True):
                files.write_text(tmp_path / "a.txt", "new")
        assert [record.message[:28] for record in caplog.records] == ["this file system has no lock"]

    def test_it_is_never_taken_through_a_link(self, tmp_path):
        (tmp_path / "precious").write_text("precious")
        (tmp_path / ".lock").symlink_to(tmp_path / "precious")
        with pytest.raises(RunError, match="is a link"), files.lock(tmp_path):
            pass
        assert (tmp_path / "precious").read_text() == "precious"

    def test_it_is_free_after_an_error(self, tmp_path):
        for _ in range(2):
            with pytest.raises(ZeroDivisionError), files.lock(tmp_path):
                1 / 0  # noqa: B018

    def test_the_second_is_refused_until_the_holder_is_killed(self, tmp_path, holder):
        with pytest.raises(RunError, match=rf"process {holder.pid} on .*is writing here"), files.lock(tmp_path):
            pass
        holder.kill()
        holder.join()
        with files.lock(tmp_path):
            pass

    def test_the_second_waits(self, tmp_path, holder):
        with files.lock(tmp_path, wait=True):
            holder.join(timeout=5)
            assert holder.exitcode == 0


class Inner(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    rate: Annotated[float, msgspec.Meta(gt=0)] = 1.0


class Outer(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    name: str
    inner: list[Inner] = []


class TestDocuments:
    def test_a_document_becomes_its_type(self, tmp_path):
        (tmp_path / "a.json").write_text('{"name": "å", "inner": [{"rate": 2}]}', encoding="utf-8")
        assert files.read_json(tmp_path / "a.json", Outer) == Outer("å", [Inner(2.0)])
        (tmp_path / "a.toml").write_text('\ufeffname = "å"\n[[inner]]\nrate = 2\n', encoding="utf-8")
        assert files.convert_document(files.read_toml(tmp_path / "a.toml"), Outer, "a.toml") == Outer("å", [Inner(2.0)])

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (b'{"name": 3}', r"name: expected `str`, got `int`\. Train again\."),
            (b'{"name": "a", "inner": [{"rate": -1}]}', r"inner\[0\]\.rate: expected `float` > 0"),
            (b'{"name": "a", "inner": [{"speed": 1}]}', r"inner\[0\]: object contains unknown field `speed`"),
            (b"{}", "missing required field `name`"),
            (b"", "truncated"),
            (b"{,", "malformed"),
            (b'{"name": "\xff"}', "utf-8"),
            (b'{"name": ' + b"9" * 5000 + b"}", "out of range|got `int`"),
            (b'{"name": ' + b"[" * 100_000, "recursion|got `array`"),
        ],
    )
    def test_a_fault_is_one_line_with_its_path(self, text, message):
        with pytest.raises(RunError, match=rf"(?i)^a\.json: .*({message})") as caught:
            files.decode_json(text, Outer, "a.json", advice="Train again.")
        assert "\n" not in str(caught.value)
        assert str(caught.value).endswith("Train again.")

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
    def test_only_a_regular_file_is_opened(self, tmp_path):
        with pytest.raises(RunError, match="No such file"):
            files.read_json(tmp_path / "a.json", Outer)
        os.mkfifo(tmp_path / "pipe.json")
        (tmp_path / "large.json").touch()
        os.truncate(tmp_path / "large.json", 10**10)
        for name, says in (("", "a regular"), ("pipe.json", "a regular"), ("large.json", "10,000 MB; expected")):
            with pytest.raises(RunError, match=says):
                files.read_json(tmp_path / name, Outer)
