"""The opening comments of recipes are scripts: their commands can be typed, and agree."""

import json
import re
import shutil

import numpy as np
import pytest

from commands import check, classifier, header, parse, protocol, runs
from vidssl_cli.cli import app
from vidssl_cli.cli.failures import run
from vidssl_cli.config.load import load, names
from vidssl_cli.config.recipe import PretrainRecipe
from vidssl_cli.media.encode import write_mp4

PAPERS = [name for name in names() if name.startswith("papers/")]


@pytest.mark.parametrize("name", names())
def test_commands_exist_with_all_that_they_name(name):
    assert header(name)
    for line in header(name):
        check(parse(line))


@pytest.mark.parametrize("name", PAPERS)
def test_a_paper_is_pre_trained_transferred_and_measured(name):
    commands = [parse(line) for line in header(name)]
    made = {"SET"} if any(command.name == "data pack" for command in commands) else set()
    for command in commands:
        given = command.given
        source = {"finetune": given.get("source"), "evaluate": given.get("run")}.get(command.name)
        assert source is None or str(source) in made, f"nothing has made {source}"
        assert given.get("data") != "SET" or "SET" in made
        if command.name in ("pretrain", "finetune"):
            made.add(str(given["out"]))
    assert name in {given for c in commands for given in (c.given.get("recipe"),)}
    measured = [command for command in commands if command.name in ("evaluate", "finetune")]
    if isinstance(load(name), PretrainRecipe):
        assert "evaluate" in {command.name for command in measured}
    assert measured


def trained(name):
    """Return the command, its network's recipe and the classifier's, of what a header trains."""
    commands = [parse(line) for line in header(name)]
    made = runs(commands)
    return [
        (command, network, recipe)
        for command in commands
        if (source := str(command.given.get("source") or command.given.get("run"))) in made
        and (network := load(made[source]))
        and (recipe := classifier(command, network.backbone.name))
    ]


@pytest.mark.parametrize("name", PAPERS)
def test_classifiers_are_tested_at_the_stride_they_are_trained_at(name):
    for command, _, recipe in trained(name):
        assert recipe.sampler.stride == recipe.evaluation.stride, command.words
        if command.name == "evaluate":
            tested = protocol(command).build().protocol.stride or recipe.evaluation.stride
            assert recipe.sampler.stride == tested, command.words


@pytest.mark.parametrize("name", PAPERS)
def test_classifiers_see_clips_as_long_as_those_of_pre_training(name):
    for command, network, recipe in trained(name):
        frames = getattr(network.sampler, "sampler", network.sampler).frames
        assert recipe.sampler.frames == frames, command.words


def test_strides_and_lengths_are_compared_somewhere():
    assert sum(len(trained(name)) for name in PAPERS) > 60


# Whole scripts, at toy size.

CLASSES = ("run", "wave", "jump")
GROUPS = (1, 2, 3, 4)
TOY = [
    *("train.epochs=1", "train.repeats=1", "train.batch_videos=4", "train.precision=fp32"),
    "train.accumulate=1",
]


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    """Make UCF-101 and HMDB51 with three splits each, YUPENN, ASLAN and pairs of it."""
    folder = tmp_path_factory.mktemp("corpora")
    ucf = {label: [f"v_{label}_g{n:02}_c01.avi" for n in GROUPS] for label in CLASSES}
    hmdb = {label: [f"film{n}_{label}_f_0.avi" for n in GROUPS] for label in CLASSES}
    random = np.random.default_rng(0)
    for number, label in enumerate(CLASSES):
        for place, (first, second) in enumerate(zip(ucf[label], hmdb[label], strict=True)):
            texture = random.integers(0, 256, (36, 48, 3), dtype=np.uint8)
            frames = [np.roll(texture, step * (1 + number), axis=1) for step in range(66 + place)]
            for path in (folder / "UCF-101" / label / first, folder / "HMDB51" / label / second):
                path.parent.mkdir(parents=True, exist_ok=True)
                write_mp4(path, np.stack(frames), 25)
    lists = folder / "ucfTrainTestlist", folder / "testTrainMulti_7030_splits"
    for each in lists:
        each.mkdir()
    for split in (1, 2, 3):  # the group of its number is tested
        parts = {"train": [], "test": []}
        for label in CLASSES:
            marks = []
            for n, first, second in zip(GROUPS, ucf[label], hmdb[label], strict=True):
                parts["test" if n == split else "train"].append(f"{label}/{first}\n")
                marks.append(f"{second} {2 if n == split else 1}\n")
            (lists[1] / f"{label}_test_split{split}.txt").write_text("".join(marks))
        for part, rows in parts.items():
            (lists[0] / f"{part}list{split:02}.txt").write_text("".join(rows))
    for copy in ("YUPENN", "ASLAN", "kinetics", "kinetics400", "K400"):
        shutil.copytree(folder / "HMDB51", folder / copy)
    pairs = ["first,second,same,fold\n"]
    for fold in range(2):
        for label, other in zip(CLASSES, CLASSES[1:] + CLASSES[:1], strict=True):
            mine, theirs = hmdb[label], hmdb[other]
            pairs.append(f"{mine[fold]},{mine[fold + 2]},1,{fold}\n")
            pairs.append(f"{mine[fold]},{theirs[fold + 2]},0,{fold}\n")
    (folder / "pairs.csv").write_text("".join(pairs))
    (folder / "Diving48" / "rgb").mkdir(parents=True)
    dives = [(label, number) for label in range(len(CLASSES)) for number in GROUPS]
    for label, number in dives:
        source = folder / "UCF-101" / CLASSES[label] / ucf[CLASSES[label]][number - 1]
        shutil.copy(source, folder / "Diving48" / "rgb" / f"{label}_{number}.mp4")
    for version in ("Diving48", "Diving48_V2"):
        for part in ("train", "test"):
            rows = [
                {"vid_name": f"{label}_{number}", "label": label}
                for label, number in dives
                if (number == 1) == (part == "test")
            ]
            (folder / "Diving48" / f"{version}_{part}.json").write_text(json.dumps(rows))
    return folder


