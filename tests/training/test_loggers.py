"""Rows reach the loggers that a recipe or a command names; none of them holds up or ends a run."""

import json
import os
import signal
import subprocess
import sys
import threading
from typing import ClassVar, Literal

import pytest

from vidssl_cli.base.errors import Preempted
from vidssl_cli.config.load import load_as
from vidssl_cli.config.recipe import PretrainRecipe
from vidssl_cli.contract.hooks import LoggerOptions
from vidssl_cli.data.manifest import write_manifest
from vidssl_cli.training import loggers as loggers_module
from vidssl_cli.training import run as run_module
from vidssl_cli.training.loggers import LoggerThread, chosen_loggers
from vidssl_cli.training.pretrain import pretrain
from vidssl_cli.training.session import Session
from vidssl_plugins.loggers.options.tensorboard import TensorBoard
from vidssl_plugins.loggers.options.wandb import WandB


class Noted(LoggerOptions):
    """Keeps what it is told."""

    name: Literal["noted"] = "noted"
    fails: Literal["", "build", "log", "close"] = ""
    told: ClassVar[list] = []

    def build(self, run):
        self._fail("build")
        self.told.append(run)
        return Note(self)

    def _fail(self, at):
        if self.fails == at:
            raise SystemExit(f"no {at}")


class Note:
    def __init__(self, options):
        self.options = options

    def log(self, rows):
        self.options._fail("log")
        assert threading.current_thread() is not threading.main_thread()
        self.options.told.extend(rows)

    def close(self, state):
        self.options._fail("close")
        self.options.told.append(state)


@pytest.fixture
def told():
    Noted.told.clear()
    return Noted.told


@pytest.fixture
def recipe(toy_recipe):
    return PretrainRecipe.model_validate(toy_recipe())


@pytest.fixture(scope="module")
def toy_videos(toy_videos):
    return [video for video in toy_videos if video.split == "train"]


def rows_of(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def train(recipe, videos, out, *loggers, **more):
    pretrain(recipe, videos, Session(out, device="cpu", loggers=loggers, **more))
    return json.loads((out / "run.json").read_text())


def test_a_logger_gets_every_row_and_how_the_run_ended(told, recipe, toy_videos, tmp_path):
    facts = train(recipe, toy_videos, tmp_path / "run", Noted())
    run, *rows, state = told
    assert rows == rows_of(tmp_path / "run")
    assert (run.id, run.folder, run.first_step) == (facts["id"], tmp_path / "run", 1)
    assert run.recipe["train"]["epochs"] == recipe.train.epochs
    assert state == "finished"


def test_a_run_that_goes_on_keeps_its_id_and_may_have_another_logger(
    told, recipe, toy_videos, tmp_path, monkeypatch
):
    log, out = run_module.Run.log, tmp_path / "run"

    def interrupted(run, row):
        log(run, row)
        if row["step"] == 3:
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(run_module.Run, "log", interrupted)
        with pytest.raises(Preempted):
            train(recipe, toy_videos, out)
    assert not told
    train(recipe, toy_videos, out, Noted(), resume=True)
    first, *rows, state = told
    assert first.first_step == 4
    assert rows == [row for row in rows_of(out) if row["step"] > 3]
    assert state == "finished"
    told.clear()
    assert train(recipe, toy_videos, out, Noted(), resume=True)["id"] == first.id
    assert not told  # there was nothing left to log


@pytest.mark.parametrize("at", ["build", "log", "close"])
def test_a_logger_that_fails_is_named_once_and_ends_nothing(
    at, told, recipe, toy_videos, tmp_path, capsys
):
    facts = train(recipe, toy_videos, tmp_path / "run", Noted(fails=at))
    assert facts["state"] == "finished"
    warning = f"the logger noted is left out from now on: SystemExit: no {at}"
    assert capsys.readouterr().err.count(warning) == 1


def test_the_package_of_a_logger_that_fails_is_named(told, monkeypatch, capsys):
    monkeypatch.setattr(loggers_module, "plugin_error", lambda error: f"of a package: {error}")
    thread = LoggerThread(Noted(fails="build"), None)
    thread.wait(60)
    assert "is left out from now on: of a package: no build" in capsys.readouterr().err


def test_a_package_that_is_missing_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "wandb", None)
    thread = LoggerThread(WandB(name="wandb"), None)
    thread.end("finished")
    thread.wait(60)
    assert "pip install 'vidssl[wandb]'" in capsys.readouterr().err


