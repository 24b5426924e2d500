"""`vidssl embed`: what other programs read is bit for bit what the network gave."""

import json
import os
import shutil

import numpy as np
import pytest

from vidssl_cli.cli import app
from vidssl_cli.cli.failures import run
from vidssl_cli.data.manifest import write_manifest
from vidssl_cli.media.probe import probe
from vidssl_cli.model.embedding import embed
from vidssl_cli.search.build import build_index
from vidssl_cli.search.retrieve import retrieve
from vidssl_cli.search.store import open_index


@pytest.fixture(scope="module")
def encoder(toy_encoder):
    return toy_encoder()


@pytest.fixture(scope="module")
def place(encoder, toy_videos, tmp_path_factory):
    """A folder with a model, a manifest and an index."""
    place = tmp_path_factory.mktemp("embed")
    encoder.export(place / "model")
    write_manifest(place / "videos.jsonl", toy_videos)
    build_index(encoder, toy_videos, place / "index", standardise=True)
    return place


def call(*words):
    return run(app, ["embed", *map(str, words)])


@pytest.mark.parametrize("level", ["video", "clip"])
def test_the_file_of_a_network_and_of_its_index_are_alike(
    encoder, toy_videos, place, tmp_path, level, capsys
):
    pq = pytest.importorskip("pyarrow.parquet", reason="Parquet needs pyarrow")
    data = ("--data", place / "videos.jsonl", "--device", "cpu")
    names = [tmp_path / name for name in ("a.npz", "a.parquet", "b.npz", "b.parquet")]
    for name in names[:2]:
        assert call(place / "model", *data, "--out", name, "--level", level) == 0
    for name in names[2:]:
        assert call(place / "index", "--out", name, "--level", level) == 0
    found = list(embed(encoder, toy_videos, every="clip", skipped=[]))
    clips = np.concatenate([item.features for item in found])
    means = np.stack([item.features.mean(0, dtype=np.float64) for item in found])
    expected = clips if level == "clip" else means.astype(np.float32)
    each = len(found[0].features) if level == "clip" else 1
    for name in names:
        if name.suffix == ".npz":
            with np.load(name) as archive:
                table = {key: archive[key] for key in archive.files}
        else:
            read = pq.read_table(name)
            assert read.schema.field("vector").type.list_size == expected.shape[1]
            assert read["id"].to_pylist() == [*range(len(expected))]
            table = {key: np.array(read[key].to_pylist()) for key in read.column_names}
        np.testing.assert_array_equal(table["vector"].astype(np.float32), expected)
        assert table["path"].tolist() == [v.path for v in toy_videos for _ in range(each)]
        assert table["label"].tolist() == [v.label for v in toy_videos for _ in range(each)]
        spans = np.stack([table["start"], table["end"]], 1).reshape(len(found), each, 2)
        for item, rows in zip(found, spans, strict=True):
            wanted = item.spans if level == "clip" else [[item.spans.min(), item.spans.max()]]
            np.testing.assert_allclose(rows, wanted)
    assert f"{len(expected)} rows" in capsys.readouterr().out


def test_names_that_are_not_utf8_are_escaped(encoder, toy_videos, tmp_path):
    pq = pytest.importorskip("pyarrow.parquet", reason="Parquet needs pyarrow")
    path = os.fsdecode(os.fsencode(tmp_path) + b"/odd \xff.mp4")
    shutil.copy(toy_videos[0].path, path)
    build_index(encoder, [probe(path)], tmp_path / "index")
    for name in ("a.parquet", "a.npz"):
        assert call(tmp_path / "index", "--out", tmp_path / name) == 0
    assert pq.read_table(tmp_path / "a.parquet")["path"].to_pylist() == [
        f"{tmp_path}/odd \\udcff.mp4"
    ]
    assert np.load(tmp_path / "a.npz")["path"].tolist() == [path]


def test_products_of_unit_vectors_are_the_scores(toy_videos, place, tmp_path):
    assert call(place / "index", "--out", tmp_path / "a.npz", "--unit") == 0
    vectors = np.load(tmp_path / "a.npz")["vector"]
    (answer,), _ = retrieve(open_index(place / "index"), ["#2"], top=5, device="cpu")
    for hit in answer.hits:
        assert vectors[2] @ vectors[hit.item] == pytest.approx(hit.score, abs=1e-5)


def test_what_cannot_be_embedded_is_named(toy_videos, place, tmp_path, capsys):
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "broken.mp4").write_bytes(b"no video")
    (tmp_path / "videos" / "good.mp4").symlink_to(toy_videos[0].path)
    words = (place / "model", "--data", tmp_path / "videos", "--out", tmp_path / "a.npz")
    assert call(*words, "--json", "--strict", "--device", "cpu") == 5
    document = json.loads(capsys.readouterr().out)
    assert document["rows"] == 1
    assert [row["path"] for row in document["broken"]] == [str(tmp_path / "videos" / "broken.mp4")]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["model", "--out", "a.csv"], "does not end in"),
        (["model", "--out", "a.npz"], "needs videos to embed"),
        (["index", "--out", "a.npz", "--data", "videos.jsonl"], "has its features already"),
        (["model", "--out", "a.npz", "--data", "videos.jsonl", "--unit"], "--unit"),
    ],
)
def test_options_that_do_not_fit_are_refused(place, words, told, monkeypatch, capsys):
    monkeypatch.chdir(place)
    assert call(*words) == 2
    assert told in capsys.readouterr().err
    assert not (place / "a.npz").exists()


def test_parquet_without_pyarrow_says_what_to_install(place, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    assert call(place / "index", "--out", tmp_path / "a.parquet") == 1
    assert "vidssl[parquet]" in capsys.readouterr().err
