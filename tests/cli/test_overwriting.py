"""What a command cannot bring up to date is replaced with --overwrite only."""

import pytest

from vidssl_cli.cli import app
from vidssl_cli.cli.failures import run


@pytest.mark.parametrize(
    "words",
    [
        ["retrieve", "index", "#0", "--gallery"],
        ["map", "index", "--out"],
        ["duplicates", "index", "--out"],
        ["report", "runs", "--out"],
        ["data", "preview", "demo", "--data", "videos", "--out"],
        ["data", "scores", "videos", "--out", "scores.jsonl", "--page"],
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_a_page_is_refused_before_anything_is_computed(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "page.html").write_text("mine")
    assert run(app, [*words, "page.html"]) == 2
    said = capsys.readouterr().err
    assert f"{words[-1]} page.html is there already" in said
    assert "--overwrite" in said
    assert (tmp_path / "page.html").read_text() == "mine"
    run(app, [*words, "page.html", "--overwrite"])
    assert "is there already" not in capsys.readouterr().err
    assert run(app, [*words, "page.csv"]) == 2
    assert f"{words[-1]} page.csv is not a name for a page" in capsys.readouterr().err
