"""Broken packages of other people: every command works beside them, and each is named.

The first cases carry out every command of vidssl beside one broken package each; the next ones look
at what is said of it; the last ones train with a plugin that fails half-way.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torture.harness import Broken, Case, Facts, Suite

HOOKS = """
from pathlib import Path
from typing import Literal
from vidssl_cli.contract.hooks import *

class Mine(SamplerOptions):
    name: Literal["mine"]

"""


def offers(what: str) -> str:
    """Return a module whose hook for samplers ends with a statement."""
    return f"{HOOKS}\n@hookimpl\ndef vidssl_samplers():\n    {what}\n"


@dataclass(frozen=True)
class Kind:
    """A way to be broken."""

    module: str
    reason: str
    """What `vidssl plugins` says of it."""
    entry_points: bytes = b"[vidssl]\nfirst = acme_broken\n"
    metadata: bytes = b"Metadata-Version: 2.1\nName: acme-broken\nVersion: 1\n"
    deadly: bool = False
    """No process survives it, so that it must be switched off."""


DUPLICATE = offers("return [Mine]").replace('"mine"', '"pace"')
UNSAFE = offers("return [Mine]").replace('"mine"', '"<b>mine</b>\\x1b[31m"')
UNFINISHED = offers("return [Mine]").replace('"mine"]', '"mine"]\n    of: "NotThere" = None')
KINDS = {
    "import": Kind("import not_there", "No module named 'not_there'"),
    "syntax": Kind("def", "SyntaxError"),
    "attribute": Kind("", "AttributeError", b"[vidssl]\nfirst = acme_broken:missing\n"),
    "exit": Kind("raise SystemExit(3)", "SystemExit: 3"),
    "arguments": Kind(offers("return []").replace("rs()", "rs(video)"), "Argument(s) {'video'}"),
    "raises": Kind(offers("raise RuntimeError('no luck')"), "RuntimeError: no luck"),
    "nothing": Kind(offers("pass"), "returns None"),
    "rubbish": Kind(offers("return [dict, 3]"), "which is no SamplerOptions"),
    "unnamed": Kind(offers("return [SamplerOptions]"), "narrow its name"),
    "unsafe name": Kind(UNSAFE, "a name is made of letters"),
    "unfinished": Kind(UNFINISHED, "name 'NotThere' is not defined"),
    "duplicate": Kind(DUPLICATE, "both claim this name"),
    "no folder": Kind(
        f"{HOOKS}\n@hookimpl\ndef vidssl_recipes():\n    return [Path('nowhere')]\n", "no folder"
    ),
    "talkative": Kind(f"print('hello')\n{offers('raise ValueError(1)')}", "ValueError: 1"),
    "no list": Kind("", "cannot be read", b"[vidssl]\nfirst\n"),
    "no text": Kind("", "cannot be read", b"[vidssl]\nfirst = \xff\xfe\n"),
    "no metadata": Kind("import not_there", "No module named", metadata=b""),
    "ends": Kind("import os\nos._exit(0)", "ends the process", deadly=True),
    "crashes": Kind("import os\nos.kill(os.getpid(), 11)", "by SIGSEGV", deadly=True),
    "hangs": Kind("import time\ntime.sleep(3600)", "had not loaded", deadly=True),
}

RECIPE = """
input: {resize: [24, 32], crop: 16}
backbone: {name: r3d, depth: 10, width: 4}
sampler: {name: pace, views: 2, frames: 8, paces: [1, 2]}
pretext: {name: pace}
evaluation: {clips: 2}
train: {epochs: 6, batch_videos: 4, precision: fp32, optimizer: {name: sgd, lr: 0.01}}
"""
FINETUNE = """
task: finetune
sampler: {name: uniform, frames: 8}
evaluation: {clips: 2}
train: {epochs: 1, batch_videos: 4, precision: fp32, optimizer: {name: sgd, lr: 0.01}}
"""
TINY = [
    f"--set={line}"
    for line in (
        "train.epochs=1", "train.batch_videos=4", "backbone.depth=10", "backbone.width=4",
        "train.precision=fp32", "train.repeats=1",
    )
]  # fmt: skip
COMMANDS = {
    "plugins": [],
    "doctor": [],
    "recipes list": [],
    "recipes show": ["small/pace"],
    "recipes check": ["small/pace", "recipe.yaml"],
    "recipes schema": [],
    "published": [],
    "data synth": ["--out", "synth", "--per-class-train=1", "--per-class-test=1"],
    "data scan": ["synth", "--out", "scanned.jsonl"],
    "data check": ["recipe.yaml", "--data", "synth"],
    "data preview": ["recipe.yaml", "--data", "synth", "--out", "preview.html"],
    "data pack": ["synth", "--out", "packed"],
    "data scores": ["synth", "--out", "scores.jsonl"],
    "pretrain": ["recipe.yaml", "--data", "synth", "--out", "run"],
    "finetune": ["finetune.yaml", "--from", "run", "--data", "synth", "--out", "tuned"],
    "import": ["export.safetensors", "--backbone", "r3d", "--set=depth=10", "--set=width=4",
               "--out", "imported"],
    "evaluate": ["run", "--data", "synth", "--evaluator", "retrieval"],
    "index": ["run", "--data", "synth", "--out", "index"],
    "retrieve": ["index", "QUERY"],
    "map": ["index", "--out", "map.html"],
    "visualize": ["run", "QUERY", "--out", "pictures"],
    "runs": ["."],
    "report": ["run", "--out", "report.html"],
    "sweep": ["recipe.yaml", "--data", "synth", "--out", "swept", "--print"],
    "demo": ["--out", "demo", "--per-class-train=2", "--per-class-test=1", *TINY],
}  # fmt: skip
"""What to carry out of each command, in an order in which each finds what it needs."""

ALL = """
import json, sys
from io import StringIO
from contextlib import redirect_stdout
from pathlib import Path
from typer.main import get_command
from vidssl_cli.cli import app
from vidssl_cli.cli.failures import run

