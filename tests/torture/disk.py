"""Full disks and read-only places: what was there stays, one line tells, and the command goes on.

Where the system lets one, a case has a small disk of its own, in a name space that needs no rights.
Elsewhere a limit on the size of files (EFBIG) stands for a full disk, and a file where a folder is
needed (ENOTDIR) for a place that cannot be written.
"""

from __future__ import annotations

import json
import os
import random
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from torture._media import write_media
from torture.harness import Broken, Case, Facts, Suite
from vidssl_cli.files.sealed_folder import sha256

DISK = 48 << 20
"""Bytes of the small disk."""
NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount")
COMMANDS = {
    "pretrain": "pretrain SHARED/recipe.json --data SHARED/videos.jsonl --out OUT --resume",
    "midway": "pretrain SHARED/recipe.json --data SHARED/videos.jsonl --out OUT --resume",
    "pack": "data pack SHARED/videos.jsonl --out OUT --short-side 24 --format raw",
    "index": "index SHARED/base --data SHARED/videos.jsonl --out OUT",
    "evaluate": "evaluate SHARED/base --data SHARED/videos.jsonl --out OUT",
    "scan": "data scan SHARED/videos --out OUT.jsonl",
    "gallery": "retrieve SHARED/index SHARED/videos/0.mp4 --gallery OUT.html",
}
"""What is begun on a disk that is too small; ``midway`` on one that is filled while it trains."""
KINDS = (
    *(f"full {name}" for name in COMMANDS),
    *(f"read-only {name}" for name in COMMANDS if name != "midway"),
)
READERS = ("retrieve OUT SHARED/videos/0.mp4", "retrieve OUT #1", "runs OUT --json")
TOLD = re.compile(r"at least ([\d,]+) bytes are needed, and ([\d,]+) are free")
REFUSED = ("Read-only file system", "Not a directory")


def prepare(shared: Path) -> None:
    """Make videos, a recipe, a run and an index, and note what every command makes in peace."""
    write_media(shared)
    _vidssl(shared, shared / "base", COMMANDS["pretrain"])
    _vidssl(shared, shared / "index", COMMANDS["index"])
    made = {}
    for name, command in COMMANDS.items():
        place = shared / "peace" / name
        place.parent.mkdir(exist_ok=True)
        status, told = _vidssl(shared, place, command)
        if status:
            raise RuntimeError(told)
        made[name] = _result(place)
        shutil.rmtree(place, ignore_errors=True)
    (shared / "peace.json").write_text(json.dumps(made))


def run(case: Case) -> Facts:
    """Carry out a case in a process of its own, with a small disk if there can be one."""
    kind = KINDS[case.number % len(KINDS)]
    small = _can_mount()
    asked = [kind, str(case.shared), str(case.folder), str(case.random.getrandbits(32)), str(small)]
    command = [*(NAMESPACE if small else ()), sys.executable, "-m", "torture.disk", *asked]
    place = os.pathsep.join(path for path in sys.path if path)
    environment = os.environ | {"PYTHONPATH": place}
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment)
    if done.returncode:
        raise Broken(f"{kind}: {done.stderr or done.stdout}")
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {"kind": kind, "disk": small, **facts}


def summary(facts: Sequence[Facts]) -> str:
    """Say what was tried, and how."""
    disks = sum(fact["disk"] for fact in facts)
    full = sum(fact["kind"].startswith("full") for fact in facts)
    return (
        f"{full} disks that were full, {len(facts) - full} places that could not be written; "
        f"{disks} on a disk of their own, {len(facts) - disks} by limits."
    )


@cache
def _can_mount() -> bool:
    """Tell whether this process may have a disk of its own."""
    if not shutil.which("unshare"):
        return False
    command = [*NAMESPACE, "mount", "-t", "tmpfs", "none", "/tmp"]
    return subprocess.run(command, capture_output=True).returncode == 0


class Disk:
    """A place that can be filled, emptied, and made read-only."""

    def __init__(self, place: Path, mounted: bool) -> None:
        self.place = place
        self.mounted = mounted
        self._ballast = place / "ballast"
        self._limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        place.mkdir()
        if mounted:
            _mount("-t", "tmpfs", "-o", f"size={DISK}", "none", str(place))

    def fill(self, leave: int) -> None:
        """Leave so many bytes."""
        if not self.mounted:
            resource.setrlimit(resource.RLIMIT_FSIZE, (leave, self._limits[1]))
            return
        with self._ballast.open("wb", buffering=0) as file:
            os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(self.place).free - leave)

    def make_room(self) -> None:
        """Undo `fill`."""
        resource.setrlimit(resource.RLIMIT_FSIZE, self._limits)
        self._ballast.unlink(missing_ok=True)

    def forbid(self) -> Path:
        """Return a folder that cannot be written."""
        if self.mounted:
            _mount("-o", "remount,ro", str(self.place))
            return self.place
        (self.place / "file").touch()
        return self.place / "file"


def _mount(*options: str) -> None:
    subprocess.run(["mount", *options], check=True)


