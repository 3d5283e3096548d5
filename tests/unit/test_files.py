"""Files whole or not at all, one writer in a folder, documents read as declared types."""

from __future__ import annotations

import math
import multiprocessing
import os
import stat
from typing import Annotated

import helpers_tasks as tasks
import msgspec
import pytest

from crnn_weak.errors import ConfigError, RunError
from crnn_weak.files import (
    convert_document,
    decode_json,
    decode_toml,
    lock,
    read_json,
    read_toml,
    replace_file,
    write_json,
    write_text,
)


class TestWriting:
    def test_a_file_appears_whole_and_an_error_leaves_the_old_one(self, tmp_path):
        path = tmp_path / "new" / "a.keras"
        with replace_file(path, suffix=".keras") as temporary:
            temporary.write_bytes(b"123")
            assert temporary.suffix == ".keras"
            assert not path.exists()
        with pytest.raises(ZeroDivisionError), replace_file(path) as again:
            again.write_text(f"new {1 / 0}")
        assert path.read_bytes() == b"123"
        assert os.listdir(path.parent) == ["a.keras"]
        assert temporary.name.partition(".tmp")[0] != again.name.partition(".tmp")[0], "the name can be foreseen"

    def test_a_link_is_replaced_and_its_target_stays(self, tmp_path):
        (tmp_path / "precious").write_text("precious")
        (tmp_path / "report.html").symlink_to(tmp_path / "precious")
        write_text(tmp_path / "report.html", "page")
        assert (tmp_path / "precious").read_text() == "precious"
        assert (tmp_path / "report.html").read_text() == "page"
        assert not (tmp_path / "report.html").is_symlink()

    def test_line_ends_letters_and_the_usual_mode_stay(self, tmp_path):
        write_text(tmp_path / "a.txt", "å\r\nb\n")
        assert (tmp_path / "a.txt").read_bytes() == "å\r\nb\n".encode()
        write_json(tmp_path / "a.json", {"å": 1})
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
    def test_it_removes_what_a_killed_process_left_a_day_ago(self, tmp_path):
        old, recent, foreign = (tmp_path / f".{sign * 16}.tmp.keras" for sign in "abx")
        for path in (old, recent, foreign):
            path.write_bytes(b"half")
            os.utime(path, (0, 0) if path != recent else None)
        with lock(tmp_path):
            assert {path.name for path in tmp_path.glob("*.tmp*")} == {recent.name, foreign.name}

    def test_it_is_never_taken_through_a_link(self, tmp_path):
        (tmp_path / "precious").write_text("precious")
        (tmp_path / ".lock").symlink_to(tmp_path / "precious")
        with pytest.raises(RunError, match="is a link"), lock(tmp_path):
            pass
        assert (tmp_path / "precious").read_text() == "precious"

    def test_it_is_free_after_an_error(self, tmp_path):
        with pytest.raises(ZeroDivisionError), lock(tmp_path):
            1 / 0  # noqa: B018
        with lock(tmp_path):
            pass

    def test_the_second_is_refused_until_the_holder_is_killed(self, tmp_path, holder):
        for wait_seconds in (0.0, 0.1):
            refused = pytest.raises(RunError, match=rf"process {holder.pid} on .*is writing here")
            with refused, lock(tmp_path, wait_seconds=wait_seconds):
                pass
        holder.kill()
        holder.join()
        with lock(tmp_path):
            pass

    def test_the_second_waits(self, tmp_path, holder):
        with lock(tmp_path, wait_seconds=math.inf):
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
        assert read_json(tmp_path / "a.json", Outer) == Outer("å", [Inner(2.0)])
        (tmp_path / "a.toml").write_text('\ufeffname = "å"\n[[inner]]\nrate = 2\n', encoding="utf-8")
        assert convert_document(read_toml(tmp_path / "a.toml"), Outer, "a.toml") == Outer("å", [Inner(2.0)])

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
            decode_json(text, Outer, "a.json", advice="Train again.")
        assert "\n" not in str(caught.value)
        assert str(caught.value).endswith("Train again.")

    @pytest.mark.parametrize("text", [b"a = " + b"9" * 5000, b"a = " + b"[" * 5000, b'a = "\xff"', b"a = 1\na = 2"])
    def test_a_damaged_toml_document_is_refused(self, text):
        with pytest.raises(ConfigError, match=r"^a\.toml: "):
            decode_toml(text, "a.toml", error=ConfigError)

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
    def test_only_a_regular_file_is_opened(self, tmp_path):
        with pytest.raises(RunError, match="No such file"):
            read_json(tmp_path / "a.json", Outer)
        os.mkfifo(tmp_path / "pipe.json")
        (tmp_path / "large.json").touch()
        os.truncate(tmp_path / "large.json", 10**10)
        for name, says in (
            ("", "not a regular"),
            ("pipe.json", "not a regular"),
            ("large.json", "10,000 MB; expected"),
        ):
            with pytest.raises(RunError, match=says):
                read_json(tmp_path / name, Outer)
