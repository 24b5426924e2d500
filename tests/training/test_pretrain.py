"""From videos to a run directory, interrupted in every way, to the same weights bit for bit."""

import itertools
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from threading import Event

import pytest
import torch
from safetensors.torch import load_file

from vidssl_cli.base.errors import (
    BusyError,
    DamagedFileError,
    MediaError,
    NoRoomError,
    Preempted,
    UsageError,
)
from vidssl_cli.config.recipe import PretrainRecipe
from vidssl_cli.config.sections import Train
from vidssl_cli.contract.clips import Batch
from vidssl_cli.data import samples
from vidssl_cli.data.loader import Loader
from vidssl_cli.data.manifest import write_manifest
from vidssl_cli.data.order import Order
from vidssl_cli.data.samples import Pipeline
from vidssl_cli.files import sealed_json
from vidssl_cli.files.locks import locked
from vidssl_cli.files.sealed_folder import note_of
from vidssl_cli.model import run_directory
from vidssl_cli.model.encoder import Encoder
from vidssl_cli.model.learner import PretrainLearner
from vidssl_cli.training import checkpoint, run_start, session
from vidssl_cli.training import run as run_module
from vidssl_cli.training.optimizer import build_optimizer
from vidssl_cli.training.pretrain import pretrain
from vidssl_cli.training.processes import World
from vidssl_cli.training.session import Session
from vidssl_cli.training.step import Stepper, split_batch


@pytest.fixture
def recipe(toy_recipe):
    return PretrainRecipe.model_validate(toy_recipe())


def tensors(run, name="last"):
    folder = (run / "checkpoints" / name).resolve()
    return {
        f"{file.stem}/{key}": value
        for file in sorted(folder.glob("*.safetensors"))
        for key, value in load_file(file).items()
    }


def assert_identical(one, other):
    assert one.keys() == other.keys()
    different = [key for key in one if not torch.equal(one[key], other[key])]
    assert not different