def _full(name: str, shared: Path, disk: Disk, draws: random.Random) -> Facts:
    """Carry out a command without enough room, look at what is left, make room, go on."""
    out, command = disk.place / "out", COMMANDS[name]
    made = json.loads((shared / "peace.json").read_text())[name]
    if name == "midway":
        _fill_midway(disk, out / "checkpoints" / "last")
    else:
        # What is left is too little for the largest file, which is where limits bite as well.
        disk.fill(draws.randrange(1, made["largest"]) // 4096 * 4096)
    status, told = _vidssl(shared, out, command)
    free = shutil.disk_usage(disk.place).free
    if status != 1:
        raise Broken(f"exit status {status}, not 1: {told}")
    needed = _one_line(told, disk.place)
    if not disk.mounted and needed == 0:
        raise Broken(f"nothing said how much is needed: {told}")
    disk.make_room()
    if name == "midway":
        from vidssl_cli.files.sealed_folder import verify

        verify((out / "checkpoints" / "last").resolve())
    if litter := [str(path) for path in disk.place.rglob(".tmp-*")]:
        raise Broken(f"left behind: {litter}")
    status, told = _vidssl(shared, out, command)
    if status:
        raise Broken(f"after making room: status {status}, {told}")
    if _result(out)["digests"] != made["digests"]:
        raise Broken("after making room it made something else than in peace")
    return {"needed": needed, "free": free}


def _fill_midway(disk: Disk, last: Path) -> None:
    """Fill the disk as soon as the first checkpoint is about to be seen."""
    waiting = [last]

    def notice(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "os.rename" and waiting and Path(arguments[1]) == last:
            waiting.clear()
            disk.fill(4096)

    sys.addaudithook(notice)


def _read_only(name: str, shared: Path, disk: Disk) -> Facts:
    """Carry out a command that cannot write, then whatever only reads."""
    shutil.copytree(shared / "index", disk.place / "index", symlinks=True)
    shutil.copytree(shared / "base", disk.place / "run", symlinks=True)
    place = disk.forbid()
    status, told = _vidssl(shared, place / "out", COMMANDS[name])
    errors = [line for line in told.splitlines() if line.startswith("error: ")]
    named = str(place / "out") in told and any(words in told for words in REFUSED)
    if status != 1 or len(errors) != 1 or not named or "Traceback" in told:
        raise Broken(f"exit status {status}: {told}")
    for reader in READERS:
        source = disk.place / ("run" if reader.startswith("runs") else "index")
        status, told = _vidssl(shared, source, reader)
        if status:
            raise Broken(f"{reader}: {told}")
    if disk.mounted:
        report = "evaluate OUT --data SHARED/videos.jsonl --out " + str(
            disk.place.parent / "report"
        )
        status, told = _vidssl(shared, disk.place / "run", report)
        if status or told.count("warning: ") != 1:
            raise Broken(f"a run on a read-only disk cannot be evaluated: {told}")
    return {"readers": len(READERS)}


def _one_line(told: str, place: Path) -> int:
    """Return the bytes that one line says are needed."""
    errors = [line for line in told.splitlines() if line.startswith("error: ")]
    found = TOLD.search(errors[0]) if len(errors) == 1 else None
    if found is None or str(place) not in errors[0] or "Traceback" in told:
        raise Broken(f"not one line with a path, the bytes needed and those free: {told}")
    return int(found[1].replace(",", ""))


def _result(out: Path) -> dict[str, Any]:
    """Return what a command made: digests of what does not depend on time, and its largest file."""
    names = ("last/model.safetensors", "clip.npy", "part-*.bin")
    digests = [sha256(path) for name in names for path in sorted(out.rglob(name))]
    files = [path for path in out.parent.rglob(f"{out.name}*") if path.is_file()]
    files += [path for path in out.rglob("*") if path.is_file()]
    return {"digests": digests, "largest": max(path.stat().st_size for path in files)}


def _vidssl(shared: Path, out: Path, command: str) -> tuple[int, str]:
    """Carry out a command in this process; return its exit status and what it said on stderr."""
    from vidssl_cli.cli import app
    from vidssl_cli.cli.failures import run

    words = command.replace("SHARED", str(shared)).replace("OUT", str(out)).split()
    with _listening() as heard:
        status = run(app, words)
    return status, heard[0]


@contextmanager
def _listening() -> Iterator[list[str]]:
    """Receive what is said on stderr; throw away what goes to stdout."""
    heard: list[str] = []
    kept = [(number, os.dup(number)) for number in (1, 2)]
    reader, writer = os.pipe()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(writer, 2)
    os.close(nowhere)
    os.close(writer)
    try:
        yield heard
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, copy in kept:
            os.dup2(copy, number)
            os.close(copy)
        with os.fdopen(reader, encoding="utf-8", errors="replace") as pipe:
            heard.append(pipe.read())


def main(kind: str, shared: str, folder: str, seed: str, small: str) -> None:
    """Carry out a case; print its facts."""
    disk = Disk(Path(folder) / "disk", small == "True")
    manner, name = kind.split()
    if manner == "full":
        facts = _full(name, Path(shared), disk, random.Random(int(seed)))
    else:
        facts = _read_only(name, Path(shared), disk)
    print(json.dumps(facts))


SUITE = Suite(
    "on a full disk and in read-only places the old state stays, one line tells path and bytes, "
    "and after making room the command goes on to the same result",
    2 * len(KINDS),
    (1, 2),
    run,
    prepare,
    summary,
    limit=300,
)

if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Broken as broken:
        sys.exit(str(broken))
