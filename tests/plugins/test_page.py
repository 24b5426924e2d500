"""The plugins of docs/plugins.md work as they are printed."""

import os
import re
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from vidssl_cli import contract
from vidssl_cli.contract.registry import Registry

PAGE = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")


@pytest.fixture
def package(tmp_path):
    """Write the files that the page shows; return their folder."""
    for name, text in re.findall(r"```python\n# (\S+\.py)\n(.*?)```", PAGE, re.S):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_the_checks_of_the_page_pass(package):
    path = os.pathsep.join([str(package), *sys.path])
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
        cwd=package,
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "6 passed" in run.stdout, run.stdout + run.stderr


def test_the_hooks_of_the_page_are_found(package, monkeypatch):
    monkeypatch.syspath_prepend(package)
    (value,) = re.findall(r'^my_package = "(.*)"$', PAGE, re.M)
    registry = Registry([EntryPoint("my_package", value, "vidssl")])
    assert {(info.kind, info.name, info.status) for info in registry.installed()} == {
        ("sampler", "slow", "loaded"),
        ("pretext", "agree", "loaded"),
        ("backbone", "tiny", "loaded"),
        ("evaluator", "nearest", "loaded"),
        ("decoder", "opencv", "loaded"),
        ("logger", "spreadsheet", "loaded"),
    }


def test_the_page_names_every_module_of_the_contract():
    (folder,) = contract.__path__
    modules = {path.stem for path in Path(folder).glob("[a-z]*.py")}
    assert modules == set(re.findall(r"`contract\.(\w+)`", PAGE))
