"""FAISS is imported in one place, a build for GPUs after torch; CUDA libraries have names."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

import vidssl_cli
from vidssl_cli.search import faiss_library
from vidssl_cli.search.faiss_library import cuda_libraries, import_faiss

SITE = "/venv/lib/python3.11/site-packages"


@pytest.mark.parametrize(
    ("installed", "order"), [("faiss-cpu", ["faiss"]), ("faiss-gpu-cu12", ["torch", "faiss"])]
)
def test_torch_comes_before_a_build_for_gpus(installed, order, monkeypatch):
    imported = []
    monkeypatch.setattr(
        faiss_library, "distributions", lambda: [SimpleNamespace(name=installed)] * 2
    )
    monkeypatch.setattr(faiss_library.importlib, "import_module", imported.append)
    import_faiss()
    assert imported == order


def test_nothing_else_imports_it():
    (folder,) = vidssl_cli.__path__
    pattern = r'^\s*(import faiss\b|from faiss\b.*import)|import_module\("faiss"\)'
    found = {
        path.name
        for path in Path(folder).rglob("*.py")
        if re.search(pattern, path.read_text(encoding="utf-8"), re.M)
    }
    assert found == {"faiss_library.py"}


def maps(tmp_path, *files):
    lines = [f"7f01{n:08x}-7f02{n:08x} r-xp 00000000 08:01 {n}   {f}" for n, f in enumerate(files)]
    path = tmp_path / "maps"
    path.write_text("\n".join([*lines, "7ffc0-7ffc1 rw-p 0 00:00 0 [stack]", *lines]) + "\n")
    return path


def test_libraries_of_two_cuda_versions_have_two_names(tmp_path):
    files = (
        f"{SITE}/nvidia/cu13/lib/libcublas.so.13",
        f"{SITE}/nvidia/cublas/lib/libcublas.so.12.8.4",
        f"{SITE}/torch/lib/libtorch_cuda.so",
    )
    assert cuda_libraries(maps(tmp_path, *files)) == {
        "libcublas.so.12": [files[1]],
        "libcublas.so.13": [files[0]],
    }


def test_copies_of_one_library_are_found(tmp_path):
    files = (
        f"{SITE}/faiss_gpu.libs/libcudart-0123abcd.so.12.4.127",
        f"{SITE}/nvidia/cuda_runtime/lib/libcudart.so.12",
    )
    assert cuda_libraries(maps(tmp_path, *files)) == {"libcudart.so.12": [*files]}


def test_a_system_that_does_not_tell(tmp_path):
    assert cuda_libraries(tmp_path / "maps") == {}
