"""The built-in loggers: with the packages where they are installed, and against stand-ins."""

import importlib
import json
import sys
from types import ModuleType, SimpleNamespace
from typing import ClassVar

import pytest

from vidssl_cli.contract.hooks import LoggedRun
from vidssl_cli.testing import check_logger
from vidssl_plugins.loggers.options.mlflow import MLflow
from vidssl_plugins.loggers.options.tensorboard import TensorBoard
from vidssl_plugins.loggers.options.wandb import WandB

ROWS = [{"step": n, "epoch": 0, "loss": 1 / n, "pace.loss": 2.0} for n in (1, 2, 3)]
RECIPE = {"train": {"epochs": 2, "loggers": None}, "pretext": [{"name": "pace"}], "summary": "s"}


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "my-run"
    folder.mkdir()
    return LoggedRun("0123abcd", folder, folder / "loggers", RECIPE, 1)


def again(run, first_step=3):
    return LoggedRun(run.id, run.folder, run.files, run.recipe, first_step)


def stand_in(monkeypatch, name, **modules):
    """Put made-up modules in the place of a package; the logger is imported anew."""
    for module, content in modules.items():
        made = ModuleType(module)
        vars(made).update(content)
        monkeypatch.setitem(sys.modules, module.replace("__", "."), made)
    monkeypatch.delitem(sys.modules, f"vidssl_plugins.loggers.{name}", raising=False)
    yield
    sys.modules.pop(f"vidssl_plugins.loggers.{name}", None)


# Stand-ins, so that the calls are tested where the packages are not installed.


class MadeUpWandB:
    def __init__(self):
        self.calls = []
        self.settings = SimpleNamespace(mode="online")
        self.known = True

    def setup(self):
        return self

    def login(self, prompt):
        assert not prompt
        return self.known

    def init(self, **options):
        self.calls.append(("init", options))
        return self

    def __getattr__(self, name):
        return lambda *given, **named: self.calls.append((name, given, named))


@pytest.fixture
def made_up_wandb(monkeypatch):
    made = MadeUpWandB()
    content = {"init": made.init, "Settings": dict, "setup": made.setup, "login": made.login}
    yield from ([made] for _ in stand_in(monkeypatch, "wandb", wandb=content))


def test_calls_of_wandb(made_up_wandb, run, monkeypatch):
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    (wandb,) = made_up_wandb
    logger = WandB(name="wandb", mode="offline").build(run)
    logger.log(ROWS)
    logger.close("preempted")
    init, define, *logs, preempting, finish = wandb.calls
    options = init[1]
    assert options["id"] == run.id
    assert (options["resume"], options["name"], options["mode"]) == ("allow", "my-run", "offline")
    assert (options["project"], options["config"]) == ("vidssl", RECIPE)
    assert options["settings"]["console"] == "off"
    assert define == ("define_metric", ("*",), {"step_metric": "step"})
    assert logs == [("log", (row,), {}) for row in ROWS]
    assert preempting[0] == "mark_preempting"
    assert finish == ("finish", (), {"exit_code": 1})
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    WandB(name="wandb").build(run).close("finished")
    assert wandb.calls[-3][1]["project"] == "mine"
    assert wandb.calls[-1] == ("finish", (), {"exit_code": 0})
    wandb.known = False
    with pytest.raises(RuntimeError, match="wandb login"):
        WandB(name="wandb").build(run)
    wandb.settings.mode = "offline"
    WandB(name="wandb").build(run).close("finished")


class MadeUpMLflow:
    kept: ClassVar[dict] = {}

    def __init__(self, tracking_uri=None):
        self.uri = tracking_uri

    def get_experiment_by_name(self, name):
        return SimpleNamespace(experiment_id=name) if name in self.kept else None

    def create_experiment(self, name):
        self.kept[name] = []
        return name

    def search_runs(self, experiments, wanted):
        found = [run for place in experiments for run in self.kept[place] if run.wanted == wanted]
        return [SimpleNamespace(info=run) for run in found]

    def create_run(self, experiment, tags, run_name):
        ((tag, value),) = tags.items()
        run = SimpleNamespace(
            wanted=f"tags.`{tag}` = '{value}'", run_id=run_name, status="RUNNING", params={},
            metrics=[],
        )  # fmt: skip
        self.kept[experiment].append(run)
        return SimpleNamespace(info=run)

    def _run(self, run_id):
        return next(run for runs in self.kept.values() for run in runs if run.run_id == run_id)

    def log_batch(self, run_id, metrics=(), params=()):
        assert len(metrics) <= 1000
        assert len(params) <= 100
        self._run(run_id).metrics += metrics
        self._run(run_id).params |= dict(params)

    def update_run(self, run_id, status):
        self._run(run_id).status = status

    set_terminated = update_run


