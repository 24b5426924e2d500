"""The tutorials work as they are printed."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from vidssl_cli.cli import app
from vidssl_cli.data.manifest import write_manifest

TUTORIALS = Path(__file__).parents[1] / "docs" / "tutorials"
METHOD = (TUTORIALS / "a_method.md").read_text(encoding="utf-8")
OWN = (TUTORIALS / "own_videos.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """Write the package of the tutorial and install it; return its folder and how to run Python."""
    folder, site = tmp_path_factory.mktemp("gap"), tmp_path_factory.mktemp("site")
    (line,) = re.findall(r"^    (mkdir .*)$", METHOD, re.M)
    subprocess.run(line, shell=True, cwd=folder, check=True)
    for name, text in re.findall(r"```\w+\n# (\S+\.\w+)\n(.*?)```", METHOD, re.S):
        (folder / name).write_text(text, encoding="utf-8")
    install = ["pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([sys.executable, "-m", *install, "--target", site, folder], check=True)
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))

    def run(*arguments):
        command = [sys.executable, "-m", *map(str, arguments)]
        environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )

    return folder, run


def test_the_page_lists_the_files_that_it_shows(package):
    folder, _ = package
    listed = set(re.findall(r"^    (\w[\w/]*\.(?:toml|py|yaml)) ", METHOD, re.M))
    made = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert listed == {name for name in made if "build/" not in name and ".egg" not in name}


def test_the_tests_of_the_package_pass(package):
    _, run = package
    ended = run("pytest", "-q", "-p", "no:cacheprovider", "tests")
    assert "5 passed" in ended.stdout, ended.stdout + ended.stderr


def test_the_package_is_found_and_trains(package, toy_videos):
    folder, run = package
    write_manifest(folder / "videos.jsonl", toy_videos)
    words = ["vidssl_cli", "pretrain", "gap", "--data", "videos.jsonl", "--out", "runs/gap"]
    words += ["--device", "cpu", "--json", "--set", "train.epochs=2"]
    small = ["input={resize: [24, 32], crop: 16}", "backbone.width=4", "train.batch_videos=4"]
    for setting in small:
        words += ["--set", setting]
    ended = run(*words)
    assert ended.returncode == 0, ended.stderr
    rows = [*map(json.loads, (folder / "runs/gap/metrics.jsonl").read_text().splitlines())]
    assert {"gap.loss", "gap.accuracy"} <= rows[0].keys()
    assert (folder / "runs/gap/loggers/status.txt").read_text() == "gap: finished\n"


@pytest.mark.parametrize("page", [METHOD, OWN], ids=["a_method", "own_videos"])
def test_commands_of_the_pages_exist(page):
    group = typer.main.get_command(app)
    lines = re.findall(r"^ {4}(vidssl .*)$|`(vidssl [^`]+)`", page, re.M)
    commands = [shlex.split(first or second, comments=True) for first, second in lines]
    assert len(commands) >= 5
    for words in commands:
        command, rest = group, words[1:]
        while hasattr(command, "commands"):
            command, rest = command.commands[rest[0]], rest[1:]
        options = {name for each in command.params for name in each.opts}
        assert {word for word in rest if word.startswith("--")} <= options, words
