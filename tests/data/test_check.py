"""Each kind of trouble is found where it is, and only there."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from vidssl_cli.base.errors import MediaError
from vidssl_cli.cli import app
from vidssl_cli.cli.failures import run
from vidssl_cli.config.load import load, names
from vidssl_cli.config.recipe import FinetuneRecipe, PretrainRecipe
from vidssl_cli.contract.videos import Video
from vidssl_cli.data.check import check
from vidssl_cli.data.manifest import write_manifest
from vidssl_cli.data.pack import pack
from vidssl_cli.media.encode import write_mp4
from vidssl_cli.media.probe import probe


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


def found(recipe, videos, broken=(), **options):
    _, findings = check(recipe, videos, broken, **options)
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
        (2, {"timing": "jumps"}, "time jumps"),
        (2, {"problems": ("damaged frames: 2 of 62",)}, "problems"),
        (7, {"label": "c"}, "unknown class"),
    ],
)
def test_a_fact_that_is_a_problem(recipe, fine, number, change, kind):
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


@pytest.fixture
def real(fine, tmp_path, make_video):
    """The eight videos as files of different lengths."""
    for number, video in enumerate(fine):
        path = make_video(tmp_path / f"{number}.mp4", frames=60 + 2 * number)
        fine[number] = replace(probe(str(path)), label=video.label, split=video.split)
    return fine


def copied(videos, number, to):
    shutil.copyfile(videos[number].path, videos[to].path)
    videos[to] = replace(videos[number], path=videos[to].path, split=videos[to].split)


def test_nothing_is_found_in_files_where_nothing_is_wrong(recipe, real):
    assert check(recipe, real, []) == (6, [])


def test_the_same_file_on_both_sides(recipe, real):
    copied(real, 0, 7)
    assert found(recipe, real) == {"duplicate": [real[7].path]}


def test_the_same_file_twice_in_training(recipe, real):
    copied(real, 0, 3)
    copied(real, 6, 7)
    assert found(recipe, real) == {"repeated file": [real[3].path, real[7].path]}


def test_copies_of_packed_videos_whose_files_are_gone(recipe, real, tmp_path):
    copied(real, 0, 7)
    packed = pack(real, tmp_path / "set", resize=(48, 64)).videos
    for video in packed:
        Path(video.path).unlink()
    assert found(recipe, packed) == {"duplicate": [real[7].path]}


@pytest.mark.parametrize(("size", "codec"), [((48, 64), "mpeg4"), ((96, 128), "libx264")])
def test_other_encodings_of_a_training_video(recipe, real, tmp_path, make_video, size, codec):
    path = make_video(tmp_path / "again.mp4", frames=62, size=size, codec=codec)
    real[6] = replace(probe(str(path)), label="a", split="test")
    (finding,) = check(recipe, real, [])[1]
    assert (finding.kind, finding.items) == (
        "near duplicate",
        ((str(path), f"looks like {real[1].path}"),),
    )
    assert check(recipe, real, [], pictures=False) == (6, [])


def test_similar_videos_within_a_split_are_not_reported(recipe, real, tmp_path, make_video):
    path = make_video(tmp_path / "again.mp4", frames=62, codec="mpeg4")
    real[2] = replace(probe(str(path)), label="a", split="train")
    assert found(recipe, real) == {}


def test_videos_of_one_colour(recipe, real, tmp_path):
    for number, name in ((5, "grey"), (6, "also grey"), (7, "fades")):
        frames = np.full((60, 48, 64, 3), 90, np.uint8)
        if name == "fades":
            frames += np.arange(60, dtype=np.uint8)[:, None, None, None]
        write_mp4(tmp_path / f"{name}.mp4", frames, 25)
        facts = probe(str(tmp_path / f"{name}.mp4"))
        real[number] = replace(facts, label="ab"[number % 2], split=real[number].split)
    colours = found(recipe, real)
    assert colours.pop("single colour") == [video.path for video in real[5:]]
    assert colours == {"duplicate": [real[6].path]}


def test_what_cannot_be_read_any_more(recipe, real):
    Path(real[3].path).write_bytes(b"")
    assert found(recipe, real) == {"unreadable": [real[3].path]}


def test_what_is_not_there_is_told(recipe, fine, capsys):
    check(recipe, fine, [])
    assert "8 of 8 videos are not there" in capsys.readouterr().err


def test_upright_among_wide(recipe, fine):
    fine[2] = replace(fine[2], width=48, height=64)
    fine[3] = replace(fine[3], width=64, height=64)
    assert found(recipe, fine) == {"orientation": [fine[2].path]}


@pytest.mark.parametrize(("policy", "kind"), [("loop", "too short"), ("skip", "rejected")])
def test_videos_shorter_than_clips(toy_recipe, fine, policy, kind):
    sampler = toy_recipe()["sampler"] | {"short_video": policy}
    recipe = PretrainRecipe.model_validate(toy_recipe() | {"sampler": sampler})
    fine[1] = replace(fine[1], frames=7, declared=7)
    fine[7] = replace(fine[7], frames=7, declared=7)  # of the test split, which is not trained on
    expected = [fine[1].path, fine[7].path] if kind == "rejected" else [fine[1].path]
    assert found(recipe, fine) == {kind: expected}


@pytest.mark.parametrize("name", sorted(names()))
def test_no_sampler_repeats_frames_of_a_long_video(name, fine):
    recipe = load(name)
    long = [replace(video, frames=3000, declared=3000, duration=120.0) for video in fine]
    kinds = found(recipe, long, pictures=False)
    assert kinds.keys() <= {"batch"}


def test_rates_that_are_low(toy_recipe, fine):
    fine[1] = replace(fine[1], fps=12.0)
    fine[2] = replace(fine[2], fps=24.9)
    assert found(PretrainRecipe.model_validate(toy_recipe()), fine) == {"low rate": [fine[1].path]}
    at_25 = toy_recipe()["input"] | {"fps": 25}
    recipe = PretrainRecipe.model_validate(toy_recipe() | {"input": at_25})
    assert found(recipe, fine) == {"low rate": [fine[1].path]}
    at_10 = toy_recipe()["input"] | {"fps": 10}
    recipe = PretrainRecipe.model_validate(toy_recipe() | {"input": at_10})
    assert found(recipe, fine) == {}


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


def test_the_command_looks_at_pictures_unless_told_otherwise(on_disk, capfd):
    assert run(app, ["data", "check", *on_disk]) == 0
    assert "are not there" in capfd.readouterr().err
    assert run(app, ["data", "check", *on_disk, "--no-pictures"]) == 0
    assert "are not there" not in capfd.readouterr().err


def test_the_command_reports_to_people(on_disk, capfd):
    assert run(app, ["data", "check", *on_disk]) == 0
    shown = capfd.readouterr().out
    assert "8 videos, 6 to train" in shown
    assert "2.mp4: 25.00" in shown
