"""`vidssl embed`: what other programs read is bit for bit what the network gave."""

import json
import os
import shutil

import numpy as np
import pytest

from vidssl_cli.cli import app
from vidssl_cli.cli.failures import run
from vidssl_cli.data import scan
from vidssl_cli.data.manifest import write_manifest
from vidssl_cli.data.rescan import SCANNED
from vidssl_cli.files.locks import locked
from vidssl_cli.media.probe import probe
from vidssl_cli.model.embedding import embed
from vidssl_cli.model.feature_journal import FeatureJournal
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


def stop_after(count, patch, module, name):
    """Let a command be interrupted when it has called a function so often; return the calls."""
    calls, honest = [], getattr(module, name)

    def stopping(*arguments, **options):
        if len(calls) == count:
            raise KeyboardInterrupt
        calls.append(arguments)
        return honest(*arguments, **options)

    patch.setattr(module, name, stopping)
    return calls


@pytest.mark.parametrize("ending", ["npz", "parquet"])
def test_what_was_embedded_is_kept_until_the_file_is_written(
    toy_videos, place, tmp_path, ending, monkeypatch
):
    if ending == "parquet":
        pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    data = (place / "model", "--data", place / "videos.jsonl", "--device", "cpu", "--out")
    assert call(*data, tmp_path / f"whole.{ending}") == 0
    file = tmp_path / f"a.{ending}"
    assert call(*data, file, "--level", "clip") == 0
    before = file.read_bytes()
    with monkeypatch.context() as patch:
        stop_after(7, patch, FeatureJournal, "add")
        assert call(*data, file) == 130
    assert file.read_bytes() == before
    assert (tmp_path / f"{file.name}.part").is_dir()
    with monkeypatch.context() as patch:
        added = stop_after(None, patch, FeatureJournal, "add")
        assert call(*data, file) == 0
    assert [row[0] for _, row, _ in added] == [video.path for video in toy_videos[7:]]
    assert file.read_bytes() == (tmp_path / f"whole.{ending}").read_bytes()
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("command", ["embed", "index", "index --shard 1/1"])
def test_what_was_scanned_on_the_way_is_kept_too(toy_videos, place, tmp_path, command, monkeypatch):
    (tmp_path / "videos").mkdir()
    for number, video in enumerate(toy_videos[:5]):
        (tmp_path / "videos" / f"{number}.mp4").symlink_to(video.path)
    name, *shard = command.split(" ", 1)
    out = tmp_path / ("a.npz" if name == "embed" else "index")
    words = [name, place / "model", "--data", tmp_path / "videos", "--out", out, "--device", "cpu"]
    words = [*map(str, words), *" ".join(shard).split()]
    with monkeypatch.context() as patch:
        stop_after(3, patch, scan, "probe")
        assert run(app, words) == 130
    with monkeypatch.context() as patch:
        decoded = stop_after(None, patch, scan, "probe")
        assert run(app, words) == 0
    assert sorted(decoded) == [(str(tmp_path / "videos" / f"{n}.mp4"),) for n in (3, 4)]
    assert not list(tmp_path.rglob(SCANNED))


def test_data_that_are_not_there_leave_nothing(place, tmp_path):
    words = (place / "model", "--out", tmp_path / "a.npz", "--data", tmp_path / "none")
    assert call(*words) == 2
    assert not list(tmp_path.iterdir())


def test_two_do_not_write_a_file_at_once(place, tmp_path, capsys):
    with locked(tmp_path / "a.npz.part", "vidssl embed"):
        words = (place / "model", "--data", place / "videos.jsonl", "--out", tmp_path / "a.npz")
        assert call(*words) == 1
    assert "another `vidssl embed`" in capsys.readouterr().err


def test_what_embed_did_not_write_is_left_alone(place, tmp_path, capsys):
    words = (place / "model", "--data", place / "videos.jsonl", "--device", "cpu", "--out")
    (tmp_path / "a.npz.part").mkdir()
    (tmp_path / "a.npz.part" / "mine.txt").write_text("mine")
    assert call(*words, tmp_path / "a.npz") == 2
    assert "mine.txt" in capsys.readouterr().err
    assert [path.name for path in tmp_path.rglob("*")] == ["a.npz.part", "mine.txt"]


@pytest.mark.parametrize("ending", ["npz", "parquet"])
def test_only_features_are_replaced(place, tmp_path, ending, capsys):
    if ending == "parquet":
        pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    folder, text, arrays = (tmp_path / f"{name}.{ending}" for name in ("folder", "text", "arrays"))
    folder.mkdir()
    text.write_text("mine")
    with arrays.open("wb") as file:
        np.savez(file, mine=np.zeros(3))
    for path in (folder, text, arrays):
        assert call(place / "index", "--out", path) == 2
        assert f"{path} is there already, and is no file of features" in capsys.readouterr().err
    assert text.read_text() == "mine"
    assert call(place / "index", "--out", tmp_path / f"a.{ending}") == 0
    assert call(place / "index", "--out", tmp_path / f"a.{ending}") == 0


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
