"""Files of class names."""

from __future__ import annotations

import pytest

from vidssl_cli.base.errors import DamagedFileError
from vidssl_cli.data.class_names import read_classes


@pytest.fixture
def read(tmp_path):
    def classes(text):
        (tmp_path / "classes.txt").write_text(text, encoding="utf-8", errors="surrogateescape")
        return read_classes(tmp_path / "classes.txt")

    return classes


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("run 0\nwalk 1\n", {0: "run", 1: "walk"}),
        ("walk 2\nplay guitar 1\n", {1: "play guitar", 2: "walk"}),
        ("run\t0\nwalk\t1\n", {0: "run", 1: "walk"}),
        ("run,1\nwalk,0\n", {1: "run", 0: "walk"}),
        ('0,run\n1,"walk, slowly"\n', {0: "run", 1: "walk, slowly"}),
        ("channel 4\nchannel 7\n", {0: "channel 4", 1: "channel 7"}),
        ("zone 1\nzone 2\n", {0: "zone 1", 1: "zone 2"}),
        ("point shot 3\nrun\nwalk\n", {0: "point shot 3", 1: "run", 2: "walk"}),
        ('"play guitar"\nrun\n', {0: "play guitar", 1: "run"}),
    ],
)
def test_numbers_may_come_first_or_last(read, text, names):
    assert read(text) == names


def test_what_no_class_is_called_is_a_header(read, capsys):
    for header, text in (("id,name", "0,run\n1,walk\n"), ("name", "run\nwalk\n")):
        assert read(f"{header}\n{text}") == {0: "run", 1: "walk"}
        assert f"classes.txt:1: '{header}' is taken for a header" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("run 0\nwalk 1\njump\n", r":3: 'jump' has no number, unlike 2 of 3 lines"),
        ("run\nwalk\nrun\n", r":3: the class 'run' is in line 1 too"),
        ("to,do\n0,run\n1,walk\n", r":1: 'to,do' has no number"),
        ('{"run": 0}\n', r":1: .* is not the name of a class"),
        ("item {\n  name: 'run'\n", r":1: 'item {' is not the name of a class"),
        ("run\nl\udce4uft\n", r":2: the byte 0xe4 after 'l' is not UTF-8"),
    ],
)
def test_what_is_no_class_is_named(read, text, problem):
    with pytest.raises(DamagedFileError, match=problem):
        read(text)
