"""Documents are read into declared types; a fault is one line with its path."""

from __future__ import annotations

import os
from typing import Annotated

import msgspec
import pytest

from crnn_weak.documents import MAX_DEPTH, MAX_DIGITS, convert, decode_json, decode_toml, read_json, read_toml
from crnn_weak.errors import ConfigError, RunError


class Inner(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    rate: Annotated[float, msgspec.Meta(gt=0)] = 1.0


class Outer(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    name: str
    inner: list[Inner] = []


def test_a_document_becomes_its_type(tmp_path):
    (tmp_path / "a.json").write_text('{"name": "å", "inner": [{"rate": 2}]}', encoding="utf-8")
    assert read_json(tmp_path / "a.json", Outer) == Outer("å", [Inner(2.0)])
    (tmp_path / "a.toml").write_text('name = "å"\n[[inner]]\nrate = 2\n', encoding="utf-8")
    assert convert(read_toml(tmp_path / "a.toml"), Outer, "a.toml") == Outer("å", [Inner(2.0)])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'{"name": 3}', r"a\.json: name: expected `str`, got `int`\. Train again\."),
        (b'{"name": "a", "inner": [{"rate": -1}]}', r"inner\[0\]\.rate: expected `float` > 0"),
        (b'{"name": "a", "inner": [{"speed": 1}]}', r"inner\[0\]: object contains unknown field `speed`"),
        (b"{}", "missing required field `name`"),
        (b"", "not a JSON document"),
        (b"{", "not a JSON document"),
        (b'{"name": "\xff"}', "not a JSON document"),
        (b'{"name": ' + b"9" * (MAX_DIGITS + 1) + b"}", "digits"),
        (b'{"name": ' + b"9" * MAX_DIGITS + b"}", "name"),
        (b'{"name": ' + b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1) + b"}", "nested"),
        (b'{"name": ' + b"[" * 100_000, "nested"),
    ],
)
def test_a_fault_is_one_line_with_its_path(text, message):
    with pytest.raises(RunError, match=message) as caught:
        decode_json(text, Outer, "a.json", advice="Train again.")
    assert "\n" not in str(caught.value)
    assert "a.json" in str(caught.value)


@pytest.mark.parametrize(
    "text", [b"epochs: 3", b"a = " + b"9" * 5000, b"a = " + b"[" * 5000, b'a = "\xff"', b"a = 1\na = 2"]
)
def test_a_damaged_toml_document_is_refused(text):
    with pytest.raises(ConfigError, match=r"^a\.toml: "):
        decode_toml(text, "a.toml", error=ConfigError)


def test_a_byte_order_mark_is_no_content():
    assert decode_toml(b"\xef\xbb\xbfa = 1\n", "a.toml") == {"a": 1}


def test_brackets_and_digits_inside_a_string_count_for_nothing():
    text = '{"name": "' + "[" * 1000 + "9" * 1000 + '\\""}'
    assert decode_json(text.encode(), Outer, "a.json").name == "[" * 1000 + "9" * 1000 + '"'


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(RunError, match="No such file"):
        read_json(tmp_path / "a.json", Outer)
    with pytest.raises(RunError, match="not a regular file"):
        read_json(tmp_path, Outer)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_named_pipe_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "a.json")
    with pytest.raises(RunError, match="not a regular file"):
        read_json(tmp_path / "a.json", Outer)