@pytest.mark.parametrize("waits_at", ["build", "log"])
def test_training_does_not_wait_for_a_logger(waits_at, capsys, monkeypatch):
    over = threading.Event()

    class Slow(Noted):
        def _fail(self, at):
            if at == waits_at:
                over.wait()

    monkeypatch.setattr(loggers_module, "WAITING", 5)
    thread = LoggerThread(Slow(), None)
    try:
        for step in range(20):
            thread.send({"step": step})
        thread.end("finished")
        thread.wait(0.01)
    finally:
        over.set()
    told = capsys.readouterr().err
    assert told.count("is left out from now on") == 1
    assert "it is 5 rows behind" in told


def test_what_is_not_sent_in_time_is_told(capsys):
    over = threading.Event()

    class Slow(Noted):
        def build(self, run):
            over.wait()

    thread = LoggerThread(Slow(), None)
    thread.end("finished")
    thread.wait(0.01)
    over.set()
    assert "has not sent everything" in capsys.readouterr().err


def test_only_numbers_are_logged(told):
    thread = LoggerThread(Noted(), None)
    thread.send({"step": 1, "not_finite": "the loss is nan", "videos": ["a.mp4"]})
    thread.end("failed")
    thread.wait(60)
    assert told == [None, {"step": 1}, "failed"]


def test_tensorboard_is_the_default_where_it_is_installed(monkeypatch):
    assert chosen_loggers(None, []) == [TensorBoard(name="tensorboard")]
    more = [TensorBoard(name="tensorboard"), WandB(name="wandb")]
    assert chosen_loggers(None, more) == more
    assert chosen_loggers([WandB(name="wandb", project="x")], more[1:])[0].project == "x"
    assert chosen_loggers([], []) == []
    monkeypatch.setattr(loggers_module, "find_spec", lambda name: None)
    assert chosen_loggers(None, []) == []


def test_a_recipe_names_loggers_and_an_unknown_one_is_located(tmp_path, toy_recipe):
    named = ["train.loggers=[{name: wandb, project: p}]"]
    file = tmp_path / "toy.yaml"
    file.write_text(json.dumps(toy_recipe()))
    (logger,) = load_as(PretrainRecipe, str(file), named).train.loggers
    assert (logger.name, logger.project) == ("wandb", "p")
    with pytest.raises(Exception, match=r"train\.loggers"):
        load_as(PretrainRecipe, str(file), ["train.loggers=[{name: wandbb}]"])


def pretrain_command(recipe, videos, folder, *more):
    (folder / "toy.yaml").write_text(json.dumps(recipe))
    write_manifest(folder / "toy.jsonl", videos)
    command = [sys.executable, "-m", "vidssl_cli", "pretrain", "toy.yaml", "--data", "toy.jsonl"]
    return subprocess.run(
        [*command, "--out", "run", "--device", "cpu", *more],
        cwd=folder, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def test_the_command_line_names_loggers(toy_recipe, toy_videos, tmp_path):
    ended = pretrain_command(toy_recipe(), toy_videos, tmp_path, "--logger", "wandbb")
    assert ended.returncode == 2
    assert "wandb" in ended.stderr
    ended = pretrain_command(toy_recipe(), toy_videos, tmp_path, "--logger", "tensorboard")
    assert ended.returncode == 0, ended.stderr
    assert len(list((tmp_path / "run").glob("events.out.*"))) == 1
    assert "loggers: null" in (tmp_path / "run" / "recipe.yaml").read_text()