def rows(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def state(run):
    return json.loads((run / "run.json").read_text())["state"]


@pytest.fixture(scope="module")
def toy_videos(toy_videos):
    return [video for video in toy_videos if video.split == "train"]


@pytest.fixture(scope="module")
def whole(toy_videos, toy_recipe, tmp_path_factory):
    """An uninterrupted run."""
    out = tmp_path_factory.mktemp("whole") / "run"
    pretrain(PretrainRecipe.model_validate(toy_recipe()), toy_videos, Session(out, device="cpu"))
    return out


def test_a_run_directory_holds_what_it_should(whole, recipe):
    assert state(whole) == "finished"
    steps = [row for row in rows(whole) if "loss" in row]
    assert [row["step"] for row in steps] == list(range(1, 1 + 2 * recipe.train.epochs))
    assert {"lr", "pace.loss", "pace.accuracy"} <= steps[0].keys()
    for name in ("last", "best"):
        assert (whole / "checkpoints" / name / "state.json").is_file()
    facts = json.loads((whole / "run.json").read_text())
    assert {"versions", "seed", "git", "argv", "data", "started"} <= facts.keys()


def test_the_resolved_recipe_is_valid_input_and_says_the_same(whole, recipe):
    from vidssl_cli.config.load import load

    assert load(whole / "recipe.yaml") == recipe


def test_the_same_seed_gives_the_same_run_with_any_number_of_workers(
    whole, recipe, toy_videos, tmp_path
):
    pretrain(recipe, toy_videos, Session(tmp_path / "run", device="cpu", workers=0))
    assert_identical(tensors(whole), tensors(tmp_path / "run"))


def test_another_seed_gives_another_run(whole, toy_recipe, toy_videos, tmp_path):
    other = PretrainRecipe.model_validate(toy_recipe(seed=1))
    pretrain(other, toy_videos, Session(tmp_path / "r", device="cpu"))
    one, other = tensors(whole), tensors(tmp_path / "r")
    assert any(not torch.equal(one[key], other[key]) for key in one)


def start(recipe_file, manifest, out, *more):
    command = [sys.executable, "-m", "vidssl_cli", "pretrain", str(recipe_file)]
    command += ["--data", str(manifest), "--out", str(out), "--device", "cpu", *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_rows(run, count, process):
    path = run / "metrics.jsonl"
    while process.poll() is None:
        if path.is_file() and len(path.read_text().splitlines()) >= count:
            return
        time.sleep(0.01)
    pytest.fail(f"the run ended before it was interrupted: {process.communicate()}")


@pytest.fixture
def on_disk(recipe, toy_videos, tmp_path):
    """Recipe and manifest as files, as the command line wants them."""
    from vidssl_cli.config.load import resolved_yaml

    recipe_file = tmp_path / "toy.yaml"
    recipe_file.write_text(resolved_yaml(recipe))
    manifest = tmp_path / "toy.jsonl"
    write_manifest(manifest, toy_videos)
    return recipe_file, manifest


@pytest.mark.parametrize(
    ("number", "status", "named"),
    [
        (signal.SIGKILL, -signal.SIGKILL, "running"),
        (signal.SIGTERM, 75, "preempted"),
        (signal.SIGINT, 130, "interrupted"),
    ],
)
def test_interrupted_and_resumed_is_bit_identical(
    number, status, named, whole, on_disk, recipe, toy_videos, tmp_path
):
    out = tmp_path / "run"
    process = start(*on_disk, out, "--set", "train.checkpoint_minutes=0")
    wait_for_rows(out, 4, process)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == status
    assert state(out) == named
    process = start(*on_disk, out, "--set", "train.checkpoint_minutes=0", "--resume")
    _, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    assert_identical(tensors(whole), tensors(out))
    assert_identical(tensors(whole, "best"), tensors(out, "best"))
    assert rows(out) == rows(whole)
    assert state(out) == "finished"


@pytest.fixture(scope="module")
def remembering(toy_recipe):
    """A recipe whose pretexts keep a bank, a queue and a slow copy."""
    recipe = toy_recipe(epochs=3) | {
        "sampler": {"name": "sstl", "frames": 8},
        "pretext": [
            {"name": "sstl", "proj_dim": 8, "proj_hidden": [], "bank_negatives": 6},
            {"name": "instance", "momentum": 0.9, "queue": 12},
        ],
    }
    return PretrainRecipe.model_validate(recipe)


@pytest.mark.parametrize("stop", [3, 4], ids=["within an epoch", "after an epoch"])
def test_memories_resume_bit_for_bit(stop, remembering, toy_videos, tmp_path, monkeypatch):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    pretrain(remembering, toy_videos, Session(whole, device="cpu"))
    log = run_module.Run.log

    def interrupted(run, row):
        log(run, row)
        if row["step"] == stop:
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(run_module.Run, "log", interrupted)
        with pytest.raises(Preempted):
            pretrain(remembering, toy_videos, Session(cut, device="cpu"))
    interrupted_at = json.loads((cut / "checkpoints" / "last" / "state.json").read_text())
    assert interrupted_at["step"] == stop
    pretrain(remembering, toy_videos, Session(cut, device="cpu", resume=True))
    assert_identical(tensors(whole), tensors(cut))
    assert rows(whole) == rows(cut)
    memories = {"bank.cells", "bank.seed", "queue.keys", "queue.videos", "slow.copy.1.0.weight"}
    for memory in memories:
        assert any(key.endswith(memory) for key in tensors(cut))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_signal_does_not_wait_for_a_file_that_is_slow_to_decode(
    workers, whole, recipe, toy_videos, tmp_path, monkeypatch
):
    decode, calls, over = samples.decode_views, itertools.count(1), Event()

    def slow(*arguments, **more):
        if next(calls) == 16:  # two steps were taken; three batches are decoded ahead
            os.kill(os.getpid(), signal.SIGUSR1)
            over.wait()
        return decode(*arguments, **more)

    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(samples, "decode_views", slow)
        try:
            with pytest.raises(Preempted, match="stopped by SIGUSR1 after step"):
                pretrain(recipe, toy_videos, Session(out, device="cpu", workers=workers))
        finally:
            over.set()
    saved = json.loads((out / "checkpoints" / "last" / "state.json").read_text())["step"]
    assert saved == len([row for row in rows(out) if "loss" in row]) < 4
    assert state(out) == "preempted"
    pretrain(recipe, toy_videos, Session(out, device="cpu", resume=True))
    assert_identical(tensors(whole), tensors(out))
    assert rows(out) == rows(whole)


def test_a_signal_during_a_save_does_not_save_the_same_again(
    recipe, toy_videos, tmp_path, monkeypatch
):
    save, saved = checkpoint.save, []

    def interrupted(*arguments, **more):
        signal.raise_signal(signal.SIGTERM)
        saved.append(save(*arguments, **more))

    monkeypatch.setattr(checkpoint, "save", interrupted)
    out = tmp_path / "run"
    with pytest.raises(Preempted, match="after step 2"):
        pretrain(recipe, toy_videos, Session(out, device="cpu"))
    assert saved == [(out / "checkpoints" / "last").resolve()]


def test_a_signal_before_the_first_step_says_how_the_run_ended(
    whole, recipe, toy_videos, tmp_path, monkeypatch
):
    open_run = run_start.open_run

    def interrupted(*arguments, **more):
        run = open_run(*arguments, **more)
        signal.raise_signal(signal.SIGTERM)
        return run

    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(session, "open_run", interrupted)
        with pytest.raises(Preempted, match="between two checkpoints"):
            pretrain(recipe, toy_videos, Session(out, device="cpu"))
    assert state(out) == "preempted"
    pretrain(recipe, toy_videos, Session(out, device="cpu", resume=True))
    assert rows(out) == rows(whole)


def test_a_large_memory_is_told(remembering, toy_videos, tmp_path, capsys, monkeypatch):
    session = Session(tmp_path / "run", device="cpu", dry_run=True)
    pretrain(remembering, toy_videos, session)
    assert " GiB, on every" not in capsys.readouterr().err
    monkeypatch.setattr("vidssl_cli.training.pretrain.LARGE", 512)
    pretrain(remembering, toy_videos, session)
    assert "sstl keeps 0.0 GiB, on every device" in capsys.readouterr().err


def test_resuming_a_finished_run_changes_nothing(recipe, toy_videos, tmp_path):
    out = tmp_path / "run"
    pretrain(recipe, toy_videos, Session(out, device="cpu"))
    before, logged = tensors(out), rows(out)
    pretrain(recipe, toy_videos, Session(out, device="cpu", resume=True))
    assert_identical(before, tensors(out))
    assert rows(out) == logged


def test_a_run_is_never_overwritten_without_being_told_to(recipe, toy_videos, tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    (out / "precious.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not empty"):
        pretrain(recipe, toy_videos, Session(out, device="cpu"))
    with pytest.raises(UsageError, match="something else than a run"):
        pretrain(recipe, toy_videos, Session(out, device="cpu", overwrite=True))
    assert (out / "precious.txt").read_text() == "mine"
    (out / "run.json").write_text("{}")  # of a run, or of anything else
    with pytest.raises(UsageError, match=r"such as precious\.txt"):
        pretrain(recipe, toy_videos, Session(out, device="cpu", overwrite=True))
    assert (out / "precious.txt").read_text() == "mine"
    (out / "precious.txt").unlink()
    for name in ("features", "evaluations"):
        (out / name / "made").mkdir(parents=True)
    pretrain(recipe, toy_videos, Session(out, device="cpu", overwrite=True))
    assert not (out / "features").exists()
    assert state(out) == "finished"


def test_a_directory_that_is_taken_is_refused_before_data_are_read(
    whole, toy_recipe, recipe, tmp_path, monkeypatch
):
    other = PretrainRecipe.model_validate(toy_recipe(seed=3))
    with pytest.raises(UsageError, match="is not empty"):
        Session(whole).refuse_taken(recipe)
    with pytest.raises(UsageError, match=r"train.seed: 0 → 3$"):
        Session(whole, resume=True).refuse_taken(other)
    with pytest.raises(UsageError, match="what --overwrite throws away"):
        Session(tmp_path, resume=True, overwrite=True).refuse_taken(recipe)
    Session(whole, resume=True).refuse_taken(recipe)
    Session(whole, overwrite=True).refuse_taken(other)
    Session(whole, dry_run=True).refuse_taken(other)
    Session(tmp_path).refuse_taken(recipe)
    with locked(whole, "vidssl pretrain"), pytest.raises(BusyError, match="is writing here"):
        Session(whole, resume=True).refuse_taken(recipe)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")  # it may see what the first process has just made
    Session(whole).refuse_taken(recipe)


def test_resuming_with_another_recipe_or_other_data_is_refused(
    whole, toy_recipe, recipe, toy_videos
):
    session = Session(whole, device="cpu", resume=True)
    with pytest.raises(UsageError, match="other data"):
        pretrain(recipe, toy_videos[:-1], session)
    other = PretrainRecipe.model_validate(toy_recipe(seed=3))
    with pytest.raises(UsageError, match=r"another recipe, or .*: train.seed: 0 → 3$"):
        pretrain(other, toy_videos, session)
    other = PretrainRecipe.model_validate(toy_recipe(epochs=9, seed=3))
    with pytest.raises(UsageError, match=r"train.epochs: 8 → 9; train.seed: 0 → 3$"):
        pretrain(other, toy_videos, session)


SCHEDULES = [
    {"name": "constant"},
    {"name": "step", "every": 2},
    {"name": "multistep", "epochs": [1, 3]},
]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: schedule["name"])
def test_raising_the_epochs_of_a_finished_run_is_training_longer_from_the_start(
    schedule, toy_recipe, toy_videos, tmp_path
):
    short, long = (
        PretrainRecipe.model_validate(toy_recipe(epochs=epochs, schedule=schedule))
        for epochs in (2, 4)
    )
    raised, whole = (Session(tmp_path / name, device="cpu") for name in ("raised", "whole"))
    pretrain(short, toy_videos, raised)
    pretrain(long, toy_videos, replace(raised, resume=True))
    pretrain(long, toy_videos, whole)
    for checkpoint_name in ("last", "best"):
        assert_identical(*(tensors(run.out, checkpoint_name) for run in (raised, whole)))
    assert rows(raised.out) == rows(whole.out)
    assert (raised.out / "recipe.yaml").read_bytes() == (whole.out / "recipe.yaml").read_bytes()
    assert state(raised.out) == "finished"
    with pytest.raises(UsageError, match=r"train.epochs: 4 → 2"):
        pretrain(short, toy_videos, replace(raised, resume=True))


def test_killed_while_epochs_are_raised_it_goes_on(toy_recipe, toy_videos, tmp_path, monkeypatch):
    short, long = (
        PretrainRecipe.model_validate(toy_recipe(epochs=epochs, schedule={"name": "constant"}))
        for epochs in (1, 2)
    )
    session = Session(tmp_path / "run", device="cpu", resume=True)
    pretrain(short, toy_videos, session)

    def killed(*_):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(run_start, "atomic_write", killed)
        with pytest.raises(MemoryError):
            pretrain(long, toy_videos, session)
    with pytest.raises(DamagedFileError):  # half of each: neither is taken for whole
        pretrain(short, toy_videos, session)
    pretrain(long, toy_videos, session)
    pretrain(long, toy_videos, replace(session, out=tmp_path / "whole"))
    assert_identical(tensors(tmp_path / "run"), tensors(tmp_path / "whole"))


@pytest.mark.parametrize(
    ("schedule", "reason"),
    [
        ({"name": "cosine"}, "along a cosine to the last epoch"),
        ({"name": "constant", "warmup": 0.1}, "over a share of all epochs"),
    ],
)
def test_epochs_are_not_raised_where_the_first_ones_would_have_been_others(
    schedule, reason, toy_recipe, toy_videos, tmp_path
):
    short, long = (
        PretrainRecipe.model_validate(toy_recipe(epochs=epochs, schedule=schedule))
        for epochs in (1, 2)
    )
    session = Session(tmp_path / "run", device="cpu", resume=True)
    pretrain(short, toy_videos, session)
    before = tensors(session.out)
    with pytest.raises(UsageError, match=reason):
        pretrain(long, toy_videos, session)
    assert_identical(before, tensors(session.out))
    pretrain(short, toy_videos, session)  # it is still that run


def test_accumulation_takes_the_gradient_of_the_whole_batch(toy_recipe, toy_videos):
    """With the norms at rest, parts add up to the whole."""
    # Contrast lives off the whole batch, so only the pace task can be taken in parts.
    recipe = PretrainRecipe.model_validate(toy_recipe() | {"pretext": {"name": "pace"}})
    gradients = []
    for parts in (1, 2):
        torch.manual_seed(0)
        learner = PretrainLearner(recipe, len(toy_videos))
        settings = Train.model_validate(toy_recipe(accumulate=parts, precision="fp32")["train"])
        optimizer = build_optimizer(learner, settings.optimizer)
        world = World(0, 1, torch.device("cpu"))
        step = Stepper(learner, optimizer, settings, 1, world, "fp32")
        learner.backbone.eval()
        order = Order(toy_videos, recipe.sampler.build(), seed=0, batch_videos=4)
        pipeline = Pipeline(recipe.input, recipe.augment)
        feed = Loader(order, pipeline, workers=0, on_skip=pytest.fail)
        step(next(feed.epoch(0)), 0)
        gradients.append([p.grad.clone() for p in learner.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("workers", [0, 2])
def test_parts_that_are_made_one_by_one_train_as_those_of_a_whole_batch(
    toy_recipe, toy_videos, workers
):
    recipe = PretrainRecipe.model_validate(toy_recipe() | {"pretext": {"name": "pace"}})
    settings = Train.model_validate(toy_recipe(accumulate=4, precision="fp32")["train"])
    found = []
    for cut in (True, False):
        torch.manual_seed(0)
        learner = PretrainLearner(recipe, len(toy_videos))
        optimizer = build_optimizer(learner, settings.optimizer)
        world = World(0, 1, torch.device("cpu"))
        step = Stepper(learner, optimizer, settings, 1, world, "fp32")
        order = Order(toy_videos, recipe.sampler.build(), seed=0, batch_videos=4)
        feed = Loader(order, Pipeline(recipe.input, recipe.augment), workers=workers)
        batches = feed.in_parts(0, 2, settings.accumulate) if cut else feed.batches(0, 2)
        values = [step(batch, number) for number, batch in enumerate(batches)]
        found.append((values, learner.state_dict()))
    (values, state), (expected, other) = found
    assert values == expected
    assert all(torch.equal(state[name], other[name]) for name in other)


def test_a_dry_run_estimates_what_a_run_takes_and_leaves_nothing_behind(
    recipe, toy_videos, tmp_path
):
    out = tmp_path / "run"
    cost = pretrain(recipe, toy_videos, Session(out, device="cpu", dry_run=True)).cost
    assert not out.exists()
    assert (cost.videos, cost.steps) == (8, 2 * recipe.train.epochs)
    assert cost.batch == (4, 2, 3, 8, 16, 16)
    assert cost.seconds > 0
    assert min(cost.offered, cost.asked) == cost.clips_per_second > 0
    assert cost.precision == "fp32"


@pytest.mark.parametrize(
    ("train", "tap", "said"),
    [
        ({"batch_videos": 9}, "pool5", "do not fill one batch of 9"),
        ({}, "pool9", "has no tap 'pool9'"),
    ],
)
def test_what_cannot_be_trained_leaves_the_run_that_is_there(
    train, tap, said, whole, toy_recipe, toy_videos
):
    before = tensors(whole)
    wrong = toy_recipe(**train) | {"evaluation": {"tap": tap}}
    session = Session(whole, device="cpu", overwrite=True)
    with pytest.raises(UsageError, match=said):
        pretrain(PretrainRecipe.model_validate(wrong), toy_videos, session)
    assert_identical(before, tensors(whole))


def test_no_video_at_all_is_told(recipe, tmp_path):
    with pytest.raises(UsageError, match="no video to train on"):
        pretrain(recipe, [], Session(tmp_path / "run", device="cpu"))


def test_to_go_on_and_to_throw_away_is_refused(whole, recipe, toy_videos):
    session = Session(whole, device="cpu", resume=True, overwrite=True)
    with pytest.raises(UsageError, match="throws away"):
        pretrain(recipe, toy_videos, session)
    assert state(whole) == "finished"


def test_a_run_that_ended_before_its_first_checkpoint_logs_every_step_once(
    whole, recipe, toy_videos, tmp_path
):
    out = tmp_path / "run"
    shutil.copytree(whole, out, symlinks=True)
    shutil.rmtree(out / "checkpoints")
    with (out / "metrics.jsonl").open("a") as file:
        file.write('{"step": 99, "lo')  # killed while it wrote
    pretrain(recipe, toy_videos, Session(out, device="cpu", resume=True))
    assert rows(out) == rows(whole)


@pytest.mark.parametrize("left", [(), ("run.json",)], ids=["before it said so", "after"])
def test_a_run_that_was_killed_at_its_very_beginning_can_be_resumed(
    left, whole, recipe, toy_videos, tmp_path
):
    out = tmp_path / "run"
    half = out / f".tmp-{socket.gethostname()}-1-dead" / "fresh"
    half.parent.mkdir(parents=True)
    half.write_text("half")
    for name in left:
        shutil.copyfile(whole / name, out / name)
    pretrain(recipe, toy_videos, Session(out, device="cpu", resume=True))
    assert rows(out) == rows(whole)
    assert (out / "recipe.yaml").read_bytes() == (whole / "recipe.yaml").read_bytes()
    assert not list(out.glob(".tmp-*"))


def test_what_makes_a_folder_a_run_is_removed_last(whole, tmp_path, monkeypatch):
    out = tmp_path / "run"
    shutil.copytree(whole, out, symlinks=True)
    removed = []

    def remove(path, **options):
        if path.parent == out:
            removed.append(path.name)

    monkeypatch.setattr(run_start.Path, "unlink", remove)
    monkeypatch.setattr(run_start.shutil, "rmtree", remove)
    run_start.discard_run(out)
    assert removed[-1] == "run.json"


def test_rows_of_an_epoch_are_forgotten_with_the_epoch(tmp_path):
    """Stopped by a signal after its last step, then killed after its row."""
    run = run_module.Run(tmp_path, {})
    steps = [{"step": step, "epoch": (step - 1) // 2} for step in (1, 2, 3, 4, 5)]
    epochs = [{"step": 2 * epoch + 2, "epoch": epoch, "epoch.loss": 1.0} for epoch in (0, 1)]
    for row in (*steps[:2], epochs[0], *steps[2:4], epochs[1], steps[4]):
        run.log(row)
    run.rewind(1, 4)
    assert rows(tmp_path) == [*steps[:2], epochs[0], *steps[2:4]]


def test_a_disk_without_room_for_checkpoints_is_refused_before_the_first_step(
    recipe, toy_videos, tmp_path, monkeypatch
):
    usage = shutil.disk_usage(tmp_path)._replace(free=20_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(NoRoomError, match="no room for the last checkpoint, the best, and a new"):
        pretrain(recipe, toy_videos, Session(tmp_path / "run", device="cpu"))
    assert state(tmp_path / "run") == "failed"
    assert rows(tmp_path / "run") == []


def test_a_row_that_does_not_fit_is_told(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, limits[1]))
    try:
        with pytest.raises(NoRoomError, match=r"too large: at least [\d,]+ bytes are needed") as e:
            run_module.Run(tmp_path, {}).log({"step": 1, "loss": "1" * 99})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert e.value.where == str(tmp_path / "metrics.jsonl")


def test_a_row_that_was_cut_short_does_not_spoil_the_next(recipe, toy_videos, tmp_path):
    out = tmp_path / "run"
    pretrain(recipe, toy_videos, Session(out, device="cpu"))
    (out / "bad_media.jsonl").write_text('{"path": "a.mp4", "reason": "is empty"}\n{"path": "b.')
    broken = [MediaError("is empty", where="b.mp4")]
    outcome = pretrain(recipe, toy_videos, Session(out, device="cpu", resume=True), broken)
    assert outcome.skipped == 2


def test_a_run_names_what_it_skipped_once_and_forgets_why_it_stopped(recipe, toy_videos, tmp_path):
    out = tmp_path / "run"
    lost = replace(toy_videos[3], path=str(tmp_path / "lost.mp4"))
    data = [*toy_videos[:3], lost, *toy_videos[4:]]
    broken = [MediaError("is empty", where="empty.mp4")]
    for _ in range(2):
        pretrain(recipe, data, Session(out, device="cpu", resume=True), broken)
        run_module.Run(out, run_directory.read_facts(out)).record_state(
            "failed", reason="of this session"
        )
    lines = (out / "bad_media.jsonl").read_text().splitlines()
    assert [json.loads(line)["path"] for line in lines] == ["empty.mp4", lost.path]
    outcome = pretrain(recipe, data, Session(out, device="cpu", resume=True), broken)
    assert outcome.skipped == 2
    facts = json.loads((out / "run.json").read_text())
    assert facts["skipped"] == 2
    assert "reason" not in facts


def test_a_batch_with_gaps_is_cut_into_as_many_parts_as_ever():
    def parts(videos, wanted):
        batch = Batch(torch.zeros(videos, 1), {}, torch.arange(videos), torch.zeros(videos, 1))
        return [part.video.tolist() for part in split_batch(batch, wanted)]

    assert parts(8, 4) == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert parts(5, 4) == [[0, 1], [2], [3], [4]]
    assert parts(2, 4) == [[0], [1]]


def test_a_resumed_run_keeps_the_precision_it_began_with(toy_recipe, toy_videos, tmp_path):
    recipe = PretrainRecipe.model_validate(toy_recipe(precision="auto", epochs=1))
    out = tmp_path / "run"
    pretrain(recipe, toy_videos, Session(out, device="cpu"))
    facts = run_directory.read_facts(out)
    other = {"fp32": "bf16", "bf16": "fp32"}[facts["precision"]]
    (out / "run.json").write_bytes(sealed_json.render(facts | {"precision": other}))
    pretrain(recipe, toy_videos, Session(out, device="cpu", resume=True))
    assert json.loads((out / "run.json").read_text())["precision"] == other


def test_export_and_load_give_the_same_network(whole, tmp_path):
    encoder = Encoder.load(whole, "cpu")
    encoder.export(tmp_path / "model")
    again = Encoder.load(tmp_path / "model", "cpu")
    assert again.digest == encoder.digest
    assert again.card == encoder.card
    assert encoder.randomised().digest != encoder.digest


def test_strict_tells_the_result_and_exits_with_5(on_disk, tmp_path, capsys):
    from vidssl_cli.cli import app
    from vidssl_cli.cli.failures import run

    recipe_file, manifest = on_disk
    with manifest.open("a") as rows:
        rows.write(json.dumps({"path": "lost.mp4", "frames": 40, "fps": 25}) + "\n")
    note_of(manifest).unlink()
    out = tmp_path / "run"
    command = ["pretrain", str(recipe_file), "--data", str(manifest), "--out", str(out), "--json"]
    assert run(app, [*command, "--device", "cpu", "--strict"]) == 5
    assert json.loads(capsys.readouterr().out)["skipped"] == 1
    assert "lost.mp4" in (out / "bad_media.jsonl").read_text()
    assert state(out) == "finished"


@pytest.mark.slow
def test_two_processes_see_the_batches_of_one(whole, on_disk, tmp_path):
    """Under torchrun every global step sees the same videos, and one process writes the run."""
    out = tmp_path / "run"
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["--standalone", "-m", "vidssl_cli", "pretrain"]  # finds a free port
    command += [str(on_disk[0]), "--data", str(on_disk[1]), "--out", str(out), "--device", "cpu"]
    command += ["--json"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=280,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert state(out) == "finished"
    # One process talks.
    assert json.loads(done.stdout) == {
        "run": str(out),
        "videos": 8,
        "skipped": 0,
        "skipped_steps": 0,
    }
    assert done.stderr.count("pre-training on 8 of 8 videos") == 1
    alone, together = rows(whole), rows(out)
    # Which videos each process sees is tested in test_loader.py; here, that steps are the same.
    for one, other in zip(together, alone, strict=True):
        assert one.keys() == other.keys()
        assert one["step"] == other["step"]
        assert one.get("lr") == other.get("lr")
