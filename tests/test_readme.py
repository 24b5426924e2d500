"""The README's commands, run word by word on toy videos."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from public_weights import tiny
from vidssl_cli.cli import app
from vidssl_cli.cli.failures import run
from vidssl_cli.data.manifest import write_manifest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SMALL = [
    *("--set", "train.epochs=1", "--set", "train.repeats=1", "--set", "train.batch_videos=4"),
    *("--set", "backbone={name: r3d, depth: 10, width: 4}", "--device", "cpu"),
]
"""What makes a training of minutes one of seconds."""


def commands():
    """Return the words of every `vidssl` command in the README's blocks."""
    lines = re.findall(r"^    (vidssl .*)$", README, re.MULTILINE)
    return [shlex.split(line, comments=True)[1:] for line in lines]


def test_every_command_does_what_the_readme_says(toy_videos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "VIDEOS").mkdir()
    for video in toy_videos:
        shutil.copy(video.path, tmp_path / "VIDEOS")
    shutil.copy(toy_videos[0].path, tmp_path / "query.mp4")
    write_manifest(tmp_path / "labelled.jsonl", toy_videos)
    monkeypatch.setattr("vidssl_cli.cli.serve._wait", lambda: None)  # it serves until stopped
    others = tiny(tmp_path)
    monkeypatch.setattr("vidssl_cli.model.public_files.download", lambda name: others)
    monkeypatch.delenv("DISPLAY", raising=False)
    assert len(commands()) >= 8
    for words in commands():
        more = SMALL if words[0] == "pretrain" else []
        if words[0] == "quickstart":
            more = [*SMALL, "--recipe", "small/instance", "--minutes", "0.01"]
        if words[0] == "sweep":
            more = [*SMALL, "--seeds", "1"]
        if words[0] == "finetune":
            more = [*SMALL[:6], "--device", "cpu"]
        assert run(app, [*words, *more]) == 0, f"{words}: {capsys.readouterr().err}"
    assert (tmp_path / "hits.html").stat().st_size > 1000


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")]
)
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert not missing