def words(command, before=()):
    for name, inner in getattr(command, "commands", {}).items():
        yield from words(inner, (*before, name))
    if not hasattr(command, "commands"):
        yield " ".join(before)

commands = json.loads(sys.argv[1])
outcomes = {name: "is not tried" for name in {*words(get_command(app))} - {*commands}}
for name, arguments in commands.items():
    if name == "import":
        from safetensors.torch import load_file, save_file
        tensors = load_file("run/checkpoints/last/model.safetensors")
        kept = {k.removeprefix("backbone."): v for k, v in tensors.items() if "backbone." in k}
        save_file(kept, "export.safetensors")
    if "QUERY" in arguments:
        query = str(next(Path("synth").rglob("*.mp4")))
        arguments = [query if word == "QUERY" else word for word in arguments]
    out = StringIO()
    with redirect_stdout(out):
        json_too = ["--json"] if name not in {"map", "visualize"} else []
        status = run(app, [*name.split(), *arguments, *json_too])
    try:
        told = bool(json.loads(out.getvalue())) if json_too else True
    except ValueError:
        told = False
    if status or not told:
        outcomes[name] = f"status {status}: {out.getvalue()[:300]}"
print("OUTCOMES " + json.dumps(outcomes))
"""

FRAIL = """
from typing import Literal
from vidssl_cli.contract.clips import Sampler
from vidssl_cli.contract.hooks import *

class Frail(SamplerOptions):
    name: Literal["frail"]
    def labels(self): return {"pace": 2}
    def build(self):
        from vidssl_plugins.samplers.hooks import Pace
        inner = Pace(name="pace", views=2, frames=8, paces=(1, 2)).build()
        class FrailSampler(Sampler):
            views, frames = inner.views, inner.frames
            def plan(self, video, draw):
                if draw.epoch == 4:
                    WHAT
                return inner.plan(video, draw)
        return FrailSampler()

class Brittle(PretextOptions):
    name: Literal["brittle"]
    def build(self, context):
        from torch import nn
        class BrittleHead(nn.Module):
            def __init__(self):
                super().__init__()
                self.calls = 0
                self.head = nn.Linear(context.feature_dim, 1)
            def forward(self, features, batch):
                self.calls += 1
                if self.calls > 4:
                    WHAT
                return {"loss": self.head(features["feat"]).square().mean()}, {}
        return BrittleHead()

class Crumbly(BackboneOptions):
    name: Literal["crumbly"]
    def build(self):
        from torch import nn
        from vidssl_plugins.backbones.hooks import R3D
        class CrumblyNetwork(nn.Module):
            def __init__(self):
                super().__init__()
                self.inner = R3D(name="r3d", depth=10, width=4).build()
                self.taps, self.feature_dim = self.inner.taps, self.inner.feature_dim
                self.calls = 0
            def forward(self, clips):
                self.calls += 1
                if self.calls > 4:
                    WHAT
                return self.inner(clips)
        return CrumblyNetwork()

@hookimpl
def vidssl_samplers(): return [Frail]
@hookimpl
def vidssl_pretexts(): return [Brittle]
@hookimpl
def vidssl_backbones(): return [Crumbly]
"""
WHAT = ("raise ValueError('no luck')", "raise SystemExit(0)", "return 3")
PARTS = {
    "sampler": "--set=sampler={name: frail}",
    "pretext": "--set=pretext={name: brittle}",
    "backbone": "--set=backbone={name: crumbly}",
}


def run(case: Case) -> Facts:
    """Try one thing with one kind of package."""
    (case.folder / "recipe.yaml").write_text(RECIPE)
    (case.folder / "finetune.yaml").write_text(FINETUNE)
    turn, number = divmod(case.number, len(KINDS))
    if turn > 1:
        return fails_in_training(case.folder, number)
    name, kind = list(KINDS.items())[number]
    install(case.folder, kind)
    return (everything, tells)[turn](case.folder, name, kind)


def install(folder: Path, kind: Kind) -> None:
    """Make a package as if pip had installed it."""
    facts = folder / "site" / "acme_broken-1.dist-info"
    facts.mkdir(parents=True)
    (folder / "site" / "acme_broken.py").write_text(kind.module)
    (facts / "entry_points.txt").write_bytes(kind.entry_points)
    if kind.metadata:
        (facts / "METADATA").write_bytes(kind.metadata)


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder, beside the package there."""
    path = os.pathsep.join([os.environ.get("PYTHONPATH", ""), str(folder / "site")])
    switches = {"PYDANTIC_DISABLE_PLUGINS": "__all__", "TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}
    environment = os.environ | {"PYTHONPATH": path, "COLUMNS": "200", **switches}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )


