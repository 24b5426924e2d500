"""Tables: paths are whole, wrapped on a terminal and on one line elsewhere."""

import io

import pytest
from rich.console import Console

from vidssl_cli.base import console

PATH = "/videos/" + "a long folder/" * 12 + "clip.mp4"
ROWS = [(1, "0.912", "0.0-2.0 s", "#12", PATH), (2, "0.875", "10.0-12.0 s", "#3", "b.mp4")]
COLUMNS = ["", "score", "moment", "item", "video"]


def test_elsewhere_a_row_is_one_line(capsys):
    console.emit_table("a title that is " + "long " * 30, COLUMNS, ROWS)
    lines = capsys.readouterr().out.splitlines()
    (row,) = [line for line in lines if "#12" in line]
    assert row.rstrip().endswith(PATH)
    assert lines[0].startswith("a title that is long")
    assert all(line == line.rstrip() or len(line) < 400 for line in lines)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_terminal_wraps_the_path_and_nothing_else(width, monkeypatch):
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=width, color_system=None)
    monkeypatch.setattr(console, "stdout", terminal)
    console.emit_table("hits", COLUMNS, ROWS)
    lines = screen.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    first = next(line for line in lines if "#12" in line)
    assert first.split()[:4] == ["1", "0.912", "0.0-2.0", "s"]
    start = first.index("/videos/")
    told = "".join(line[start:].strip().replace(" ", "") for line in lines[3:])
    assert PATH.replace(" ", "") in told
