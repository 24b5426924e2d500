"""The doctor names what is missing, with the fix, and is calm where nothing is."""

import json
import shutil
import sys
import tempfile
from importlib.metadata import EntryPoint, metadata
from types import SimpleNamespace
from unittest import mock

import pytest
import torch

from simulated_gpu.device import simulate
from vidssl_cli.cli import app, doctor_checks, failures
from vidssl_cli.contract.registry import Registry
from vidssl_cli.model import gpu_check as model_check
from vidssl_cli.search import faiss_library
from vidssl_cli.search import gpu_check as search_check


def checks(name):
    return [check for check in doctor_checks.examine() if check.name == name]


@pytest.fixture
def run(capsys):
    """A function that runs `vidssl doctor`; returns its status and output."""

    def call(*options):
        return failures.run(app, ["doctor", *options]), capsys.readouterr().out

    return call


def test_this_installation_is_healthy(run):
    status, out = run("--json")
    assert status == 0
    document = json.loads(out)
    assert document["healthy"] is True
    names = [check["name"] for check in document["checks"]]
    for name in (
        "vidssl",
        "python",
        *doctor_checks.ESSENTIAL,
        "cpu",
        "gpu",
        "faiss",
        "here",
        "temp",
    ):
        assert names.count(name) == 1
    assert "r3d" in next(c["found"] for c in document["checks"] if c["name"] == "backbones")
    status, out = run()
    assert status == 0
    assert all(name in out for name in names)


