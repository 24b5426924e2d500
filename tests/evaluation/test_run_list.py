"""`vidssl runs`: how runs stand, also those whose process is gone."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from vidssl_cli.base.errors import DamagedFileError, UsageError, VidsslError
from vidssl_cli.cli import app
from vidssl_cli.cli.failures import run as call
from vidssl_cli.config.recipe import PretrainRecipe
from vidssl_cli.evaluation.records import Record, find_runs
from vidssl_cli.evaluation.run_list import age, lines, sort, standings
from vidssl_cli.files import sealed_json
from vidssl_cli.files.sealed_folder import verify
from vidssl_cli.model import run_directory
from vidssl_cli.training import run as run_module
from vidssl_cli.training import run_start
from vidssl_cli.training.pretrain import pretrain
from vidssl_cli.training.session import Session


def test_what_is_told_of_a_run(make_run, made_up_report, tmp_path):
    make_run(
        tmp_path / "a" / "0",
        made_up_report(0.3),
        made_up_report(0.5, "pool4", 0.2),
        made_up_report(0.4, "x"),
    )
    (standing,) = standings([tmp_path])
    assert standing.as_document() == {
        "run": str(tmp_path / "a" / "0"), "task": None, "summary": "Pace <b>prediction</b>",
        "method": "pace + 0.1 same_context", "seed": 0, "state": "finished", "reason": None,
        "epoch": 4, "epochs": 4, "step": 8, "loss": 2.5, "updated": "2026-01-02T03:04:05+00:00",
        "best": {"retrieval": {"metric": "top1", "value": 0.5, "random": 0.2, "chance": 0.05}},
    }  # fmt: skip


def test_lines_fit_a_terminal(make_run, made_up_report, tmp_path):
    make_run(tmp_path / "pace" / "0", made_up_report(0.3))
    make_run(tmp_path / ("long " * 20) / "0", state="preempted", epochs=0, updated="?")
    now = datetime(2026, 1, 2, 5, 0, tzinfo=UTC)
    root, head, *told = lines(sort(standings([tmp_path]), "state"), now)
    assert root == str(tmp_path)
    assert head.split() == ["state", "epochs", "loss", "age"]
    assert told[0].split() == ["pace/0", "finished", "4/4", "2.500", "1", "h"]
    assert told[1].strip() == "pace + 0.1 same_context · retrieval 30.0"
    assert told[3].split() == ["preempted", "0/4", "–", "–"]
    assert max(map(len, [head, *told[:2], *told[3:]])) <= 80


def test_running_is_stopped_once_the_process_is_gone(make_run, tmp_path):
    folder = make_run(tmp_path / "a", state="running")
    with run_start.lock_run(folder, "pretrain"):
        assert Record.read(folder).state == "running"
    assert Record.read(folder).state == "stopped"
    (folder / ".lock").unlink()
    assert Record.read(folder).state == "stopped"
    folder = make_run(tmp_path / "b", state="failed")
    assert Record.read(folder).state == "failed"


def test_a_training_holds_its_folder(toy_recipe, toy_videos, tmp_path, monkeypatch):
    states = []
    logged = run_module.Run.log

    def log(run, row):
        states.append(Record.read(run.folder).state)
        with pytest.raises(VidsslError, match="another `vidssl pretrain` is writing here"):
            pretrain(recipe, toy_videos, Session(run.folder, resume=True, device="cpu"))
        logged(run, row)

    monkeypatch.setattr(run_module.Run, "log", log)
    recipe = PretrainRecipe.model_validate(toy_recipe(epochs=1))
    pretrain(recipe, toy_videos[:4], Session(tmp_path / "run", device="cpu"))
    assert set(states) == {"running"}
    assert Record.read(tmp_path / "run").state == "finished"


def test_a_refused_folder_is_left_as_it_was(toy_recipe, toy_videos, tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    recipe = PretrainRecipe.model_validate(toy_recipe(epochs=1))
    for how in ({}, {"resume": True}, {"overwrite": True}):
        with pytest.raises(UsageError):
            pretrain(recipe, toy_videos[:4], Session(tmp_path, device="cpu", **how))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_sorted_by_what_is_asked_for(make_run, made_up_report, tmp_path):
    make_run(tmp_path / "a", made_up_report(0.2), epochs=1)
    make_run(tmp_path / "b", epochs=3, updated="2026-05-02T03:04:05+00:00")
    make_run(tmp_path / "c", made_up_report(0.9), epochs=2, state="failed")
    found = standings([tmp_path])

    def order(key):
        return "".join(standing.record.folder.name for standing in sort(found, key))

    keys = ("run", "state", "epoch", "loss", "age", "retrieval")
    assert {key: order(key) for key in keys} == {
        "run": "abc", "state": "cab", "epoch": "acb", "loss": "bca",
        "age": "bac", "retrieval": "cab",
    }  # fmt: skip
    with pytest.raises(UsageError, match="found no such figure") as caught:
        sort(found, "linear")
    assert "retrieval" in caught.value.hint


def test_what_is_damaged_is_named_and_left_out(make_run, made_up_report, tmp_path, capfd):
    make_run(tmp_path / "good", made_up_report(0.2))
    torn = make_run(tmp_path / "torn")
    (torn / "run.json").write_text("{")
    foreign = make_run(tmp_path / "foreign")
    (foreign / "run.json").write_text('{"not": "ours"}')
    make_run(tmp_path / "bare", recipe="sampler: {name: pace}\n")
    half = make_run(tmp_path / "half", made_up_report(0.2))
    next(half.rglob("report.json")).write_text('{"evaluator": 3}')
    assert call(app, ["runs", str(tmp_path), "--json"]) == 0
    out, told = capfd.readouterr()
    found = {row["run"].rpartition("/")[2]: row["best"] for row in json.loads(out)["runs"]}
    assert found.keys() == {"good", "half"}
    assert found["half"] == {}
    for name in ("torn", "foreign", "bare", "half"):
        assert f"{tmp_path / name}" in told
    with pytest.raises(DamagedFileError):
        Record.read(half).evaluations()


@pytest.mark.parametrize("value", ['"many"', "[1]", "null", "9" * 400])
def test_what_was_logged_is_numbers(make_run, tmp_path, value):
    run = make_run(tmp_path / "run")
    (run / "metrics.jsonl").write_text(f'{{"step": 1, "loss": {value}}}\n' * 2)
    with pytest.raises(DamagedFileError, match="loss is not a number in the row of step 1"):
        Record.read(run)


def test_a_loss_that_is_not_finite_is_none_in_a_document(make_run, tmp_path):
    run = make_run(tmp_path / "run")
    (run / "metrics.jsonl").write_text('{"step": 1, "loss": NaN}\n')
    assert Record.read(run).loss is None


def test_a_report_of_another_run_is_refused(make_run, made_up_report, tmp_path):
    one, other = (make_run(tmp_path / str(seed), seed=seed) for seed in (0, 1))
    for folder in (one, other):
        report = made_up_report(0.2) | {"run": run_directory.identify(one)}
        place = folder / "evaluations" / "retrieval-1" / "report.json"
        place.parent.mkdir(parents=True)
        place.write_bytes(sealed_json.render(report))
    assert len(Record.read(one).evaluations()) == 1
    with pytest.raises(DamagedFileError, match="is of another run"):
        Record.read(other).evaluations()


@pytest.mark.parametrize("name", ["run.json", "recipe.yaml"])
@pytest.mark.parametrize("harm", ["edited", "gone"])
def test_files_of_a_run_are_checked_before_they_are_read(make_run, tmp_path, name, harm):
    folder = make_run(tmp_path / "run")
    (folder / "checkpoints").mkdir()
    (folder / "model.json").write_text("{}")
    if harm == "gone":
        (folder / name).unlink()
    else:
        (folder / name).write_text((folder / name).read_text().replace("4", "5", 1))
    assert [*find_runs([tmp_path])] == [folder] or name == "run.json"
    with pytest.raises(DamagedFileError):
        run_directory.verify_file(folder, "recipe.yaml")


def test_a_checkpoint_that_is_gone_is_damage_not_a_fresh_start(make_run, tmp_path):
    folder = make_run(tmp_path / "run")
    (folder / "checkpoints").mkdir()
    with pytest.raises(UsageError, match="has no checkpoint"):
        run_directory.find_checkpoint(folder, "last")
    (folder / "checkpoints" / "last").symlink_to("epoch-0001-step-00000009")
    with pytest.raises(DamagedFileError):
        verify(run_directory.find_checkpoint(folder, "last"))


def test_a_finetuning_has_its_own_figures(make_run, tmp_path):
    folder = make_run(tmp_path / "tuned", recipe="task: finetune\ntrain: {epochs: 1}\n")
    rows = [{"checkpoint": name, "clip_accuracy": 0.25, "video_accuracy": 0.5}
            for name in ("last", "best")]  # fmt: skip
    (folder / "report.json").write_bytes(sealed_json.render({"rows": rows, "chance": 0.1}))
    (evaluation,) = Record.read(folder).evaluations()
    assert evaluation.figure("run", "video_accuracy") == 0.5
    assert evaluation.chances == {"clip_accuracy": 0.1, "video_accuracy": 0.1}
    assert Record.read(folder).method == "finetune"
    (folder / "report.json").write_bytes(sealed_json.render({"rows": []}))
    with pytest.raises(DamagedFileError, match="vidssl finetune"):
        Record.read(folder).evaluations()


@pytest.mark.parametrize(
    ("seconds", "told"), [(-5, "0 s"), (59, "59 s"), (60, "1 min"), (7199, "1 h"), (1e6, "11 d")]
)
def test_ages(seconds, told):
    assert age(timedelta(seconds=seconds)) == told


def test_no_run_and_no_folder(tmp_path, capfd):
    assert call(app, ["runs", str(tmp_path)]) == 0
    out, told = capfd.readouterr()
    assert (out, "there is no run" in told) == ("", True)
    assert call(app, ["runs", str(tmp_path / "no")]) == 2
