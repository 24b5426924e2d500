"""Two recipes are told apart key by key, and a list of them says what each is."""

import json
import os
import pty
import subprocess
import sys
from itertools import pairwise

import pytest

from vidssl_cli.cli import app
from vidssl_cli.cli.failures import run
from vidssl_cli.config import listing
from vidssl_cli.config.compare_recipes import ABSENT, Difference, compare
from vidssl_cli.config.load import document, load, names
from vidssl_cli.config.recipe import PretrainRecipe
from vidssl_cli.contract.registry import registry


@pytest.fixture
def recipe(toy_recipe):
    """A function that returns the toy recipe with some sections replaced."""

    def make(**sections):
        return PretrainRecipe.model_validate(toy_recipe() | sections)

    return make


def differences(old, new):
    return {each.key: (each.old, each.new) for each in compare(old, new)}


def test_a_recipe_is_like_itself(recipe):
    assert compare(recipe(), recipe()) == []


def test_only_what_differs_is_told(recipe):
    assert differences(
        recipe(),
        recipe(
            backbone={"name": "r3d", "depth": 18, "width": 4},
            input={"resize": 24, "crop": 16, "mode": "residual"},
            evaluation={"clips": 3, "standardise": True},
        ),
    ) == {
        "input.resize": ([24, 32], 24),
        "backbone.depth": (10, 18),
        "evaluation.standardise": (False, True),
    }


def test_keys_of_one_side_are_told_as_such(recipe):
    step = {"name": "step", "every": 2}
    new = recipe()
    new = new.model_copy(
        update={"train": recipe(train=document(new)["train"] | {"schedule": step}).train}
    )
    found = differences(recipe(), new)
    assert found == {
        "train.schedule.name": ("cosine", "step"),
        "train.schedule.warmup": (0.1, 0.0),
        "train.schedule.final": (0.0, ABSENT),
        "train.schedule.every": (ABSENT, 2),
        "train.schedule.gamma": (ABSENT, 0.1),
        "train.schedule.restarts": (ABSENT, []),
    }


def test_null_is_a_value_and_absence_is_none(recipe, toy_recipe):
    new = recipe(train=toy_recipe(clip_gradient=None)["train"])
    (found,) = compare(recipe(), new)
    assert found == Difference("train.clip_gradient", 5.0, None)
    assert found.change() == "5.0 → null"
    assert found.as_document() == {"key": "train.clip_gradient", "from": 5.0, "to": None}
    gone = Difference("a", ABSENT, "")
    assert gone.change() == "– → "
    assert gone.as_document() == {"key": "a", "to": ""}


def test_pretexts_are_matched_by_name(recipe):
    old = recipe()
    turned = recipe(pretext=[{"name": "same_context", "weight": 0.3}, {"name": "pace"}])
    assert differences(old, turned) == {"pretext.same_context.weight": (0.1, 0.3)}
    fewer = recipe(pretext={"name": "pace"})
    found = differences(fewer, old)
    assert found["pretext.same_context.weight"] == (ABSENT, 0.1)
    assert all(key.startswith("pretext.same_context.") for key in found)
    twice = recipe(pretext=[{"name": "pace"}, {"name": "pace", "weight": 2}])
    assert differences(fewer, twice)["pretext.pace#2.weight"] == (ABSENT, 2.0)


def test_differences_come_section_by_section():
    found = compare(load("small/pace"), load("papers/temporal-transforms-r2d3d-ucf101"))
    keys = [each.key for each in found]
    assert keys.index("train.optimizer.lr") < keys.index("train.schedule.final")
    for depth in (1, 2):
        sections = [".".join(key.split(".")[:depth]) for key in keys]
        changes = sum(a != b for a, b in pairwise(sections))
        assert changes == len(set(sections)) - 1
    assert keys[0] == "summary"
    assert keys[-1] == "published"
    key = "jenni-2020/recognition/temporal-transformations-3d-resnet18-ucf101"
    assert found[-1].change() == f'[] → ["{key}"]'


