"""Checks this machine and the installation; each check says how to fix what is missing."""

from __future__ import annotations

import importlib
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from types import ModuleType
from typing import Literal

from vidssl_cli.base.cores import usable_cores
from vidssl_cli.contract.loading import BASES
from vidssl_cli.contract.registry import registry
from vidssl_cli.model.hardware import cpu_flags
from vidssl_cli.search.faiss_library import cuda_libraries, import_faiss, packages

ESSENTIAL = ("torch", "numpy", "av", "safetensors")
"""Modules that every run needs."""

EXTRAS = {
    "cpu": "FAISS on the CPU: approximate indexes",
    "gpu": "FAISS on NVIDIA GPUs",
    "docs": "MkDocs: these pages as a site, by make docs",
    "export": "onnx, onnxscript and onnxruntime: vidssl export --to onnx",
    "flow": "OpenCV: optical flow",
    "hub": "huggingface_hub: public weights by vidssl import --hub",
    "mlflow": "MLflow: the logger mlflow",
    "parquet": "pyarrow: features as Parquet",
    "probe": "scikit-learn: the linear probe",
    "nvdec": "torchcodec: --decoder nvdec, on NVIDIA GPUs",
    "ray": "Ray: --engine ray, which spreads work over many machines",
    "serve": "starlette and uvicorn: the search page",
    "tensorboard": "TensorBoard event files beside metrics.jsonl",
    "wandb": "Weights & Biases: the logger wandb",
}
"""What the extras of pyproject.toml add, except ``dev``."""

_ROUNDING = {"fp32": 5e-3, "bf16": 5e-2}
"""How far a convolution may be off; TF32 and bf16 round."""
_AGREEMENT = 0.95
"""Share of neighbours that FAISS finds on a GPU as on the CPU, at least: rounding swaps some."""
_GPU_FIX = "install a build of torch for this GPU and its driver: https://pytorch.org/get-started"

LITTLE_SPACE = 2 * 10**9
"""Free bytes on a disk below which a run may fail."""


@dataclass(frozen=True)
class Check:
    """The result of one check."""

    name: str
    found: str
    status: Literal["ok", "note", "problem", "fatal"] = "ok"
    """Note: something optional is missing. Fatal: vidssl cannot work."""
    fix: str | None = None
    """What to do about it, in one line."""


def examine() -> Iterator[Check]:
    """Yield the results, essentials first."""
    yield Check("vidssl", version("vidssl"))
    yield Check("python", f"{platform.python_version()} on {platform.platform(terse=True)}")
    for name in ESSENTIAL:
        yield _module(name)
    yield _processor()
    yield _gpu()
    yield from _convolutions()
    yield _faiss()
    yield from _searches()
    yield from _cuda_libraries()
    yield from _extras()
    yield from _plugins()
    yield _folder("here", Path.cwd())
    yield _folder("temp", Path(tempfile.gettempdir()))


def _module(name: str) -> Check:
    module = _attempt(lambda: importlib.import_module(name))
    if isinstance(module, ModuleType):
        return Check(name, str(getattr(module, "__version__", "there")))
    return Check(name, module, "fatal", "pip install --force-reinstall vidssl")


def _attempt(load: Callable[[], ModuleType]) -> ModuleType | str:
    """Return the module, or the error as text; a broken wheel may raise anything."""
    try:
        return load()
    except Exception as error:
        return " ".join(f"cannot be imported: {type(error).__name__}: {error}".split())


def _processor() -> Check:
    flags = cpu_flags()
    known = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in flags]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    cores = f"{usable_cores()} of {os.cpu_count()} cores"
    found = f"{cores}, {memory / 2**30:.0f} GiB, {' '.join(known) or 'plain'}"
    if {"avx512_bf16", "amx_bf16"} & flags:
        return Check("cpu", f"{found}: trains in bf16")
    return Check("cpu", f"{found}: trains in fp32, since it has no bf16 instructions", "note")


