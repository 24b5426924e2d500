"""A grid of runs: which commands there are, which of them are left, and what comes of them."""

import json
import shlex
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from vidssl_cli.base.errors import Interrupted, PluginError, Preempted, RecipeError, UsageError
from vidssl_cli.cli import app
from vidssl_cli.cli.failures import run as call
from vidssl_cli.cli.sweep_plan import LONGEST, Plan
from vidssl_cli.cli.sweep_run import run_jobs, shell_line
from vidssl_cli.config.load import load, load_as, resolved_yaml
from vidssl_cli.config.recipe import PretrainRecipe
from vidssl_cli.contract.videos import Video
from vidssl_cli.data.manifest import digest, write_manifest
from vidssl_cli.evaluation.records import Record
from vidssl_cli.files import sealed_json
from vidssl_cli.files.sealed_folder import sha256

VIDEOS = [Video(f"{number}.mp4", frames=200, fps=25) for number in range(10)]


DIGEST = digest(VIDEOS)


def never(data):
    raise AssertionError(f"{data} need not be opened")


def plan(out, *overrides, recipes=("small/pace",), **more):
    return Plan("DATA", out, recipes, overrides, **more)


def finish(planned, state="finished", step="epoch-0001-step-00000009"):
    """Leave what a training leaves, as far as a sweep looks at it."""
    words = planned.commands[0]
    sets = [words[at + 1] for at, word in enumerate(words) if word == "--set"]
    (planned.folder / "checkpoints" / step).mkdir(parents=True)
    (planned.folder / "checkpoints" / "last").symlink_to(step)
    recipe = load_as(PretrainRecipe, planned.recipe, sets)
    (planned.folder / "recipe.yaml").write_text(resolved_yaml(recipe))
    digests = {"recipe.yaml": sha256(planned.folder / "recipe.yaml")}
    facts = {"state": state, "seed": planned.seed, "files": digests}
    (planned.folder / "run.json").write_bytes(sealed_json.render(facts))


def measure(planned, evaluator, data=DIGEST, trained="epoch-0001-step-00000009", **options):
    from vidssl_cli.config.load import load_options
    from vidssl_cli.contract.hooks import EvaluatorOptions

    sets = [f"{key}={value}" for key, value in options.items()]
    chosen = load_options(EvaluatorOptions, evaluator, sets).model_dump(mode="json")
    folder = planned.folder / "evaluations" / f"{evaluator}-{len(sets)}"
    folder.mkdir(parents=True)
    report = {"evaluator": evaluator, "options": chosen, "rows": [{"weights": "run", "top1": 0.5}]}
    report |= {"data": data, "checkpoint": "last", "trained": trained}
    (folder / "report.json").write_bytes(sealed_json.render(report))


def test_runs_are_every_value_with_every_other_seed_after_seed(tmp_path):
    asked = plan(
        tmp_path, "backbone.norm.name=bn,tgn", "input.crop=48", seeds=2,
        recipes=["small/pace", "small/instance"],
    )  # fmt: skip
    runs = asked.runs(never)
    assert [planned.folder.relative_to(tmp_path).as_posix() for planned in runs] == [
        f"{recipe}/backbone.norm.name={norm}/{seed}"
        for seed in (0, 1)
        for recipe in ("small-pace", "small-instance")
        for norm in ("bn", "tgn")
    ]
    assert runs[0].commands == (
        ("pretrain", "small/pace", "--data", "DATA", "--out", str(runs[0].folder),
         "--set", "input.crop=48", "--set", "backbone.norm.name=bn", "--set", "train.seed=0",
         "--resume"),
    )  # fmt: skip


def test_lines_are_for_shells(tmp_path):
    out = tmp_path / "a folder; rm -rf $HOME"
    asked = plan(out, "input.resize=[96,128],128", evaluate=["retrieval topk=[1,5]"])
    planned, _ = replace(asked, training=("--workers", "1")).runs(never)
    first, second = shell_line(planned).split(" && ")
    words = shlex.split(first)
    assert words[0] == "vidssl"
    assert words[1:] == list(planned.commands[0])
    assert "input.resize=[96,128]" in words
    assert words[-3:] == ["--resume", "--workers", "1"]
    assert planned.folder.parent.name == "input.resize=-96,128-"
    assert shlex.split(second)[1:] == [
        "evaluate", str(planned.folder), "--data", "DATA", "--evaluator", "retrieval",
        "--set", "topk=[1,5]",
    ]  # fmt: skip


def test_protocols_are_a_grid_too(tmp_path):
    protocols = ["retrieval,linear tap=pool4,pool5", "pretext"]
    (planned,) = plan(tmp_path, evaluate=protocols, evaluate_on="OTHER").runs(never)
    assert [command[3:] for command in planned.commands[1:]] == [
        ("OTHER", "--evaluator", name, *(("--set", f"tap={tap}") if tap else ()))
        for name, tap in [
            ("retrieval", "pool4"), ("retrieval", "pool5"), ("linear", "pool4"),
            ("linear", "pool5"), ("pretext", None),
        ]
    ]  # fmt: skip