def test_the_difference_as_lines_and_as_a_document(capfd):
    command = ["recipes", "show", "--diff", "small/pace", "small/pace"]
    assert run(app, [*command, "--set", "backbone.depth=18"]) == 0
    assert capfd.readouterr().out == "backbone.depth: 10 → 18\n"
    assert run(app, [*command, "--set", "backbone.depth=18", "--json"]) == 0
    shown = json.loads(capfd.readouterr().out)
    assert shown["differences"] == [{"key": "backbone.depth", "from": 10, "to": 18}]
    assert (
        shown["from"]
        == shown["to"]
        == {
            "name": "small/pace",
            "path": str(names()["small/pace"]),
        }
    )
    assert run(app, command) == 0
    out, said = capfd.readouterr()
    assert out == ""
    assert "are the same" in said
    assert run(app, ["recipes", "show", "small/pace", "finetune", "--diff"]) == 0
    assert "\ntask: pretrain → finetune\n" in "\n" + capfd.readouterr().out


def test_the_difference_on_a_terminal_is_a_table():
    leader, follower = pty.openpty()
    command = ["recipes", "show", "--diff", "small/pace", "small/temporal-transforms"]
    environment = {**os.environ, "COLUMNS": "80", "TERM": "dumb"}
    process = subprocess.Popen(
        [sys.executable, "-m", "vidssl_cli", *command], stdout=follower, env=environment
    )
    os.close(follower)
    shown = b""
    try:
        while chunk := os.read(leader, 4096):
            shown += chunk
    except OSError:  # how a terminal ends
        pass
    os.close(leader)
    assert process.wait() == 0
    lines = shown.decode().splitlines()
    assert max(map(len, lines)) <= 80
    assert any("evaluation.tap" in line and "pool5 → pool4" in line for line in lines)
    assert any("─────" in line for line in lines)


def test_a_difference_needs_two_recipes(capfd):
    assert run(app, ["recipes", "show", "--diff", "small/pace"]) == 2
    assert "--diff takes two recipes" in capfd.readouterr().err


def test_the_list_groups_recipes_and_says_what_they_are(capfd):
    assert run(app, ["recipes", "list"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    headings = [line for line in lines if line and not line.startswith(" ")]
    assert headings[:3] == ["general", "small", "papers"]
    place = lines.index("  papers/pace-r3d-ucf101")
    assert place > lines.index("papers")
    assert "Pace prediction" in lines[place + 1]
    assert lines[place + 2] == "    r3d depth 10 · pace · pace + 0.1 same_context"
    assert "    the network of a run · uniform" in lines

    assert run(app, ["recipes", "list", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capfd.readouterr().out)["recipes"]}
    assert rows.keys() == names().keys()
    assert {key: rows["papers/pace-r3d-ucf101"][key] for key in ("package", "folder", "task")} == {
        "package": "vidssl",
        "folder": "papers",
        "task": "pretrain",
    }
    assert rows["papers/pace-r3d-ucf101"]["backbone"] == {"name": "r3d", "depth": 10}
    assert rows["papers/pace-r3d-ucf101"]["sampler"] == "pace"
    assert rows["papers/pace-r3d-ucf101"]["pretexts"] == [
        {"name": "pace", "label": None, "weight": 1.0},
        {"name": "same_context", "label": None, "weight": 0.1},
    ]
    assert rows["small/rotation"]["pretexts"][0]["label"] == "rotation"
    assert rows["finetune"]["backbone"] is None


def test_recipes_of_other_packages_come_last_under_their_name(tmp_path, monkeypatch, capfd):
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "mine.yaml").write_text("summary: Mine\nsampler: {name: slow}\n")
    (tmp_path / "odd.yaml").write_text("pretext: [3, {weight: high}]\nsampler: pace\n")
    monkeypatch.setattr(registry(), "recipe_folders", {tmp_path: "my-package"})
    found = listing.outlines()
    assert [(each.name, each.package) for each in found[-2:]] == [
        ("odd", "my-package"),
        ("small/mine", "my-package"),
    ]
    assert [each.method() for each in found[-2:]] == [
        "the network of a run · ? + ?",
        "the network of a run · slow",
    ]
    assert run(app, ["recipes", "list"]) == 0
    shown = capfd.readouterr().out
    assert "\nsmall, from my-package\n  small/mine\n    Mine\n" in shown
