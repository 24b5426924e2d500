"""`vidssl breadth`: one run on several data sets, in one table and on one page."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from vidssl_cli.base.errors import UsageError
from vidssl_cli.cli import app
from vidssl_cli.cli.failures import run as call
from vidssl_cli.contract.registry import offered
from vidssl_cli.data.manifest import write_manifest
from vidssl_cli.evaluation import breadth
from vidssl_cli.evaluation.breadth import MEASURES, Measure, NamedData, measure

QUICK = (
    Measure("domain, actions", "linear"),
    Measure("domain, actions", "retrieval"),
    Measure("samples", "few_labels", ("shots=1", "draws=2")),
)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(breadth, "MEASURES", QUICK)


@pytest.fixture
def model(toy_encoder, tmp_path):
    toy_encoder().export(tmp_path / "model")
    return tmp_path / "model"


def test_the_measures_are_protocols_that_are_installed():
    assert {each.evaluator for each in MEASURES} <= set(offered("evaluator"))
    assert {each.question for each in MEASURES} == {"domain, actions", "samples", "task"}


def test_each_measure_on_each_data_set(quick, toy_encoder, toy_videos, model):
    unlabelled = [replace(video, label=None) for video in toy_videos]
    sets = [NamedData("toy", toy_videos), NamedData("bare", unlabelled)]
    found = measure(toy_encoder(), sets, model)
    assert [(f.measure, f.data, f.classes, f.metric) for f in found.findings] == [
        ("linear", "toy", 3, "accuracy"),
        ("retrieval", "toy", 3, "top1"),
        ("few_labels shots=1 draws=2", "toy", 3, "accuracy"),
    ]
    assert all(0 <= f.random <= 1 and f.chance is not None for f in found.findings)
    assert [(each.data, each.measure) for each in found.unfit] == [
        ("bare", "linear"), ("bare", "retrieval"), ("bare", "few_labels shots=1 draws=2"),
    ]  # fmt: skip
    assert "has a label and the split" in found.unfit[0].why
    table, missing = found.tables()
    assert table.rows[0][4] == pytest.approx(100 * found.findings[0].run, abs=0.05)
    assert len(missing.rows) == 3
    reports = [json.loads(file.read_text()) for file in model.glob("evaluations/*/report.json")]
    assert {report["evaluator"] for report in reports} == {"linear", "retrieval", "few_labels"}


def test_nothing_that_fits(quick, toy_encoder, toy_videos, model):
    bare = NamedData("bare", [replace(video, label=None) for video in toy_videos])
    with pytest.raises(UsageError, match="fit for any measure"):
        measure(toy_encoder(), [bare], model)


def test_the_command_writes_a_table_and_a_page(quick, model, toy_videos, tmp_path, capsys):
    page = tmp_path / "page.html"
    for name in ("a.jsonl", "b.jsonl"):
        write_manifest(tmp_path / name, toy_videos)
    words = ["breadth", str(model), "--data", str(tmp_path / "a.jsonl"), "--device", "cpu"]
    words += ["--data", str(tmp_path / "b.jsonl"), "--out", str(page)]
    assert call(app, [*words, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["page"] == str(page)
    assert [each["data"] for each in document["findings"]] == ["a.jsonl", "b.jsonl"] * 3
    assert document["unfit"] == []
    assert "few_labels shots=1" in page.read_text()
    assert call(app, words) == 2
    assert "is there already" in capsys.readouterr().err
    assert call(app, [*words, "--overwrite"]) == 0
    assert " gain" in capsys.readouterr().out
    assert call(app, [*words[:4], *words[2:4]]) == 2
    assert "given twice" in capsys.readouterr().err
