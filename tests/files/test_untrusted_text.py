"""Text of others is refused where it is ambiguous, bottomless or too large."""

import json
import pickle

import pytest

from vidssl_cli.base.errors import DamagedFileError, UsageError
from vidssl_cli.files import untrusted_text
from vidssl_cli.files.untrusted_text import parse_json, read_json, read_lines, understood


def test_plain_json_is_read(tmp_path):
    value = {"a": [1, 2.5, None, True, "é"], "b": {"a": {}}}
    (tmp_path / "a.json").write_text(json.dumps(value))
    assert read_json(tmp_path / "a.json") == value


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"a": ' * 100_000, "nested too deeply"),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "the key 'c' occurs twice"),
        ("9" * 5000, "4300 digits"),
        ("", "Expecting value"),
        (pickle.dumps({}), "decode"),
    ],
)
def test_what_is_not_plain_is_refused(text, problem):
    with pytest.raises(ValueError, match=problem):
        parse_json(text)


def test_a_file_of_any_size_is_refused_at_once(tmp_path):
    with (tmp_path / "a.json").open("wb") as file:
        file.truncate(1 << 36)
    with pytest.raises(ValueError, match="larger than"):
        read_json(tmp_path / "a.json")
    with pytest.raises(DamagedFileError, match=r"a\.json:1: the line has more than"):
        list(read_lines(tmp_path / "a.json"))


def test_lines_are_numbered_and_need_not_be_utf_8(tmp_path, monkeypatch):
    monkeypatch.setattr(untrusted_text, "LONGEST", 4)
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbfabc\n\xff\n\n1234")
    lines = [(1, "abc\n"), (2, "\udcff\n"), (3, "\n"), (4, "1234")]
    assert list(read_lines(tmp_path / "a")) == lines
    (tmp_path / "a").write_text("a\n12345\n")
    with pytest.raises(DamagedFileError, match="a:2: "):
        list(read_lines(tmp_path / "a"))


@pytest.mark.parametrize("error", [KeyError("a"), MemoryError(), ValueError("two\nlines")])
def test_what_a_parser_raises_is_damage(error, tmp_path):
    with pytest.raises(DamagedFileError, match=type(error).__name__) as caught:  # noqa: SIM117
        with understood(tmp_path):
            raise error
    assert "\n" not in str(caught.value)
    assert caught.value.where == str(tmp_path)


@pytest.mark.parametrize("error", [UsageError("no"), FileNotFoundError("no")])
def test_other_failures_are_told_as_they_are(error, tmp_path):
    with pytest.raises(type(error)), understood(tmp_path):
        raise error
