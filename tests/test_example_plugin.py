"""The example plugin is a distribution of its own: installed, found, checked, trained with."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vidssl_cli.data.manifest import write_manifest

SOURCE = Path(__file__).parents[1] / "docs" / "example-plugin"


@pytest.fixture(scope="module")
def run_with_plugin(tmp_path_factory):
    """Install the plugin into a folder; return a function that runs python with it on the path."""
    site = tmp_path_factory.mktemp("site")
    install = ["pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([sys.executable, "-m", *install, "--target", site, SOURCE], check=True)
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))

    def run(*arguments, cwd=None):
        environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            env=environment,
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_is_found_beside_the_built_ins(run_with_plugin):
    run = run_with_plugin("-m", "vidssl_cli", "plugins", "--json")
    assert run.returncode == 0, run.stderr
    plugins = json.loads(run.stdout)["plugins"]
    found = {(p["kind"], p["name"], p["package"]) for p in plugins if "example" in p["package"]}
    expected = {("sampler", "freeze"), ("pretext", "freeze")}
    assert found == {(*plugin, "vidssl-example") for plugin in expected}
    assert any(p["name"] == "r3d" for p in plugins)


def test_its_recipe_has_a_name(run_with_plugin):
    run = run_with_plugin("-m", "vidssl_cli", "recipes", "check", "freeze")
    assert run.returncode == 0, run.stderr


def test_keeps_the_contract(run_with_plugin, tmp_path):
    tests = SOURCE / "tests"
    run = run_with_plugin("-m", "pytest", "-q", "-p", "no:cacheprovider", tests, cwd=tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "2 passed" in run.stdout


def test_trains(run_with_plugin, toy_videos, tmp_path):
    write_manifest(tmp_path / "videos.jsonl", toy_videos)
    settings = ["input={resize: [24, 32], crop: 16}", "backbone.width=4", "sampler.frames=8"]
    settings += ["train.epochs=2", "train.batch_videos=4"]
    arguments = ["-m", "vidssl_cli", "pretrain", "freeze", "--device", "cpu", "--json"]
    arguments += ["--data", tmp_path / "videos.jsonl", "--out", tmp_path / "run"]
    for setting in settings:
        arguments += ["--set", setting]
    run = run_with_plugin(*arguments, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["run"] == str(tmp_path / "run")
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert "freeze.loss" in json.loads(lines[0])
    recipe = (tmp_path / "run" / "recipe.yaml").read_text()
    assert recipe.count("name: freeze") == 2