@pytest.fixture
def made_up_mlflow(monkeypatch):
    monkeypatch.setattr(MadeUpMLflow, "kept", {})
    entities = {"Metric": lambda *values: values, "Param": lambda *values: values}
    modules = {"mlflow": {"MlflowClient": MadeUpMLflow}, "mlflow__entities": entities}
    yield from (MadeUpMLflow.kept for _ in stand_in(monkeypatch, "mlflow", **modules))


def test_calls_of_mlflow(made_up_mlflow, run, monkeypatch):
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    logger = MLflow(name="mlflow").build(run)
    logger.log(ROWS * 400)
    logger.close("interrupted")
    (kept,) = made_up_mlflow["vidssl"]
    assert kept.run_id == "my-run"
    assert kept.params == {
        "train.epochs": "2", "train.loggers": "None", "pretext.0.name": "pace", "summary": "s"
    }  # fmt: skip
    assert [(name, value, step) for name, value, _, step in kept.metrics[:3]] == [
        ("epoch", 0, 1), ("loss", 1.0, 1), ("pace.loss", 2.0, 1)
    ]  # fmt: skip
    assert len(kept.metrics) == 3600
    assert kept.status == "KILLED"
    logger = MLflow(name="mlflow").build(again(run))
    assert kept.status == "RUNNING"
    logger.close("finished")
    assert kept.status == "FINISHED"
    assert len(made_up_mlflow["vidssl"]) == 1


# The packages themselves, offline.


def installed(name):
    try:
        importlib.import_module(name)
    except ImportError:
        pytest.skip(f"needs {name}: pip install 'vidssl[{name}]'")


def test_tensorboard(run):
    installed("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    check_logger(TensorBoard(name="tensorboard"))
    for part in (run, again(run)):
        logger = TensorBoard(name="tensorboard").build(part)
        logger.log([row for row in ROWS if row["step"] >= part.first_step])
        logger.close("finished")
    events = EventAccumulator(str(run.folder))
    events.Reload()
    losses = [(event.step, event.value) for event in events.Scalars("loss")]
    assert losses == [(row["step"], pytest.approx(row["loss"])) for row in ROWS]


@pytest.mark.filterwarnings("default")  # those of the package are its own business
def test_wandb_offline(run, monkeypatch):
    installed("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    for part in (run, again(run)):
        logger = WandB(name="wandb").build(part)
        logger.log([row for row in ROWS if row["step"] >= part.first_step])
        logger.close("finished")
    kept = sorted(run.files.glob("wandb/offline-run-*"))
    assert kept
    assert {folder.name.rpartition("-")[2] for folder in kept} == {run.id}
    assert all(list(folder.glob("run-*.wandb")) for folder in kept)


@pytest.mark.filterwarnings("default")
def test_mlflow_on_disk(run, tmp_path, monkeypatch, capsys):
    installed("mlflow")
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # a database takes long to make
    uri = (tmp_path / "mlruns").as_uri()
    for part in (run, again(run)):
        logger = MLflow(name="mlflow", uri=uri, experiment="e").build(part)
        logger.log([row for row in ROWS if row["step"] >= part.first_step])
        logger.close("finished")
    client = MlflowClient(tracking_uri=uri)
    (found,) = client.search_runs([client.get_experiment_by_name("e").experiment_id])
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "my-run"
    assert json.loads(found.data.params["train.epochs"]) == 2
    history = client.get_metric_history(found.info.run_id, "loss")
    assert {point.step: point.value for point in history} == {r["step"]: r["loss"] for r in ROWS}
    assert capsys.readouterr().out == ""
