"""A method is found under its own name, and no module of the plugins imports itself by a detour."""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from vidssl_cli.contract.registry import BASES, offered

ROOT = Path(__file__).parents[2] / "plugins"
SOURCES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for path in sorted(ROOT.glob("vidssl_plugins/**/*.py"))
    if path.name != "__init__.py"
}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in SOURCES.items()}
KINDS = [f"vidssl_plugins.{kind}s" for kind in BASES]


def imported(tree):
    """Return the modules of plugins that are imported anywhere in a tree, lazily and for types."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= inner | {node.module}
    return found & SOURCES.keys()


def at_once(name):
    """Return the modules of plugins that are imported whenever this one is."""
    plain = [node for node in TREES[name].body if isinstance(node, ast.Import | ast.ImportFrom)]
    return imported(ast.Module(plain, []))


def names_of(name):
    """Yield (class, word) for every class of a module whose ``name`` is a Literal."""
    for node in TREES[name].body:
        for field in node.body if isinstance(node, ast.ClassDef) else ():
            match field:
                case ast.AnnAssign(
                    target=ast.Name("name"), annotation=ast.Subscript(slice=ast.Constant(word))
                ):
                    yield node.name, word


def options_of(kind):
    return {name.rpartition(".")[2]: name for name in SOURCES if name.startswith(f"{kind}.options")}


def methods(kind):
    """Return the words for which a kind has an options module."""
    return {
        stem for stem, name in options_of(kind).items() if stem in dict(names_of(name)).values()
    }


def is_of_a_method(stem, kind):
    """Whether a module is named after a method: ``sstl``, or ``sstl_bank`` for a part of it."""
    return any(stem == method or stem.startswith(f"{method}_") for method in methods(kind))


IMPORTS = {name: imported(tree) for name, tree in TREES.items()}


def test_no_modules_import_each_other():
    try:
        TopologicalSorter(IMPORTS).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' imports '.join(error.args[1][::-1])}")


@pytest.mark.parametrize("kind", KINDS)
def test_a_method_does_not_know_its_options(kind):
    own = {name for stem, name in options_of(kind).items() if stem in methods(kind)}
    for name in SOURCES:
        if ".options." not in name and not name.endswith(".hooks"):
            assert not IMPORTS[name] & own, name


@pytest.mark.parametrize("kind", KINDS)
def test_options_import_what_they_build_lazily(kind):
    for name in options_of(kind).values():
        assert {module for module in at_once(name) if ".options." not in module} == set(), name


@pytest.mark.parametrize("kind", BASES)
def test_what_is_offered_is_in_the_module_of_its_name(kind):
    ours = {
        name: f"{model.__module__}.{model.__name__}"
        for name, model in offered(kind).items()
        if model.__module__.startswith("vidssl_plugins.")
    }
    assert ours
    for name, model in ours.items():
        module = f"vidssl_plugins.{kind}s.options.{name}"
        assert model.rpartition(".")[0] == module
        assert (model.rpartition(".")[2], name) in names_of(module)


@pytest.mark.parametrize("kind", KINDS)
def test_modules_are_named_after_methods(kind):
    for stem, name in options_of(kind).items():
        assert stem == "shared" or is_of_a_method(stem, kind), name
    for name in SOURCES:
        folder, _, stem = name.rpartition(".")
        if folder == kind:
            assert stem == "hooks" or is_of_a_method(stem, kind), name


@pytest.mark.parametrize("kind", KINDS)
def test_options_build_what_is_named_after_a_method(kind):
    for stem in methods(kind):
        lazy = IMPORTS[f"{kind}.options.{stem}"] - at_once(f"{kind}.options.{stem}")
        assert lazy, f"{stem} builds nothing"
        for module in lazy:
            folder, _, built = module.rpartition(".")
            assert folder == kind, module
            assert is_of_a_method(built, kind), module


def test_every_named_class_is_under_its_name_or_a_part_of_another():
    everywhere = {
        (kind, word): name
        for kind in KINDS
        for name in options_of(kind).values()
        for _, word in names_of(name)
    }
    parts = {f"{kind}:{word}" for (kind, word), name in everywhere.items() if word not in name}
    assert parts == {
        "vidssl_plugins.backbones:bn",
        "vidssl_plugins.backbones:none",
        *(
            f"vidssl_plugins.samplers:{pacing}"
            for pacing in ("single", "fixed_exponential", "varied_exponential", "constant")
        ),
    }


def test_what_is_shared_is_used_by_several():
    users = {}
    for name in SOURCES:
        if ".shared." not in name and ".options." not in name and not name.endswith(".hooks"):
            waiting, seen = [name], set()
            while waiting:
                seen.add(module := waiting.pop())
                waiting += IMPORTS[module] - seen
            for module in seen:
                users.setdefault(module, set()).add(name)
    for name in SOURCES:
        if ".shared." in name:
            assert len(users.get(name, ())) > 1, f"{name} is used by {users.get(name)}"


@pytest.mark.parametrize("kind", KINDS)
def test_hooks_only_list(kind):
    docstring, *body = TREES[f"{kind}.hooks"].body
    assert isinstance(docstring, ast.Expr)
    for node in body:
        if isinstance(node, ast.FunctionDef):
            assert [ast.unparse(each) for each in node.decorator_list] == ["hookimpl"]
            said, listed = node.body
            assert isinstance(said, ast.Expr)
            assert isinstance(listed, ast.Return)
            assert isinstance(listed.value, ast.List)
        else:
            assert isinstance(node, ast.ImportFrom), ast.unparse(node)


def test_reading_options_imports_neither_torch_nor_numpy():
    light = [name for name in SOURCES if ".options." in name or name.endswith(".hooks")]
    script = f"import sys, {', '.join(light)}\nprint(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"torch", "numpy", "sklearn"} & set(run.stdout.split())
