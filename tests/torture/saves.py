"""SIGKILL inside a save of a checkpoint: whatever was acknowledged is there, whole, and alone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from torture._commands import die_before, forks
from torture.harness import Broken, Case, Facts, Suite
from vidssl_cli.files.sealed_folder import verify

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

BEST = 3
"""Every third checkpoint is the best so far."""
OPERATIONS = 120
"""What a process does to files in three or four saves, about."""
WIDTH = 512
"""Of the network, which makes a checkpoint 3 MB large."""


def run(case: Case) -> Facts:
    """Let a process save a network again and again, kill it inside a save, look, and go on."""
    tries = 0
    killed: int | None = None
    while killed is None:
        tries += 1
        by_operation = case.random.random() < 0.5
        place = case.folder / str(tries)
        killed = _kill_by_operation(case, place) if by_operation else _kill_by_time(case, place)
    last = _look(place, killed - 1)
    _save(place, last + 2)
    _look(place, last + 2)
    if litter := [path.name for path in place.glob(".*")]:
        raise Broken(f"after the next start there still is {', '.join(litter)}")
    return {"kind": "operation" if by_operation else "time", "saves": killed}


def _kill_by_operation(case: Case, place: Path) -> int:
    """Have the process kill itself before one of its changes to files, which only saves make."""
    told = _save(place, OPERATIONS, operations=case.random.randrange(OPERATIONS))
    return told[-1][1]


def _kill_by_time(case: Case, place: Path) -> int | None:
    """Kill the process some time after it has begun a save; None if it had ended that save."""
    moment = case.random.random()
    chosen = case.random.randint(2, 5)
    receiver, sender = forks.Pipe(duplex=False)
    process = forks.Process(target=_keep_saving, args=(place, sender, 100, None), daemon=True)
    process.start()
    sender.close()
    began = 0.0
    duration = 0.0
    while (told := receiver.recv()) != ("begun", chosen):
        if told[0] == "begun":
            began = time.monotonic()
        else:
            duration = time.monotonic() - began
    time.sleep(moment * duration)
    process.kill()
    process.join()
    return None if receiver.poll() and _all(receiver) else chosen


def _save(place: Path, last: int, operations: int | None = None) -> list[tuple[str, int]]:
    """Let a process save up to the checkpoint of that number; return what it told."""
    receiver, sender = forks.Pipe(duplex=False)
    process = forks.Process(
        target=_keep_saving, args=(place, sender, last, operations), daemon=True
    )
    process.start()
    sender.close()
    told = _all(receiver)
    process.join()
    if operations is None and process.exitcode:
        raise Broken(f"the next start ended with {process.exitcode}")
    return told


def _all(receiver: Connection) -> list[tuple[str, int]]:
    told = []
    try:
        while True:
            told.append(receiver.recv())
    except EOFError:
        return told


def _look(place: Path, acknowledged: int) -> int:
    """Check all checkpoints that can be seen, and return the number of the last."""
    from vidssl_cli.training.checkpoint import restore

    for folder in place.glob("epoch-*"):
        verify(folder)
    link = place / "last"
    if not link.exists():
        if acknowledged:
            raise Broken(f"checkpoint {acknowledged} was acknowledged, and there is none")
        return 0
    network, optimizer = _network()
    progress = restore(link.resolve(), network, optimizer)
    if progress.step < acknowledged:
        raise Broken(f"checkpoint {acknowledged} was acknowledged, the last is {progress.step}")
    kept = [*network.state_dict().values(), *optimizer.state[network.weight].values()]
    if found := {float(value) for tensor in kept for value in tensor.unique()} - {progress.step}:
        raise Broken(f"checkpoint {progress.step} has numbers of others: {found}")
    best = place / "best"
    if acknowledged >= BEST and not best.exists():
        raise Broken(f"{best} was acknowledged, and is not there")
    return progress.step


def _keep_saving(place: Path, sender: Connection, last: int, operations: int | None) -> None:
    """Go on from the last checkpoint as training does, up to a number, and tell of every save."""
    import torch

    from vidssl_cli.training.checkpoint import restore, save, tidy
    from vidssl_cli.training.run_progress import Progress

    network, optimizer = _network()
    progress = Progress()
    if (place / "last").exists():
        progress = restore((place / "last").resolve(), network, optimizer)
    tidy(place, progress)
    best = progress.step - progress.step % BEST
    if best and (place / "best").resolve().name != f"epoch-0000-step-{best:08d}":
        raise Broken(f"the best is {best}, not {(place / 'best').resolve().name}")
    if operations is not None:
        die_before(operations, place)
    while progress.step < last:
        progress.step += 1
        with torch.no_grad():
            tensors = [network.weight, *optimizer.state[network.weight].values()]
            for tensor in tensors:
                tensor.fill_(progress.step)
        sender.send(("begun", progress.step))
        save(place, network, optimizer, progress, best=progress.step % BEST == 0)
        sender.send(("saved", progress.step))


def _network() -> tuple[nn.Linear, Optimizer]:
    """Return a network of one layer, and its optimizer after a step."""
    import torch

    network = torch.nn.Linear(WIDTH, WIDTH, bias=False)
    optimizer = torch.optim.AdamW(network.parameters())
    network.weight.grad = torch.zeros_like(network.weight)
    optimizer.step()
    return network, optimizer


def _summary(facts: Sequence[Facts]) -> str:
    by_time = sum(each["kind"] == "time" for each in facts)
    return f"{len(facts)} kills inside a save, {by_time} of them by the clock."


SUITE = Suite(
    promise="of checkpoints that were acknowledged none is lost, none that is seen is damaged, "
    "and nothing else is left",
    cases=200,
    share=(0,),
    run=run,
    summary=_summary,
)
