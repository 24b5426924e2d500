"""What installing vidssl puts on a machine: its packages, their data, and nothing else."""

import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import get_args

import pytest
from packaging.requirements import Requirement

from vidssl_cli.contract.loading import Kind

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "vidssl": ROOT / "vidssl",
    "vidssl_cli": ROOT / "vidssl_cli",
    "vidssl_plugins": ROOT / "plugins/vidssl_plugins",
}
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

PAPER = "papers/pace-c3d-ucf101"


def sources():
    """Return every file of the packages and the recipes, as they stand in a wheel."""
    files = {
        f"{name}/{file.relative_to(folder).as_posix()}"
        for name, folder in PACKAGES.items()
        for file in folder.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    recipes = (ROOT / "recipes").rglob("*.yaml")
    return files | {f"vidssl_cli/recipes/{file.relative_to(ROOT / 'recipes')}" for file in recipes}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel, built from a source distribution, as an installer would."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT]
    subprocess.run(build, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


def inside(wheel):
    """Return the files of a wheel, but for its metadata."""
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def test_a_wheel_holds_the_packages_and_everything_in_them(wheel):
    assert inside(wheel) == sources()
    subprocess.run(
        [sys.executable, "-m", "check_wheel_contents", "--toplevel", ",".join(PACKAGES), wheel],
        check=True,
        cwd=wheel.parent,
    )


def test_an_editable_install_adds_a_path_and_nothing_generic(tmp_path):
    script = (
        "import sys; from hatchling.builders.wheel import WheelBuilder\n"
        "list(WheelBuilder(sys.argv[1]).build(directory=sys.argv[2], versions=['editable']))"
    )
    subprocess.run([sys.executable, "-c", script, ROOT, tmp_path], check=True)
    (path,) = tmp_path.glob("*.whl")
    extra = {name for name in inside(path) if not name.startswith("vidssl_cli/recipes/")}
    assert [Path(name).suffix for name in extra] == [".pth"]


def test_an_installed_vidssl_finds_its_plugins_and_recipes(wheel, tmp_path):
    target = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", target, wheel], check=True)

    def printed(*arguments):
        run = [sys.executable, "-W", "error", "-m", "vidssl_cli", *arguments]
        environment = os.environ | {"PYTHONPATH": str(target)}
        return subprocess.check_output(run, env=environment, cwd=tmp_path, encoding="utf-8")

    def vidssl(*arguments):
        return json.loads(printed(*arguments, "--json"))

    assert "# What differs, or had to be chosen:\n" in printed("recipes", "show", PAPER)
    recipes = vidssl("recipes", "list")["recipes"]
    assert recipes
    assert all(Path(row["path"]).is_relative_to(target / "vidssl_cli/recipes") for row in recipes)
    plugins = vidssl("plugins")["plugins"]
    assert {row["kind"] for row in plugins} == set(get_args(Kind))
    assert all(row["status"] == "loaded" for row in plugins if row["package"] == "vidssl")


def test_constraints_pin_what_is_asked_for():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.lower().split("==") for line in lines if not line.startswith("#"))
    assert pins["torch"] == "2.13.0"
    extras = PYPROJECT["project"]["optional-dependencies"]
    asked = [
        Requirement(text)
        for text in [
            *PYPROJECT["project"]["dependencies"],
            *PYPROJECT["build-system"]["requires"],
            *(text for extra in ("cpu", "tensorboard", "dev") for text in extras[extra]),
        ]
    ]
    for requirement in asked:
        if requirement.name != "vidssl":
            assert requirement.specifier.contains(pins[requirement.name.lower()]), requirement


def test_nothing_names_a_package_index():
    for name in ("pyproject.toml", "constraints.txt", "Makefile", ".ci/run"):
        assert not re.search(r"--(extra-)?index-url|://", (ROOT / name).read_text()), name