def test_every_recipe_learns_from_as_many_clips(tmp_path):
    asked = plan(tmp_path, "share=1/1,1/2", recipes=["small/pace", "small/playback-speed"])
    runs = replace(asked, clips=240).runs(lambda data: VIDEOS)
    found = [[w for w in m.commands[0] if w.startswith(("train.epo", "train.rep"))] for m in runs]
    views = {name: load(name).sampler.build().views for name in asked.recipes}
    assert views == {"small/pace": 2, "small/playback-speed": 3}
    assert found == [
        ["train.epochs=1", f"train.repeats={240 // (views[name] * videos)}"]
        for name in asked.recipes
        for videos in (10, 5)
    ]
    with pytest.raises(UsageError, match="set by --clips"):
        plan(tmp_path, "train.epochs=2", clips=9).runs(never)


def test_long_settings_have_short_folders_of_their_own(tmp_path):
    values = [f"'{'s' * 150}{number}'" for number in range(2)]
    runs = plan(tmp_path, f"summary={','.join(values)}").runs(never)
    names = [planned.folder.parent.name for planned in runs]
    assert len(set(names)) == 2
    assert max(map(len, names)) == LONGEST


@pytest.mark.parametrize(
    ("overrides", "more", "kind", "found"),
    [
        (["train.seed=1,2"], {}, UsageError, "set by --seeds"),
        (["train.epochs=1", "train.epochs=2"], {}, UsageError, "set twice"),
        (["train.epochs=1,1"], {}, UsageError, "two runs of the grid"),
        ([], {"recipes": ["small/pace", "small/pace"]}, UsageError, "two runs of the grid"),
        ([], {"recipes": ["small/pase"]}, UsageError, "small/pace"),
        ([], {"recipes": ["finetune"]}, RecipeError, "vidssl finetune"),
        ([], {"evaluate": ["retrival"]}, (RecipeError, PluginError), "retrieval"),
        ([], {"evaluate": ["retrieval tap="]}, UsageError, "found no KEY=VALUE"),
        ([], {"evaluate": ["linear tpa=pool4"]}, RecipeError, "'tap'"),
        ([], {"evaluate": [""]}, UsageError, "such as"),
        ([], {"evaluate": ["'linear"]}, UsageError, "quotation"),
    ],
)
def test_what_cannot_be_run_is_told_before_anything_runs(tmp_path, overrides, more, kind, found):
    with pytest.raises(kind) as caught:
        plan(tmp_path, *overrides, **more).runs(never)
    assert found in f"{caught.value} {caught.value.hint}"


def test_all_wrong_runs_are_told_at_once(tmp_path):
    with pytest.raises(RecipeError) as caught:
        plan(tmp_path, "train.epochs=0,x", "sampler.pases=3,4", seeds=2).runs(never)
    assert {each.split(": ")[0] for each in str(caught.value).splitlines()} == {
        "--set train.epochs=0", "--set train.epochs=x", "--set sampler.pases=3",
        "--set sampler.pases=4",
    }  # fmt: skip
    assert len(str(caught.value).splitlines()) == 4


def test_what_is_done_is_skipped(tmp_path):
    asked = plan(tmp_path, seeds=3, evaluate=["retrieval", "linear tap=pool4"])
    runs = asked.runs(never)
    finish(runs[0])
    measure(runs[0], "retrieval")
    measure(runs[0], "linear", tap="pool4")
    finish(runs[1])
    measure(runs[1], "retrieval")
    finish(runs[2], state="preempted")
    measure(runs[2], "retrieval")
    done, half, begun = asked.runs(lambda data: VIDEOS)
    assert done.commands == ()
    assert [command[5] for command in half.commands] == ["linear"]
    assert begun.commands == runs[2].commands


@pytest.mark.parametrize(
    "stale",
    [{"data": "other"}, {"trained": "epoch-0000-step-00000001"}, {"topk": "[2]"}],
    ids=lambda stale: next(iter(stale)),
)
def test_a_report_of_something_else_does_not_count(tmp_path, stale):
    asked = plan(tmp_path, evaluate=["retrieval"])
    (planned,) = asked.runs(never)
    finish(planned)
    measure(planned, "retrieval", **stale)
    (left,) = asked.runs(lambda data: VIDEOS)
    assert left.commands == planned.commands[1:]


def test_a_damaged_report_is_made_again(tmp_path):
    asked = plan(tmp_path, evaluate=["retrieval"])
    (planned,) = asked.runs(never)
    finish(planned)
    measure(planned, "retrieval")
    next(planned.folder.rglob("report.json")).write_text("{")
    (left,) = asked.runs(lambda data: VIDEOS)
    assert left.commands == planned.commands[1:]


def test_a_folder_with_other_runs_is_refused(tmp_path):
    (planned,) = plan(tmp_path, "train.epochs=3").runs(never)
    finish(planned)
    with pytest.raises(UsageError, match="another recipe, or with other settings"):
        plan(tmp_path, "train.epochs=4").runs(never)


