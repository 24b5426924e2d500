"""Help and the rejection of bad recipes stay quick: they import nothing heavy."""

import json
import subprocess
import sys

import pytest
import typer

from vidssl_cli.cli import app

HEAVY = {"torch", "faiss", "av", "safetensors", "torchvision", "sklearn", "cv2", "jinja2"}

SCRIPT = """
import json, sys
from vidssl_cli.cli import main
for words in json.loads(sys.argv[1]):
    sys.argv[1:] = words
    try:
        main()
    except SystemExit as end:
        print(json.dumps({"status": end.code, "modules": sorted(sys.modules)}))
"""


def commands(group, path=()):
    """Yield the words of every command, groups included."""
    yield path
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, (*path, name))


def start(*lines):
    """Run command lines in one fresh interpreter; yield status, modules and words said of each."""
    script = [sys.executable, "-c", SCRIPT, json.dumps(lines)]
    run = subprocess.run(
        script, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True
    )
    said = []
    for line in run.stdout.splitlines():
        if line.startswith('{"status"'):
            report = json.loads(line)
            yield report["status"], set(report["modules"]), said
            said = []
        else:
            said.append(line)


def test_help_imports_nothing_heavy():
    ((status, modules, said),) = start(["--help"])
    assert status == 0
    assert any(line.strip().startswith("recipes ") for line in said)
    assert not modules & (HEAVY | {"numpy", "pydantic", "pluggy"})


def test_every_commands_help_is_light_and_fits_a_terminal():
    lines = [[*path, "--help"] for path in commands(typer.main.get_command(app))]
    reports = list(start(*lines))
    assert len(reports) == len(lines) > 10
    for line, (status, modules, said) in zip(lines, reports, strict=True):
        assert status == 0
        assert said[0].startswith(f"Usage: vidssl {' '.join(line[:-1])}".strip())
        assert not modules & (HEAVY | {"numpy"}), line
        assert max(map(len, said)) <= 80, line
        assert not any(text.endswith("...") for text in said[1:]), f"a summary is cut: {said}"


@pytest.mark.parametrize(
    "command",
    [
        ["recipes", "check", "RECIPE"],
        ["pretrain", "RECIPE", "--data", "nowhere", "--out", "nowhere"],
        ["sweep", "RECIPE", "--data", "nowhere", "--out", "nowhere"],
        ["finetune", "RECIPE", "--data", "nowhere", "--out", "nowhere", "--from", "nowhere"],
    ],
    ids=lambda words: words[0],
)
def test_a_bad_recipe_is_rejected_without_anything_heavy(command, tmp_path):
    path = tmp_path / "bad.yaml"
    task = "finetune" if command[0] == "finetune" else "pretrain"
    path.write_text(f"task: {task}\nsampler: {{name: pase}}\ntrain:\n  epochs: 0\n  epoch: 3\n")
    line = [str(path) if word == "RECIPE" else word for word in command]
    ((status, modules, said),) = start(line)
    assert status == 2
    assert not modules & HEAVY
    for number in (2, 4, 5):
        assert any(problem.startswith(f"{path}:{number}:") for problem in said)


@pytest.mark.parametrize(
    "command",
    [["list"], ["show", "small/pace"], ["show", "--diff", "small/pace", "demo"]],
    ids=" ".join,
)
def test_recipes_are_shown_without_anything_heavy(command):
    ((status, modules, _),) = start(["recipes", *command])
    assert status == 0
    assert not modules & HEAVY
