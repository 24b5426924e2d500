"""Programs that read our features find with them what `vidssl retrieve` finds."""

import os
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from vidssl_cli.search.build import build_index
from vidssl_cli.search.features_file import of_index, write_features
from vidssl_cli.search.retrieve import retrieve
from vidssl_cli.search.store import open_index

PAGE = Path(__file__).parents[1] / "docs" / "other_programs.md"
EXAMPLES = dict(
    re.findall(r"## ([^\n]*)\n(?:(?!## |```)[^\n]*\n)*```python\n(.*?)```", PAGE.read_text(), re.S)
)


def test_every_program_has_an_example():
    assert list(EXAMPLES) == [
        "pandas, scikit-learn, FAISS", "DuckDB", "LanceDB", "Qdrant", "PostgreSQL with pgvector",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def features(toy_encoder, toy_videos, tmp_path_factory):
    """Return a folder with features.parquet, and the paths and scores of what is like item 0."""
    folder = tmp_path_factory.mktemp("features")
    build_index(toy_encoder(), toy_videos, folder / "index")
    index = open_index(folder / "index")
    write_features(folder / "features.parquet", of_index(index, "video", unit=True))
    answers, _ = retrieve(index, ["#0"], top=5, exclude_self=False, device="cpu")
    return folder, [(hit.path, hit.score) for hit in answers[0].hits]


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_finds_what_retrieve_finds(features, name, monkeypatch, capsys):
    packages = set(re.findall(r"^(?:import|from) (\w+)", EXAMPLES[name], re.M))
    if missing := [package for package in packages if find_spec(package) is None]:
        pytest.skip(f"needs {', '.join(missing)}, which vidssl does not")
    if name.startswith("PostgreSQL") and "PGHOST" not in os.environ:
        pytest.skip("needs a PostgreSQL server: PGHOST is not set")
    folder, hits = features
    monkeypatch.chdir(folder)
    exec(EXAMPLES[name], {})
    told = capsys.readouterr().out
    for path, _ in hits[name == "Qdrant" :]:
        assert os.path.basename(path) in told
    scores = [float(number) for number in re.findall(r"\d\.\d{4,}", told)]
    for _, score in hits[1:]:
        assert any(abs(score - found) < 1e-4 for found in scores), (score, told)
