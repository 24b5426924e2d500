"""The order of the packages holds for every import, lazy ones and those for types included."""

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LAYERS, _ = PYPROJECT["tool"]["importlinter"]["contracts"]
ORDER = LAYERS["layers"]
TOP = {"__main__", "testing"}
"""Modules at the root, which nothing imports."""
SOURCES = {
    ".".join(path.relative_to(base).with_suffix("").parts).removesuffix(".__init__"): path
    for base in (ROOT, ROOT / "plugins")
    for path in sorted(base.glob("vidssl_*/**/*.py"))
}


def imports(name):
    """Yield the line and name of every module that one imports, at its top or later."""
    for node in ast.walk(ast.parse(SOURCES[name].read_text())):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name}:{node.lineno}: imports are absolute"
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            found = [each if each in SOURCES else node.module for each in inner]
        else:
            continue
        for module in found:
            if module.partition(".")[0] in ("vidssl_cli", "vidssl_plugins"):
                yield node.lineno, module


def package(module):
    return module.split(".")[1] if "." in module else ""


def test_the_packages_are_those_of_the_order():
    packages = {package(name) for name in SOURCES if name.startswith("vidssl_cli.")}
    assert packages - TOP == set(ORDER)
    assert len(ORDER) <= 12


def test_pyproject_has_no_list_of_modules():
    named = [name for name in SOURCES if name.count(".") > 1 and name in str(PYPROJECT["tool"])]
    assert named == ["vidssl_cli.base.errors", "vidssl_cli.data.lists"]  # of which one class


@pytest.mark.parametrize("name", [name for name in SOURCES if name.startswith("vidssl_cli.")])
def test_a_package_imports_only_what_is_below_it(name):
    if package(name) in TOP:
        return
    allowed = {package(name), *ORDER[ORDER.index(package(name)) + 1 :]}
    for line, module in imports(name):
        assert package(module) in allowed, f"{name}:{line} imports {module}"


@pytest.mark.parametrize("name", [name for name in SOURCES if name.startswith("vidssl_plugins")])
def test_a_plugin_imports_what_third_parties_may(name):
    for line, module in imports(name):
        ours = module.startswith(("vidssl_plugins.", "vidssl_cli.contract."))
        assert ours or module == "vidssl_cli.base.errors", f"{name}:{line} imports {module}"


def test_no_modules_import_each_other():
    waiting = {name: {module for _, module in imports(name)} for name in SOURCES}
    while free := [name for name, needs in waiting.items() if not needs & waiting.keys()]:
        for name in free:
            del waiting[name]
    assert not waiting, f"a circle is among {sorted(waiting)}"