FAKE = """
import os, sys
from pathlib import Path
run = Path(sys.argv[6] if sys.argv[1] == "pretrain" else sys.argv[2])
with open(run.parent / "done", "a") as file:
    print(sys.argv[1], run.name, file=file)
if run.name == os.environ.get("FAILS"):
    sys.exit("error: no luck\\nhint: none")
"""


@pytest.fixture
def fake(tmp_path):
    """A program that notes what it is asked to do; with the seed FAILS it fails."""
    path = tmp_path / "fake.py"
    path.write_text(FAKE)
    return (sys.executable, "-IS", str(path))


def test_a_failed_member_does_not_keep_the_others(tmp_path, fake, capfd, monkeypatch):
    monkeypatch.setenv("FAILS", "1")
    runs = plan(tmp_path / "out", seeds=3, evaluate=["retrieval"]).runs(never)
    statuses = run_jobs(runs, 1, program=fake)
    assert [statuses[planned.folder] for planned in runs] == [0, 1, 0]
    done = (runs[0].folder.parent / "done").read_text().splitlines()
    assert done == ["pretrain 0", "evaluate 0", "pretrain 1", "pretrain 2", "evaluate 2"]
    told = capfd.readouterr().err
    assert f"{runs[1].folder} ended with status 1: error: no luck; see " in told
    assert str(runs[1].folder.with_suffix(".log")) in told


@pytest.mark.parametrize(
    ("number", "kind"), [(signal.SIGINT, Interrupted), (signal.SIGTERM, Preempted)]
)
def test_a_stopped_sweep_says_how_to_go_on(tmp_path, number, kind):
    runs = plan(tmp_path / "out", seeds=3).runs(never)
    stop = f"kill -{int(number)} $PPID; exec sleep 60"
    with pytest.raises(kind, match="after 0 of 3 runs") as caught:
        run_jobs(runs, 2, program=("sh", "-c", stop))
    assert caught.value.hint == "give the same command again to go on"


def test_printing_runs_nothing(tmp_path, capfd, toy_videos):
    manifest = tmp_path / "toy.jsonl"
    write_manifest(manifest, toy_videos)
    out = tmp_path / "out"
    words = ["small/pace", "--data", str(manifest), "--out", str(out), "--seeds", "2", "--print"]
    assert call(app, ["sweep", *words]) == 0
    printed = capfd.readouterr().out.splitlines()
    assert len(printed) == 2
    assert all(each.startswith("vidssl pretrain small/pace --data") for each in printed)
    assert not out.exists()
    assert call(app, ["sweep", *words, "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == {"commands": printed}
    reading = ["--data-root", "/", "--damaged", "leave-out"]
    assert call(app, ["sweep", *words, *reading]) == 0
    printed = capfd.readouterr().out.splitlines()
    assert all(each.endswith(shlex.join(reading)) for each in printed)
    needs = "most evaluators need labelled videos of the splits train and test"
    assert call(app, ["sweep", *words, "--evaluate", "retrieval"]) == 0
    assert needs not in capfd.readouterr().err
    write_manifest(tmp_path / "no.jsonl", [replace(video, split=None) for video in toy_videos])
    elsewhere = ["--evaluate-on", str(tmp_path / "no.jsonl")]
    assert call(app, ["sweep", *words, "--evaluate", "retrieval", *elsewhere]) == 0
    assert needs in " ".join(capfd.readouterr().err.split())
    assert call(app, ["sweep", *words, "--split", "2"]) == 2
    assert call(app, ["sweep", "small/pace", "--data", str(tmp_path / "no"), "--out", "x"]) == 2


def test_a_real_sweep_and_the_same_again(tmp_path, toy_videos, toy_recipe, capfd, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    write_manifest(tmp_path / "toy.jsonl", toy_videos)
    with (tmp_path / "toy.yaml").open("w") as file:
        YAML().dump(toy_recipe(epochs=1), file)
    words = [
        "sweep", str(tmp_path / "toy.yaml"), "--data", str(tmp_path / "toy.jsonl"),
        "--out", str(tmp_path / "out"), "--device", "cpu", "--evaluate", "retrieval", "--json",
    ]  # fmt: skip
    assert call(app, words) == 0
    document = json.loads(capfd.readouterr().out)
    run = Path(tmp_path / "out" / "toy" / "0")
    assert document["members"] == [
        {"run": str(run), "recipe": words[1], "settings": [], "seed": 0, "status": 0}
    ]
    (board,) = document["evaluations"]
    assert board["evaluator"] == "retrieval"
    assert [row["name"] for row in board["rows"]] == ["toy", "random weights", "chance"]
    record = Record.read(run)
    assert (record.state, record.epoch) == ("finished", 1)
    assert record.facts["argv"][1] == "pretrain"
    assert record.evaluations()[0].argv[1] == "evaluate"
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    assert call(app, words) == 0
    again = capfd.readouterr()
    assert json.loads(again.out) == document
    assert "1 run, 0 of them not done" in again.err
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before
