"""Every entry point is loaded by itself: what is broken is named, the rest works."""

import functools
import importlib
import json
import os
import subprocess
import sys
from importlib.metadata import EntryPoint, distribution, distributions

import pytest

from vidssl_cli.base.errors import PluginError, noted
from vidssl_cli.base.signals import Stopped
from vidssl_cli.config import attribution
from vidssl_cli.contract.entry_points import find_entries, package_of
from vidssl_cli.contract.registry import Registry

IMPORTS = """
from typing import Literal
from vidssl_cli.contract.hooks import SamplerOptions, hookimpl
"""
BROKEN = {
    "missing": ("import not_there", "ModuleNotFoundError: No module named 'not_there'"),
    "leaves": ("raise SystemExit(3)", "SystemExit: 3"),
    "syntax": ("def", "SyntaxError"),
    "raises": ("@hookimpl\ndef vidssl_samplers(): raise RuntimeError('no luck')", "no luck"),
    "misspelt": ("@hookimpl\ndef vidssl_sampler(): return []", "unknown hook 'vidssl_sampler'"),
    "argument": ("@hookimpl\ndef vidssl_samplers(video): return []", "Argument(s) {'video'}"),
    "unmarked": ("def vidssl_samplers(): return []", "no function marked with @hookimpl"),
    "half_marked": (
        "@hookimpl\ndef vidssl_recipes(): return []\ndef vidssl_samplers(): return []",
        "registrytest_half_marked.vidssl_samplers is not marked with @hookimpl",
    ),
    "no_list": (
        "@hookimpl\ndef vidssl_samplers(): return SamplerOptions",
        "vidssl_samplers returns <class 'vidssl_cli.contract.hooks.SamplerOptions'>, not a list",
    ),
    "one_word": ("@hookimpl\ndef vidssl_recipes(): return '.'", "returns '.', not a list"),
    "foreign": ("@hookimpl\ndef vidssl_samplers(): return [int]", "which is no SamplerOptions"),
    "nothing": ("@hookimpl\ndef vidssl_samplers(): pass", "vidssl_samplers returns None"),
    "number": (
        "class M(SamplerOptions):\n    name: Literal[3]\n"
        "@hookimpl\ndef vidssl_samplers(): return [M]",
        "is named 3; a name is made of letters",
    ),
    "unfinished": (
        "class M(SamplerOptions):\n    name: Literal['m']\n    of: 'NotThere' = None\n"
        "@hookimpl\ndef vidssl_samplers(): return [M]",
        "name 'NotThere' is not defined",
    ),
    "nowhere": ("@hookimpl\ndef vidssl_recipes(): return ['/not/there']", "which is no folder"),
    "nameless": ("@hookimpl\ndef vidssl_samplers(): return [SamplerOptions]", "narrow its name"),
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A function that makes a distribution with one module, as if pip had installed it."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(name, code):
        module = f"registrytest_{name}"
        (tmp_path / f"{module}.py").write_text(IMPORTS + code)
        facts = tmp_path / f"{module}-1.dist-info"
        facts.mkdir()
        (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: acme-{name}\nVersion: 1\n")
        (facts / "entry_points.txt").write_text(f"[vidssl]\nfirst = {module}\n")
        return tmp_path

    yield make
    for module in [name for name in sys.modules if name.startswith("registrytest_")]:
        del sys.modules[module]


def good(*names):
    models = [
        f"class M{number}(SamplerOptions):\n    name: Literal[{name!r}]\n"
        for number, name in enumerate(names)
    ]
    offers = ", ".join(f"M{number}" for number in range(len(names)))
    return "".join([*models, f"@hookimpl\ndef vidssl_samplers(): return [{offers}]\n"])


def entries(folder):
    return sorted(
        entry for dist in distributions(path=[str(folder)]) for entry in dist.entry_points
    )


def test_a_package_is_found(package):
    registry = Registry(entries(package("good", good("slow"))))
    assert list(registry.offered("sampler")) == ["slow"]
    assert registry.offered("pretext") == {}
    (info,) = registry.installed()
    assert (info.name, info.kind, info.package) == ("slow", "sampler", "acme-good")
    assert (info.status, info.reason) == ("loaded", None)


def test_broken_packages_are_named_and_the_rest_works(package):
    package("good", good("slow"))
    for name, (code, _) in BROKEN.items():
        folder = package(name, code)
    registry = Registry(entries(folder))
    assert list(registry.offered("sampler")) == ["slow"]
    absent = {info.package: info for info in registry.absent()}
    assert set(absent) == {f"acme-{name}" for name in BROKEN}
    for name, (_, reason) in BROKEN.items():
        info = absent[f"acme-{name}"]
        assert (info.name, info.kind, info.status) == ("first", None, "failed")
        assert reason in info.reason
        assert "\n" not in info.reason


@pytest.mark.parametrize(
    ("code", "wish"),
    [
        ("raise KeyboardInterrupt", KeyboardInterrupt),
        ("from vidssl_cli.base.signals import Stopped; raise Stopped(15)", Stopped),
    ],
)
def test_a_signal_while_a_package_is_imported_is_no_fault_of_its(package, code, wish):
    with pytest.raises(wish):
        Registry(entries(package("good", code))).installed()


def test_a_name_claimed_twice_belongs_to_nobody(package):
    package("one", good("slow", "fast"))
    folder = package("two", good("slow"))
    registry = Registry(entries(folder))
    assert list(registry.offered("sampler")) == ["fast"]
    rivals = [info for info in registry.installed() if info.name == "slow"]
    assert {info.package for info in rivals} == {"acme-one", "acme-two"}
    for info in rivals:
        assert info.status == "failed"
        assert "acme-one:first and acme-two:first both claim" in info.reason


def test_a_model_may_answer_to_several_names(package):
    code = good("fast").replace("'fast'", "'fast', 'quick'")
    assert list(Registry(entries(package("good", code))).offered("sampler")) == ["fast", "quick"]


@pytest.mark.parametrize("switch", ["acme-good", "acme-good:first"])
def test_plugins_can_be_switched_off(package, switch):
    registry = Registry(entries(package("good", good("slow"))), {switch})
    assert registry.offered("sampler") == {}
    (info,) = registry.installed()
    assert (info.package, info.status) == ("acme-good", "disabled")


def test_what_is_switched_off_is_not_imported(package):
    folder = package("good", "raise SystemExit('imported')")
    for switch in ("acme-good", "acme-good:first", "*"):
        (info,) = Registry(entries(folder), {switch}).installed()
        assert info.status == "disabled"
    assert "registrytest_good" not in sys.modules


def require(folder, line):
    (metadata,) = folder.glob("*.dist-info/METADATA")
    metadata.write_text(f"{metadata.read_text()}Requires-Dist: {line}\n")


@pytest.mark.parametrize("line", ["vidssl>=0.1", "vidssl", "other<1", "no requirement ("])
def test_a_package_for_this_version_is_loaded_without_a_word(package, line):
    folder = package("good", good("slow"))
    require(folder, line)
    assert Registry(entries(folder)).outdated == {}


def test_a_package_that_was_written_for_another_version_is_named(package):
    folder = package("good", good("slow"))
    require(folder, "vidssl<0.1")
    registry = Registry(entries(folder))
    (info,) = registry.installed()
    assert (info.status, info.name) == ("loaded", "slow")
    assert "written for vidssl <0.1, and this is" in info.reason
    assert registry.outdated["acme-good"] == info.reason


def test_a_package_that_fails_tells_what_it_was_written_for(package):
    folder = package("bad", "import not_there")
    require(folder, "vidssl>9")
    (info,) = Registry(entries(folder)).absent()
    assert "not_there" in info.reason
    assert "written for vidssl >9" in info.reason


ORIGINS = {
    "acme-good==1": None,
    "acme-good @ git+https://x.org/good.git@abc": {
        "url": "https://x.org/good.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}
    },
    "--editable file:///good": {"url": "file:///good", "dir_info": {"editable": True}},
    "acme-good @ file:///good": {"url": "file:///good", "dir_info": {}},
    "acme-good @ https://x.org/good.whl": {"url": "https://x.org/good.whl", "archive_info": {}},
}  # fmt: skip


@pytest.mark.parametrize("line", ORIGINS)
def test_requirements_install_plugins_again(package, line):
    folder = package("good", "raise SystemExit('imported')")
    if ORIGINS[line]:
        (facts,) = folder.glob("*.dist-info")
        (facts / "direct_url.json").write_text(json.dumps(ORIGINS[line]))
    done = vidssl("plugins", "--requirements", PYTHONPATH=folder)
    assert (done.returncode, done.stdout.splitlines()) == (0, [line])


def test_recipe_folders_are_collected(package):
    code = "from pathlib import Path\n@hookimpl\ndef vidssl_recipes(): return [Path('.')]\n"
    assert [str(f) for f in Registry(entries(package("good", code))).recipe_folders] == ["."]


def test_our_own_names_stay_ours(package):
    folder = package("rival", good("pace", "quick"))
    ours = EntryPoint("samplers", "vidssl_plugins.samplers.hooks", "vidssl")._for(
        distribution("vidssl")
    )
    registry = Registry([*entries(folder), ours])
    assert registry.offered("sampler")["pace"].__module__.startswith("vidssl_plugins.")
    assert "quick" in registry.offered("sampler")
    (info,) = registry.absent()
    assert (info.package, info.name) == ("acme-rival", "pace")
    assert "acme-rival:first and vidssl:samplers both claim" in info.reason


def test_all_other_packages_can_be_switched_off(package):
    registry = Registry(entries(package("good", good("slow"))), {"*"})
    assert [info.status for info in registry.installed()] == ["disabled"]


def test_what_a_plugin_prints_is_no_result(package, capsys):
    Registry(entries(package("good", "print('hello')\n" + good("slow"))))
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "hello\n")


@pytest.mark.parametrize("damage", [b"[vidssl]\nfirst\n", b"[vidssl]\nfirst = \xff\n"])
def test_a_damaged_package_keeps_no_other_from_being_found(package, damage):
    package("good", good("slow"))
    folder = package("damaged", "")
    (folder / "registrytest_damaged-1.dist-info" / "entry_points.txt").write_bytes(damage)
    found, unreadable = find_entries()
    assert "acme-good" in {package_of(entry) for entry in found}
    assert "cannot be read" in unreadable["acme-damaged"]
    (info,) = Registry([], broken=unreadable).absent()
    assert (info.package, info.status) == ("acme-damaged", "failed")


def test_a_package_without_metadata_is_called_by_its_folder(package):
    folder = package("nameless", "")
    (folder / "registrytest_nameless-1.dist-info" / "METADATA").unlink()
    (info,) = Registry(entries(folder)).absent()
    assert info.package == "registrytest_nameless"


def test_who_is_slow_is_told(package, monkeypatch, capsys):
    monkeypatch.setattr("vidssl_cli.contract.loading.SLOW", 0.01)
    Registry(entries(package("slow", "import time\ntime.sleep(0.5)\n" + good("slow"))))
    assert "waiting for the plugins of acme-slow" in capsys.readouterr().err


def test_an_exception_is_attributed_to_its_plugin(package, monkeypatch):
    code = good("slow") + "def fail():\n    raise ValueError('no luck')\n"
    found = Registry(entries(package("good", code)))
    monkeypatch.setattr(attribution, "registry", functools.cache(lambda: found))
    attribution.registry()
    module = importlib.import_module("registrytest_good")
    with pytest.raises(ValueError, match="no luck") as theirs, noted(lambda: "with a.mp4"):
        module.fail()
    said = str(attribution.plugin_error(theirs.value))
    assert (
        said == "acme-good: fail (registrytest_good, line 9) raised ValueError: no luck; with a.mp4"
    )
    own = PluginError(["a.yaml:1:1: bad", "a.yaml:2:1: worse"], where="acme", hint="mend it")
    own.add_note("with a.mp4")
    kept = attribution.plugin_error(own)
    assert kept.problems == ("a.yaml:1:1: bad", "a.yaml:2:1: worse; with a.mp4")
    with pytest.raises(ValueError, match="invalid literal") as other:
        int("x")
    assert attribution.plugin_error(other.value) is None


def vidssl(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "vidssl_cli", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {key: str(value) for key, value in environment.items()},
    )


def test_commands_work_beside_broken_packages(package):
    package("good", good("slow"))
    folder = package("leaves", BROKEN["leaves"][0])
    run = vidssl("plugins", "--json", PYTHONPATH=folder)
    assert run.returncode == 0
    assert run.stderr.count("acme-leaves") == 1
    rows = {(row["package"], row["name"]): row for row in json.loads(run.stdout)["plugins"]}
    assert rows["acme-good", "slow"]["status"] == "loaded"
    assert rows["acme-leaves", "first"]["status"] == "failed"
    assert rows["vidssl", "r3d"] == {
        "name": "r3d",
        "kind": "backbone",
        "package": "vidssl",
        "status": "loaded",
        "reason": None,
    }


def test_a_recipe_that_needs_a_broken_package_says_so(package, tmp_path):
    folder = package("leaves", BROKEN["leaves"][0])
    arguments = ["recipes", "check", "small/pace", "--set", "sampler.name=fastest", "--json"]
    run = vidssl(*arguments, PYTHONPATH=folder)
    assert run.returncode == PluginError.status
    assert json.loads(run.stdout)["error"]["code"] == "plugin"
    assert "--set sampler.name=fastest: sampler.name: found 'fastest'" in run.stderr
    assert "acme-leaves has failed: SystemExit: 3" in run.stderr.splitlines()[-1]
    assert vidssl(*arguments).returncode == 2
    fine = vidssl("recipes", "check", "small/pace", PYTHONPATH=folder)
    assert fine.returncode == 0


def test_a_sampler_without_views_is_refused_with_the_recipe(package):
    code = """
from vidssl_cli.contract.hooks import hookimpl
class M(SamplerOptions):
    name: Literal["viewless"]
    def build(self):
        from types import SimpleNamespace
        return SimpleNamespace(frames=16, together=1)
@hookimpl
def vidssl_samplers(): return [M]
"""
    folder = package("viewless", code)
    arguments = ["recipes", "check", "small/pace", "--set", "sampler={name: viewless}"]
    run = vidssl(*arguments, PYTHONPATH=folder)
    assert run.returncode == PluginError.status
    assert "the sampler viewless does not set views" in run.stderr


def test_vidssls_own_plugins_can_be_switched_off():
    run = vidssl("recipes", "check", "small/pace", VIDSSL_DISABLE_PLUGINS="vidssl:samplers")
    assert run.returncode == PluginError.status
    assert "no installed plugin offers a sampler" in run.stderr
