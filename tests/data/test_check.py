"""Each kind of trouble is found where it is, and only there."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from ruamel.yaml import YAML

from vidssl_cli.base.errors import MediaError
from vidssl_cli.cli import app
from vidssl_cli.cli.failures import run
from vidssl_cli.config.recipe import FinetuneRecipe, PretrainRecipe
from vidssl_cli.contract.videos import Video
from vidssl_cli.data.check import check
from vidssl_cli.data.manifest import write_manifest


@pytest.fixture
def recipe(toy_recipe):
    return PretrainRecipe.model_validate(toy_recipe())


@pytest.fixture
def fine():
    """Eight sound videos of two classes."""
    return [
        Video(
            f"/data/{number}.mp4",
            label="ab"[number % 2],
            split="train" if number < 6 else "test",
            group=str(number),
            frames=60,
            fps=25,
            width=64,
            height=48,
            duration=2.4,
            declared=60,
            timing="steady",
        )
        for number in range(8)
    ]


def found(recipe, videos, broken=()):
    _, findings = check(recipe, videos, broken)
    return {finding.kind: [item for item, _ in finding.items] for finding in findings}


def test_nothing_is_found_where_nothing_is_wrong(recipe, fine):
    assert check(recipe, fine, []) == (6, [])


@pytest.mark.parametrize(
    ("number", "change", "kind"),
    [
        (2, {"declared": 61}, "frame count"),
        (2, {"timing": "out of order"}, "timestamps"),
        (2, {"timing": "missing"}, "timestamps"),
        (2, {"timing": "variable"}, "variable frame rate"),
        (7, {"label": "c"}, "unknown class"),
    ],
)
def test_a_fact_that_hurts(recipe, fine, number, change, kind):
    fine[number] = replace(fine[number], **change)
    assert found(recipe, fine) == {kind: [fine[number].path]}


def test_a_header_that_declares_nothing_is_not_wrong(recipe, fine):
    assert found(recipe, [replace(video, declared=None) for video in fine]) == {}


def test_what_the_sampler_rejects(toy_recipe, fine):
    sampler = toy_recipe()["sampler"] | {"short_video": "skip"}
    recipe = PretrainRecipe.model_validate(toy_recipe() | {"sampler": sampler})
    fine[1] = replace(fine[1], frames=5, declared=5)
    usable, findings = check(recipe, fine, [])
    assert usable == 5
    assert [(f.kind, f.items[0][0]) for f in findings] == [("rejected", fine[1].path)]
    assert "5 frames" in findings[0].items[0][1]


def test_what_cannot_be_read(recipe, fine):
    broken = [MediaError("is empty", where="/data/9.mp4")]
    assert found(recipe, fine, broken) == {"unreadable": ["/data/9.mp4"]}


def test_a_lopsided_set(recipe, fine):
    videos = [replace(video, label="b" if video is fine[0] else "a") for video in fine]
    assert found(recipe, videos) == {"imbalance": ["a", "b"]}


def test_a_recording_on_both_sides(recipe, fine):
    fine[7] = replace(fine[7], group="0")
    assert found(recipe, fine) == {"group on both sides": [fine[0].path, fine[7].path]}


def test_the_same_file_on_both_sides(recipe, fine, tmp_path, make_video):
    for number, video in enumerate(fine):
        path = make_video(
            tmp_path / f"{number}.mp4", frames=24 if number in (0, 7) else 12 + number
        )
        fine[number] = replace(video, path=str(path))
    assert found(recipe, fine) == {"duplicate": [fine[7].path]}


def test_too_few_for_a_batch(recipe, fine):
    assert found(recipe, fine[:3]) == {"batch": []}


def test_a_classifier_needs_labels(toy_recipe, fine):
    toy = {key: toy_recipe()[key] for key in ("sampler", "train")}
    recipe = FinetuneRecipe.model_validate(toy | {"task": "finetune"})
    fine[3] = replace(fine[3], label=None)
    assert found(recipe, fine) == {"unlabelled": [fine[3].path]}


@pytest.fixture
def on_disk(toy_recipe, fine, tmp_path):
    with (tmp_path / "toy.yaml").open("w") as file:
        YAML().dump(toy_recipe(), file)
    fine[2] = replace(fine[2], timing="variable")
    write_manifest(tmp_path / "m.jsonl", fine)
    return [str(tmp_path / "toy.yaml"), "--data", str(tmp_path / "m.jsonl")]


def test_the_command_reports_to_machines(on_disk, fine, capfd):
    assert run(app, ["data", "check", *on_disk, "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    (finding,) = document.pop("findings")
    assert document == {"recipe": on_disk[0], "videos": 8, "usable": 6}
    assert finding["kind"] == "variable frame rate"
    assert finding["items"] == [
        {"item": fine[2].path, "detail": "25.00 frames per second on average"}
    ]


def test_the_command_reports_to_people(on_disk, capfd):
    assert run(app, ["data", "check", *on_disk]) == 0
    shown = capfd.readouterr().out
    assert "8 videos, 6 to train" in shown
    assert "2.mp4: 25.00" in shown
