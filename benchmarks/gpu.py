"""What a GPU gives: training and search next to what the card itself can do, in one run.

    python benchmarks/gpu.py [--device cuda] [--data DATA] [--out benchmarks/results]

1. Matrix products of the card, in TFLOP/s: what training is measured against.
2. Training of R3D-18 and R(2+1)D-18 on random clips, in float32 and bf16, with torch.compile and
   without: clips a second, TFLOP/s, and the share of the card's matrix products that is.
3. With --data: `benchmarks/end_to_end.py default`, the share of time that training waits for clips.
4. Exact search of random vectors: this machine's CPU, torch on the GPU, and FAISS on the GPU where
   faiss-gpu is installed; their answers are compared.

The results go into a file named after the card. `make gpu` runs the tests of a GPU before it.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from vidssl_cli.model.devices import choose_device, place
from vidssl_cli.search import engines, factories
from vidssl_cli.search.approximate import faiss_engine
from vidssl_cli.search.columns import Column
from vidssl_cli.search.exact import exact_engine, inverse_lengths
from vidssl_plugins.backbones.hooks import R3D, R2Plus1D

BACKBONES = {"R3D-18": R3D(name="r3d", depth=18), "R(2+1)D-18": R2Plus1D(name="r2plus1d", depth=18)}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def seconds(step: Callable[[], object], device: torch.device, rounds: int) -> float:
    """Return the seconds of a step, the least of some rounds after two that warm up."""
    taken = []
    for _ in range(rounds + 2):
        _wait(device)
        begun = time.perf_counter()
        step()
        _wait(device)
        taken.append(time.perf_counter() - begun)
    return min(taken[2:])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def products(device: torch.device, size: int, rounds: int) -> dict[str, float]:
    """Return TFLOP/s of square matrix products in each precision."""
    found = {}
    for name, dtype in DTYPES.items():
        a, b = torch.randn(2, size, size, device=device, dtype=dtype)
        found[name] = 2 * size**3 / seconds(lambda a=a, b=b: a @ b, device, rounds) / 1e12  # type: ignore[misc]
    return found


def training(
    device: torch.device, clips: int, frames: int, side: int, rounds: int, compiled: bool
) -> Iterator[tuple[str, str, bool, float, float]]:
    """Yield network, precision, whether it is compiled, clips and FLOP a second of training."""
    batch = torch.randn(clips, 3, frames, side, side, device=device)
    batch = batch.to(memory_format=torch.channels_last_3d)
    for name, options in BACKBONES.items():
        for precision, dtype in DTYPES.items():
            for compiles in (False, True)[: 1 + compiled]:
                torch.manual_seed(0)
                network = nn.ModuleDict({"backbone": options.build()})  # type: ignore[dict-item]
                place(network, device)
                optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
                backbone = network["backbone"]

                def step(backbone=backbone, optimizer=optimizer, dtype=dtype) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
                    with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                        features = backbone(batch)["feat"]
                    features.float().square().mean().backward()
                    optimizer.step()
                    optimizer.zero_grad(set_to_none=True)

                with FlopCounterMode(display=False) as counter:
                    step()
                if compiles:
                    backbone.compile()
                taken = seconds(step, device, rounds)
                yield name, precision, compiles, clips / taken, counter.get_total_flops() / taken


def searches(
    device: torch.device, size: int, dimension: int, rounds: int
) -> Iterator[tuple[str, int, float, float]]:
    """Yield engine, queries, milliseconds, and the share of neighbours that the CPU finds too."""
    generator = np.random.default_rng(0)
    vectors = generator.standard_normal((size, dimension), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    column, none = Column([vectors]), np.empty(0, np.int64)
    scaling = np.stack([np.zeros(dimension), np.ones(dimension)])
    inverse = inverse_lengths(column, scaling)
    found = {"CPU": exact_engine(column, scaling, inverse, none)}
    if device.type == "cuda":
        found["torch"] = engines.torch_engine(vectors, str(device))
    faiss = engines.load_faiss()
    if faiss is not None and device.type == "cuda" and engines.has_gpu(faiss):
        index = factories.build_faiss(factories.UnitVectors(column, scaling), "Flat")
        found["FAISS Flat"] = faiss_engine(index, str(device))
    for queries in (1, 100, 1000):
        asked = vectors[:queries]
        expected = found["CPU"](asked, 10)
        for name, engine in found.items():
            answer = engine(asked, 10)
            same = [len(np.intersect1d(a, b)) / 10 for a, b in zip(answer, expected, strict=True)]
            taken = seconds(lambda engine=engine, asked=asked: engine(asked, 10), device, rounds)  # type: ignore[misc]
            yield name, queries, 1e3 * taken, float(np.mean(same))


def waiting(data: str, device: torch.device) -> dict[str, object]:
    """Return what `benchmarks/end_to_end.py` says of the default recipe."""
    script = Path(__file__).with_name("end_to_end.py")
    command = [sys.executable, str(script), "default", "--data", data, "--device", str(device)]
    found: dict[str, object] = json.loads(subprocess.check_output([*command, "--json"]))
    return found


def card(device: torch.device) -> str:
    """Return the name of the device."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return platform.processor() or platform.machine()