def _gpu() -> Check:
    torch = _attempt(lambda: importlib.import_module("torch"))
    if isinstance(torch, str):
        return Check("gpu", "unknown without torch", "note")
    count = torch.cuda.device_count()
    if count:
        names = [torch.cuda.get_device_properties(index) for index in range(count)]
        return Check(
            "gpu", ", ".join(f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB" for gpu in names)
        )
    if not shutil.which("nvidia-smi"):
        return Check("gpu", "none: everything runs on the CPU", "note")
    built = torch.version.cuda
    if built is None:
        fix = "install a CUDA build of torch; this one computes on the CPU only"
        return Check("gpu", f"an NVIDIA driver, but torch {torch.__version__}", "problem", fix)
    fix = f"run nvidia-smi; torch needs a driver for CUDA {built}"
    return Check("gpu", "an NVIDIA driver, but torch sees no GPU", "problem", fix)


def _convolutions() -> Iterator[Check]:
    """Check that each GPU computes what the CPU does."""
    torch = _attempt(lambda: importlib.import_module("torch"))
    for number in range(0 if isinstance(torch, str) else torch.cuda.device_count()):
        from vidssl_cli.model.gpu_check import convolution_error

        name = f"gpu {number}"
        try:
            precision, error = convolution_error(number)
        except Exception as problem:  # a driver or a build may raise anything
            yield Check(name, _failed("cannot convolve", problem), "problem", _GPU_FIX)
            continue
        found = f"convolves in {precision}, {error:.1g} off the CPU"
        right = error < _ROUNDING[precision]
        yield Check(name, found, "ok" if right else "problem", None if right else _GPU_FIX)


def _searches() -> Iterator[Check]:
    """Check that FAISS finds on each GPU what it finds on the CPU."""
    faiss = _attempt(import_faiss)
    for number in range(0 if isinstance(faiss, str) else getattr(faiss, "get_num_gpus", int)()):
        from vidssl_cli.search.gpu_check import search_agreement

        name, fix = f"faiss {number}", "pip install --force-reinstall 'vidssl[gpu]'"
        try:
            share = search_agreement(number)
        except Exception as problem:
            yield Check(name, _failed("cannot search", problem), "problem", fix)
            continue
        found = f"finds {share:.0%} of what it finds on the CPU"
        right = share > _AGREEMENT
        yield Check(name, found, "ok" if right else "problem", None if right else fix)


def _failed(what: str, error: Exception) -> str:
    return " ".join(f"{what}: {type(error).__name__}: {error}".split())


def _faiss() -> Check:
    there = packages()
    remove = f"pip uninstall -y {' '.join(there)}"
    if not there:
        return Check(
            "faiss",
            "none: exact search only, with torch",
            "note",
            "pip install 'vidssl[cpu]', or 'vidssl[gpu]' for FAISS on NVIDIA GPUs",
        )
    found = ", ".join(f"{name} {version(name)}" for name in there)
    if len(there) > 1:
        fix = f"{remove}, then pip install one of them: they overwrite each other's files"
        return Check("faiss", found, "problem", fix)
    faiss = _attempt(import_faiss)
    if isinstance(faiss, str):
        fix = f"{remove}, then pip install 'vidssl[cpu]'"
        return Check("faiss", f"{found} {faiss}", "problem", fix)
    gpus = getattr(faiss, "get_num_gpus", int)()
    return Check("faiss", f"{found}, {f'on {gpus} GPUs' if gpus else 'on the CPU'}")


def _cuda_libraries() -> Iterator[Check]:
    """Check that torch and FAISS, which are imported by now, share the CUDA libraries."""
    found = cuda_libraries()
    twice = {name: files for name, files in found.items() if len(files) > 1}
    for name, files in twice.items():
        fix = "install builds of torch and FAISS for one CUDA version"
        yield Check("cuda", f"{name} is loaded twice: {' and '.join(files)}", "problem", fix)
    if found and not twice:
        yield Check("cuda", ", ".join(found))


def _extras() -> Iterator[Check]:
    """Check whether the packages of each extra are installed."""
    for extra, adds in EXTRAS.items():
        needed = [
            match[1]
            for line in requires("vidssl") or ()
            if (match := re.match(rf"([\w.-]+).*;\s*extra == '{extra}'", line.replace('"', "'")))
        ]
        missing = [name for name in needed if not _is_installed(name)]
        if not missing:
            yield Check(f"[{extra}]", f"installed: {adds}")
        elif extra in {"cpu", "gpu"} and any(map(_is_installed, ("faiss-cpu", "faiss-gpu"))):
            yield Check(f"[{extra}]", f"would add {adds}; uninstall the other first", "note")
        else:
            yield Check(f"[{extra}]", f"would add {adds}", "note", f"pip install 'vidssl[{extra}]'")


def _is_installed(distribution: str) -> bool:
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True


def _plugins() -> Iterator[Check]:
    found = registry()
    for kind in BASES:
        names = found.offered(kind)
        if names:
            yield Check(f"{kind}s", ", ".join(names))
        elif kind == "decoder":
            yield Check("decoders", "none: PyAV alone decodes", "note")
        else:
            fix = "see the plugins below, or pip install --force-reinstall vidssl"
            yield Check(f"{kind}s", "none", "fatal", fix)
    for info in found.absent():
        fix = f"update or uninstall {info.package}, or set VIDSSL_DISABLE_PLUGINS={info.package}"
        if info.status == "disabled":
            yield Check("plugin", str(info), "note", "unset VIDSSL_DISABLE_PLUGINS")
        else:
            yield Check("plugin", str(info), "problem", fix)


def _folder(name: str, folder: Path) -> Check:
    """Check that a folder can be written, and how much is free."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"vidssl")
    except OSError as error:
        fix = "use another folder" if name == "here" else "set TMPDIR to a folder of yours"
        return Check(name, f"{folder} cannot be written: {error.strerror}", "problem", fix)
    free = shutil.disk_usage(folder).free
    found = f"{folder} can be written, {free / 10**9:.1f} GB free"
    if free < LITTLE_SPACE:
        return Check(name, found, "problem", "free space, or use another disk")
    return Check(name, found)