def test_a_missing_essential_is_fatal(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    status, out = run("--json")
    assert status == 1
    document = json.loads(out)
    assert document["healthy"] is False
    assert document["error"]["where"] == "av"
    status, out = run()
    assert status == 1
    (line,) = [line for line in out.splitlines() if line.startswith("fatal")]
    assert line.split()[1] == "av"


def with_faiss(monkeypatch, *names):
    there = [SimpleNamespace(name=name) for name in ("numpy", *names)]
    monkeypatch.setattr(faiss_library, "distributions", lambda: there)
    monkeypatch.setattr(doctor_checks, "version", lambda name: "1.0")


@pytest.mark.parametrize(
    ("names", "status", "found", "fix"),
    [
        ([], "note", "none", "pip install 'vidssl[cpu]'"),
        (["faiss-cpu"], "ok", "faiss-cpu 1.0, on the CPU", None),
        (
            ["faiss-gpu", "faiss-cpu"],
            "problem",
            "faiss-cpu 1.0, faiss-gpu 1.0",
            "pip uninstall -y faiss-cpu faiss-gpu",
        ),
    ],
)
def test_exactly_one_faiss(monkeypatch, names, status, found, fix):
    with_faiss(monkeypatch, *names)
    monkeypatch.setitem(sys.modules, "faiss", SimpleNamespace(__name__="faiss"))
    monkeypatch.setattr(doctor_checks, "_attempt", lambda load: load())
    (check,) = checks("faiss")
    assert check.status == status
    assert check.found.startswith(found)
    assert check.fix == fix or check.fix.startswith(fix)


@pytest.mark.parametrize(
    ("loaded", "expected"),
    [
        ({}, []),
        (
            {"libcublas.so.12": ["/a"], "libcublas.so.13": ["/b"]},
            [("ok", "libcublas.so.12, libcublas.so.13")],
        ),
        (
            {"libcublas.so.12": ["/a", "/b"], "libcudart.so.12": ["/c"]},
            [("problem", "libcublas.so.12 is loaded twice: /a and /b")],
        ),
    ],
)
def test_cuda_libraries_of_torch_and_faiss(loaded, expected, monkeypatch):
    monkeypatch.setattr(doctor_checks, "cuda_libraries", lambda: loaded)
    assert [(check.status, check.found) for check in checks("cuda")] == expected


def test_a_faiss_that_cannot_be_imported_is_a_problem(monkeypatch, tmp_path):
    with_faiss(monkeypatch, "faiss-gpu")
    (tmp_path / "faiss.py").write_text("raise RuntimeError('libcublas.so.12 is missing')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "faiss", raising=False)
    (check,) = checks("faiss")
    assert check.status == "problem"
    assert "RuntimeError: libcublas.so.12 is missing" in check.found
    assert check.fix == "pip uninstall -y faiss-gpu, then pip install 'vidssl[cpu]'"


def test_every_extra_is_explained():
    assert set(metadata("vidssl").get_all("Provides-Extra")) - {"dev"} == set(doctor_checks.EXTRAS)


def test_a_missing_extra_is_a_note(monkeypatch):
    monkeypatch.setattr(doctor_checks, "_is_installed", lambda name: False)
    for extra in doctor_checks.EXTRAS:
        (check,) = checks(f"[{extra}]")
        assert check.status == "note"
        assert check.fix == f"pip install 'vidssl[{extra}]'"


def test_failed_plugins_are_named_and_missing_kinds_are_fatal(monkeypatch):
    broken = Registry([EntryPoint("first", "not_there_at_all", "vidssl")])
    monkeypatch.setattr(doctor_checks, "registry", lambda: broken)
    (check,) = checks("plugin")
    assert check.status == "problem"
    assert "No module named 'not_there_at_all'" in check.found
    (check,) = checks("samplers")
    assert check.status == "fatal"


def test_folders_are_tried(monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=10**6))
    (check,) = checks("here")
    assert (check.status, check.found.endswith("0.0 GB free")) == ("problem", True)

    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    (check,) = checks("temp")
    assert check.status == "problem"
    assert "Permission denied" in check.found


def test_every_problem_has_a_fix(monkeypatch):
    for name in doctor_checks.ESSENTIAL:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(doctor_checks, "registry", lambda: Registry([]))
    found = [check for check in doctor_checks.examine() if check.status in {"problem", "fatal"}]
    assert len(found) >= len(doctor_checks.ESSENTIAL) + 4
    assert all(check.fix for check in found)


def a_card():
    facts = SimpleNamespace(name="simulated", total_memory=2**34)
    return mock.patch.object(torch.cuda, "get_device_properties", return_value=facts)


def test_a_gpu_that_computes_right_is_fine():
    with simulate(), a_card():
        (check,) = checks("gpu 0")
    assert (check.status, check.fix) == ("ok", None)
    assert check.found.startswith("convolves in fp32, ")


@pytest.mark.parametrize("result", [("bf16", 0.3), ("fp32", float("nan"))])
def test_a_gpu_that_computes_something_else_is_a_problem(monkeypatch, result):
    monkeypatch.setattr(model_check, "convolution_error", lambda number: result)
    with simulate(), a_card():
        (check,) = checks("gpu 0")
    assert check.status == "problem"
    assert "a build of torch for this GPU" in check.fix


def test_a_gpu_that_cannot_compute_is_a_problem(monkeypatch):
    def fail(number):
        raise RuntimeError("CUDA error: no kernel image is available\nfor execution")

    monkeypatch.setattr(model_check, "convolution_error", fail)
    with simulate(), a_card():
        (check,) = checks("gpu 0")
    assert check.status == "problem"
    assert "no kernel image is available for execution" in check.found


@pytest.mark.parametrize(("share", "status"), [(1.0, "ok"), (0.5, "problem"), (None, "problem")])
def test_faiss_is_tried_on_each_gpu(monkeypatch, share, status):
    faiss = pytest.importorskip("faiss")
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 2, raising=False)

    def search(number):
        if share is None:
            raise RuntimeError("out of memory")
        return share

    monkeypatch.setattr(search_check, "search_agreement", search)
    assert [check.status for number in (0, 1) for check in checks(f"faiss {number}")] == [
        status
    ] * 2


def test_faiss_agrees_with_itself():
    pytest.importorskip("faiss")
    assert search_check.search_agreement(0) == 1  # without a GPU both are the CPU