def vidssl(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command beside the package."""
    return python(folder, "-m", "vidssl_cli", *arguments)


def everything(folder: Path, name: str, kind: Kind) -> Facts:
    """Carry out every command that there is."""
    if kind.deadly:
        os.environ["VIDSSL_DISABLE_PLUGINS"] = "acme-broken"
    try:
        done = python(folder, "-c", ALL, json.dumps(COMMANDS))
    finally:
        os.environ.pop("VIDSSL_DISABLE_PLUGINS", None)
    last = (done.stdout.splitlines() or [""])[-1]
    if not last.startswith("OUTCOMES "):
        raise Broken(f"ended with status {done.returncode}: {done.stderr[-2000:]}")
    if outcomes := json.loads(last.removeprefix("OUTCOMES ")):
        raise Broken(f"{outcomes}\n{done.stderr[-2000:]}")
    return {"kind": name, "commands": len(COMMANDS)}


def tells(folder: Path, name: str, kind: Kind) -> Facts:
    """See that it is named where it should be, and how to be rid of it."""
    listed = vidssl(folder, "plugins", "--json")
    rows = json.loads(listed.stdout)["plugins"]
    found = [row for row in rows if row["package"].replace("_", "-") == "acme-broken"]
    if not any(row["status"] == "failed" and kind.reason in row["reason"] for row in found):
        raise Broken(f"`vidssl plugins` says {found}, not {kind.reason!r}")
    if "\x1b" in listed.stdout or any("\n" in row["reason"] for row in found):
        raise Broken(f"what it says is not one line of text: {found}")

    needing = ["recipes", "check", "small/pace", "--set", "sampler.name=mine", "--json"]
    rescued = vidssl(folder, *needing, "--no-plugins")
    if rescued.returncode != 3 or "acme" in rescued.stderr.split("\n")[0]:
        raise Broken(f"--no-plugins: status {rescued.returncode}: {rescued.stderr}")
    if kind.deadly:
        return {"kind": name}
    refused = vidssl(folder, *needing)
    warnings = [line for line in refused.stderr.splitlines() if line.startswith("warning: ")]
    if len(warnings) != 1 or "acme" not in warnings[0]:
        raise Broken(f"warnings are {warnings}, not one about the package")
    error = json.loads(refused.stdout)["error"]
    if (refused.returncode, error["code"]) != (3, "plugin") or kind.reason not in refused.stderr:
        raise Broken(f"a recipe that needs it: {refused.returncode}, {error}, {refused.stderr}")
    return {"kind": name}


def fails_in_training(folder: Path, number: int) -> Facts:
    """Train with a plugin that fails after some epochs, later than clips are prepared ahead."""
    part, override = list(PARTS.items())[number % len(PARTS)]
    what = WHAT[number // len(PARTS) % len(WHAT)]
    install(folder, Kind(FRAIL.replace("WHAT", what), ""))
    synth = ["data", "synth", "--out", "synth", "--per-class-train=1", "--per-class-test=0"]
    vidssl(folder, *synth)
    done = vidssl(
        folder, "pretrain", "recipe.yaml", "--data", "synth", "--out", "run", override, "--json"
    )
    if done.returncode != 3:
        raise Broken(f"status {done.returncode}: {done.stderr}")
    message = json.loads(done.stdout)["error"]["message"]
    state = json.loads((folder / "run" / "run.json").read_text())
    if state["state"] != "failed" or state["reason"] != message:
        raise Broken(f"run.json says {state}, the command {message!r}")
    if "acme-broken" not in message and f"the {part} " not in message:
        raise Broken(f"the {part} is not named: {message}")
    if ".mp4" not in message:
        raise Broken(f"no video is named: {message}")
    if not (folder / "run" / "checkpoints" / "last" / "manifest.json").is_file():
        raise Broken("the checkpoint is gone")
    return {"kind": f"{part}: {what}"}


def summary(facts: Sequence[Facts]) -> str:
    """Tell what was tried."""
    beside = [found["commands"] for found in facts if "commands" in found]
    commands = max(beside, default=0)
    return f"{len(KINDS)} kinds; {commands} commands beside each of {len(beside)} packages."


SUITE = Suite(
    "beside a broken package every command works; it is named with its reason, and whatever needs "
    "it exits with 3",
    cases=2 * len(KINDS) + len(PARTS) * len(WHAT),
    share=(len(KINDS) + 4,),
    run=run,
    summary=summary,
    limit=900,
)