def toy(command):
    """Return the words of a command that take a second, with its protocol as it is."""
    words, more = [*command.words], []
    recipe = classifier(command)
    if command.name == "pretrain":
        more = [*TOY, "input.resize=[36,48]", "input.crop=32", "backbone.width=4"]
        network = load(command.given["recipe"], command.overrides)
        if "cells" in type(network.backbone).model_fields:
            more.append("backbone.cells=[1,1,1]")
        if "tubelet" in type(network.backbone).model_fields:
            more += ["backbone.tubelet=[2,8,8]", "backbone.depth=2", "backbone.heads=null"]
        for place, pretext in enumerate(network.pretext):
            if isinstance(getattr(pretext, "hidden", None), tuple):
                more.append(f"pretext.{place}.hidden=[8]")
        if getattr(network.sampler, "frames", 16) > 16:
            more.append("sampler.frames=16")
    elif command.name == "finetune":
        more = [*TOY, "evaluation.clips=2", "hidden=[8]"]
    elif recipe:
        own = [*protocol(command).set, *TOY, "evaluation.clips=2", "hidden=[8]"]
        more = [f"set={json.dumps(own)}", "clips=2", "hop=8"]
        if "splits=[1,2,3]" in words:
            more.append("splits=[1,3]")
    elif command.name == "evaluate" and not getattr(protocol(command), "freeze", True):
        more = [f"set={json.dumps([*TOY, 'pretext.0.hidden=[8]'])}"]
    elif command.name == "evaluate":
        fields = type(protocol(command)).model_fields
        more = ["fc.epochs=1", "fc.hidden=[8]"] * ("fc" in fields) + ["clips=2"] * (
            "clips" in fields
        )
    words += [word for each in more for word in ("--set", each)]
    return words + (["--device", "cpu"] if "device" in command.given else [])


def test_every_recipe_of_fine_tuning_is_in_a_script_that_runs():
    said = " ".join(word for name in PAPERS for line in header(name) for word in parse(line).words)
    named = set(re.findall(r"recipe=(\S+)|finetune (\S*finetune\S*)", said))
    ours = {name for name in names() if not isinstance(load(name), PretrainRecipe)}
    assert ours == {name for pair in named for name in pair if name}


@pytest.mark.slow
@pytest.mark.parametrize("name", PAPERS)
def test_a_header_runs_from_its_first_line_to_its_last(
    name, corpora, tmp_path, monkeypatch, capsys
):
    if re.search(r"--flow", "".join(header(name))):
        pytest.importorskip("cv2", reason="packing optical flow needs OpenCV")
    for each in corpora.iterdir():
        (tmp_path / each.name).symlink_to(each)
    monkeypatch.chdir(tmp_path)
    for line in header(name):
        words = toy(parse(line))
        assert run(app, words) == 0, f"{words}: {capsys.readouterr().err}"