def report(chosen: argparse.Namespace, device: torch.device) -> Iterator[str]:
    """Yield the lines of the results."""
    faiss = engines.load_faiss()
    yield f"# {card(device)}"
    yield ""
    yield (
        f"`benchmarks/gpu.py` with torch {torch.__version__}, CUDA {torch.version.cuda}, FAISS "
        f"{faiss and faiss.__version__}, Python {platform.python_version()}, {platform.system()}."
    )
    yield "\n## Matrix products\n"
    rates = products(device, chosen.matrix, chosen.rounds)
    for name, rate in rates.items():
        yield f"- {name}: {rate:.1f} TFLOP/s, {chosen.matrix} x {chosen.matrix}"
    yield f"\n## Training, {chosen.clips} clips of 3x{chosen.frames}x{chosen.side}x{chosen.side}\n"
    yield "| network | precision | compiled | clips/s | TFLOP/s | of matrix products |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for name, precision, compiles, clips, flops in training(
        device, chosen.clips, chosen.frames, chosen.side, chosen.rounds, chosen.compile
    ):
        share = flops / 1e12 / rates[precision]
        yield (
            f"| {name} | {precision} | {'yes' if compiles else 'no'} | {clips:.1f} "
            f"| {flops / 1e12:.2f} | {share:.0%} |"
        )
    if chosen.data:
        yield "\n## Waiting for clips, recipe `default`\n"
        for key, value in waiting(chosen.data, device).items():
            yield f"- {key}: {value}"
    yield f"\n## Exact search, {chosen.vectors:,} x {chosen.dimension}\n"
    yield "| queries | engine | milliseconds | neighbours as on the CPU |"
    yield "| --- | --- | --- | --- |"
    for name, queries, taken, same in searches(
        device, chosen.vectors, chosen.dimension, chosen.rounds
    ):
        yield f"| {queries} | {name} | {taken:.2f} | {same:.1%} |"


def main() -> None:
    """Measure, print, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--data", help="any DATA of vidssl; without it waiting is not measured")
    parser.add_argument("--out", type=Path, help="folder for the file of results")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--matrix", type=int, default=8192, help="side of the matrices")
    parser.add_argument("--clips", type=int, default=32)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--side", type=int, default=112)
    parser.add_argument("--vectors", type=int, default=1_000_000)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    chosen = parser.parse_args()
    device = choose_device(chosen.device)
    lines = []
    for line in report(chosen, device):
        print(line, flush=True)
        lines.append(line)
    if chosen.out:
        name = re.sub(r"\W+", "-", card(device).lower()).strip("-")
        (chosen.out / f"gpu-{name}.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
