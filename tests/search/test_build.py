"""Building indexes from small videos by a small network: whole, in parts, moved, damaged."""

import gc
import json
import multiprocessing
import os
import shutil
import socket
from dataclasses import replace

import numpy as np
import pytest
import torch

from vidssl_cli.base.errors import DamagedFileError, MediaError, UsageError, VidsslError
from vidssl_cli.cli import app
from vidssl_cli.cli.failures import run
from vidssl_cli.contract.metrics import standardise
from vidssl_cli.data.manifest import read_manifest
from vidssl_cli.files import sealed_json
from vidssl_cli.files.locks import locked
from vidssl_cli.files.sealed_folder import MANIFEST, publish, sha256
from vidssl_cli.model import embedding
from vidssl_cli.model.encoder import Encoder
from vidssl_cli.search import build, engines, entries, factories, store
from vidssl_cli.search.build import UnchangedVideos, build_index
from vidssl_cli.search.generations import tidy
from vidssl_cli.search.levels import LEVELS
from vidssl_cli.search.retrieve import retrieve
from vidssl_cli.search.store import Index, open_index


@pytest.fixture(scope="module")
def encoder(toy_encoder):
    return toy_encoder()


@pytest.fixture
def videos(toy_videos, tmp_path):
    """Copies that a test may change."""
    copies = []
    for video in toy_videos:
        path = tmp_path / "videos" / os.path.basename(video.path)
        path.parent.mkdir(exist_ok=True)
        shutil.copy(video.path, path)
        copies.append(replace(video, path=str(path)))
    return copies


def content(folder):
    """What an index holds and answers, whatever segments it is in."""
    index = open_index(folder)
    gallery, items = index.gallery, index.gallery.items.tolist()
    parts = [gallery.part(item) for item in items]
    found = {
        "settings": index.settings.model_dump(),
        "videos": [gallery.videos[item] for item in items],
        "stamps": gallery.stamps[items].tolist(),
        "features": [gallery.features["clip"][part].tolist() for part in parts],
        "means": gallery.features["video"][items].tolist(),
        "spans": [gallery.spans[part].tolist() for part in parts],
    }
    order = {item: number for number, item in enumerate(items)}
    answers, _ = retrieve(index, [f"#{item}" for item in items], exclude_self=False, device="cpu")
    found["hits"] = [
        [(order[hit.item], hit.path, hit.score, hit.start) for hit in answer.hits]
        for answer in answers
    ]
    return found


def generations(folder):
    return sorted(path.name for path in folder.glob("generation-*"))


def test_an_index_holds_what_was_embedded(encoder, videos, tmp_path):
    summary = build_index(encoder, videos, tmp_path / "index", every="recipe")
    index = open_index(tmp_path / "index")
    assert (summary.videos, summary.clips, summary.added) == (12, 36, 12)
    assert list(index.gallery.videos) == videos
    assert index.gallery.features["clip"].shape == (36, summary.dimension)
    assert index.gallery.spans[:3].tolist() == pytest.approx(
        np.array([[0, 0.32], [0.64, 0.96], [1.28, 1.6]])
    )
    means = np.asarray(index.gallery.features["clip"]).reshape(12, 3, -1).mean(1)
    expected = means / np.linalg.norm(means, axis=1, keepdims=True)
    np.testing.assert_allclose(index.level("video").vectors(np.arange(12)), expected, atol=1e-6)
    assert index.settings.encoder == encoder.digest
    assert Encoder.load(index.encoder, "cpu").digest == encoder.digest


@pytest.mark.parametrize("factory", ["IVF4096,Flat", "PQ", "IDMap,Flat", "IVF0,Flat"])
def test_a_factory_that_does_not_fit_is_refused_before_a_video_is_read(
    encoder, videos, tmp_path, monkeypatch, factory
):
    monkeypatch.setattr("vidssl_cli.search.entries.embed", None)
    with pytest.raises(UsageError, match="FAISS cannot build"):
        build_index(encoder, videos, tmp_path / "index", factory=factory)


def test_a_misspelt_factory_is_refused_before_data_is_opened(encoder, videos, tmp_path, capfd):
    encoder.export(tmp_path / "model")
    command = ["index", str(tmp_path / "model"), "--data", "nowhere", "--out", str(tmp_path / "i")]
    assert run(app, [*command, "--factory", "IVF4096"]) == 2
    assert "FAISS cannot build IVF4096" in capfd.readouterr().err


def test_standardised_vectors_agree_with_the_metric(encoder, videos, tmp_path):
    build_index(encoder, videos, tmp_path / "index", standardise=True, every="recipe")
    index = open_index(tmp_path / "index")
    raw = np.asarray(index.gallery.features["clip"])
    for level, features in zip(LEVELS, (raw.reshape(12, 3, -1).mean(1), raw), strict=True):
        expected = standardise(features, features)
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
        found = index.level(level).vectors(np.arange(len(features)))
        np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("factory", ["Flat", "HNSW", "SQ", "IVF2,Flat", "IVF2_HNSW8,SQ8"])
def test_adding_in_parts_gives_the_same_index(encoder, videos, tmp_path, factory):
    build_index(encoder, videos, tmp_path / "whole", factory=factory)
    build_index(encoder, videos[:5], tmp_path / "parts", factory=factory)
    summary = build_index(encoder, videos[3:], tmp_path / "parts")
    assert (summary.added, summary.changed, summary.videos) == (7, 0, 12)
    assert content(tmp_path / "parts") == content(tmp_path / "whole")


def test_what_was_replaced_by_a_file_that_cannot_be_read_leaves_the_index(
    encoder, videos, tmp_path, capfd
):
    """Where the scan of a folder finds that, and no file that is as it was."""
    encoder.export(tmp_path / "model")
    folder = os.path.dirname(videos[0].path)
    command = ["index", str(tmp_path / "model"), "--data", folder, "--out", str(tmp_path / "index")]
    assert run(app, command) == 0
    with open(videos[3].path, "wb") as file:
        file.write(b"no video")
    assert run(app, command) == 0
    gallery = open_index(tmp_path / "index").gallery
    assert gallery.item(videos[3].path) is None
    assert len(gallery) == 11
    assert "11 videos" in capfd.readouterr().out
    broken = [MediaError("cannot be read now", where=videos[2].path)]
    build_index(encoder, videos[4:], tmp_path / "index", broken=broken)
    assert len(open_index(tmp_path / "index").gallery) == 11


def test_only_new_videos_are_embedded(encoder, videos, tmp_path, monkeypatch):
    build_index(encoder, videos[:10], tmp_path / "index")
    seen = []
    true_views = Encoder.views
    monkeypatch.setattr(
        Encoder, "views", lambda self, video, *a: seen.append(video) or true_views(self, video, *a)
    )
    build_index(encoder, videos, tmp_path / "index")
    assert seen == videos[10:]


def test_what_was_embedded_is_kept_whatever_fails_after_it(encoder, videos, tmp_path, monkeypatch):
    """A build that is stopped at the eighth video, then one that cannot be published."""
    asked = []

    def embed(encoder, videos, **options):
        asked.append(len(videos))
        for number, item in enumerate(embedding.embed(encoder, videos, **options)):
            if asked == [12] and number == 7:
                raise KeyboardInterrupt
            yield item

    monkeypatch.setattr(entries, "embed", embed)
    with pytest.raises(KeyboardInterrupt):
        build_index(encoder, videos, tmp_path / "index")
    with monkeypatch.context() as patched:
        patched.setattr(build, "publish_generation", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            build_index(encoder, videos, tmp_path / "index")
    summary = build_index(encoder, videos, tmp_path / "index")
    assert asked == [12, 5, 0]
    assert (summary.added, summary.changed, summary.videos) == (12, 0, 12)
    build_index(encoder, videos, tmp_path / "whole")
    assert content(tmp_path / "index") == content(tmp_path / "whole")
    build_index(encoder, videos, tmp_path / "index", overwrite=True)
    assert asked == [12, 5, 0, 12, 12]


def test_kept_features_of_another_file_or_network_are_not_used(
    encoder, toy_encoder, videos, tmp_path, monkeypatch
):
    """Kept under a name whose file is another now, and by a network that is another now."""
    with monkeypatch.context() as patched:
        patched.setattr(build, "publish_generation", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            build_index(encoder, videos, tmp_path / "index")
        with pytest.raises(ZeroDivisionError):
            build_index(encoder, videos, tmp_path / "other")
    shutil.copy(videos[3].path, videos[0].path)
    build_index(encoder, videos, tmp_path / "index")
    build_index(encoder, videos, tmp_path / "whole")
    assert content(tmp_path / "index") == content(tmp_path / "whole")
    other = toy_encoder(seed=1)
    build_index(other, videos, tmp_path / "other")
    assert open_index(tmp_path / "other").settings.encoder == other.digest
    build_index(other, videos, tmp_path / "whole", overwrite=True)
    assert content(tmp_path / "other") == content(tmp_path / "whole")


def test_building_again_writes_nothing(encoder, videos, tmp_path):
    build_index(encoder, videos, tmp_path / "index")
    summary = build_index(encoder, videos[:4], tmp_path / "index")
    assert (summary.added, summary.changed, summary.generation) == (0, 0, "generation-000001")
    assert generations(tmp_path / "index") == ["generation-000001"]


def test_a_changed_file_is_embedded_again(encoder, videos, tmp_path):
    build_index(encoder, videos, tmp_path / "index")
    shutil.copy(videos[3].path, videos[0].path)
    assert set(UnchangedVideos(tmp_path / "index")) == {video.path for video in videos[1:]}
    scanned = [replace(videos[0], bytes=videos[3].bytes), *videos[1:]]
    summary = build_index(encoder, scanned, tmp_path / "index")
    assert (summary.added, summary.changed) == (0, 1)
    index = open_index(tmp_path / "index")
    new, old = index.gallery.item(videos[0].path), index.gallery.item(videos[3].path)
    vectors = index.level("video").vectors(np.array([new, old]))
    np.testing.assert_array_equal(vectors[0], vectors[1])
    assert len(index.gallery) == 12
    assert content(tmp_path / "index")["videos"] == [*videos[1:], scanned[0]]
    again = build_index(encoder, scanned, tmp_path / "index")
    assert (again.added, again.changed, again.generation) == (0, 0, "generation-000002")


def test_a_changed_file_that_is_broken_now_leaves_the_gallery(encoder, videos, tmp_path, capsys):
    build_index(encoder, videos, tmp_path / "index")
    with open(videos[0].path, "wb") as file:
        file.write(b"no video")
    summary = build_index(encoder, videos, tmp_path / "index")
    assert [broken["path"] for broken in summary.broken] == [videos[0].path]
    assert videos[0].path in capsys.readouterr().err
    assert content(tmp_path / "index")["videos"] == videos[1:]
    answers, _ = retrieve(open_index(tmp_path / "index"), ["#1"], top=99, device="cpu")
    assert len(answers[0].hits) == 10
    with pytest.raises(VidsslError, match="none of 1 queries"):
        retrieve(open_index(tmp_path / "index"), ["#0"], device="cpu")
    assert "removed from the index" in capsys.readouterr().err


def test_a_new_label_needs_no_embedding(encoder, videos, tmp_path):
    build_index(encoder, videos, tmp_path / "index")
    named = [replace(video, label="other") for video in videos]
    summary = build_index(encoder, named, tmp_path / "index")
    assert (summary.added, summary.changed) == (0, 0)
    assert list(open_index(tmp_path / "index").gallery.videos) == named
    build_index(encoder, videos[:2], tmp_path / "index")
    index = open_index(tmp_path / "index")
    assert list(index.gallery.videos) == [*videos[:2], *named[2:]]
    assert [index.gallery.item(video.path) for video in videos] == [*range(12)]
    assert build_index(encoder, videos[:2], tmp_path / "index").generation == index.folder.name


def test_the_gallery_is_a_manifest(encoder, videos, tmp_path):
    build_index(encoder, videos, tmp_path / "index")
    assert read_manifest(tmp_path / "index" / "segment-000001" / "gallery.jsonl") == videos


def test_another_network_is_refused_unless_it_begins_anew(encoder, toy_encoder, videos, tmp_path):
    build_index(encoder, videos, tmp_path / "index")
    other = toy_encoder(seed=1)
    with pytest.raises(UsageError, match="another network") as caught:
        build_index(other, videos, tmp_path / "index")
    assert "--overwrite" in caught.value.hint
    with pytest.raises(UsageError, match="another network"):
        build_index(toy_encoder(clips=2), videos, tmp_path / "index")
    summary = build_index(other, videos[:3], tmp_path / "index", overwrite=True)
    assert (summary.videos, summary.added) == (3, 3)
    assert open_index(tmp_path / "index").settings.encoder == other.digest


def test_the_generation_before_is_kept_for_its_readers(encoder, videos, tmp_path):
    folder = tmp_path / "index"
    for count in (3, 6, 9, 12):
        build_index(encoder, videos[:count], folder)
    assert generations(folder) == ["generation-000003", "generation-000004"]
    tidy(folder)  # nobody holds the older one any more
    assert generations(folder) == ["generation-000003", "generation-000004"]


def test_a_reader_that_was_overtaken_opens_what_is_newest_now(
    encoder, videos, tmp_path, monkeypatch
):
    folder = tmp_path / "index"
    build_index(encoder, videos[:1], folder)
    opened = []

    def overtaken(path, digest):
        opened.append(path.name)
        if len(opened) == 1:
            with monkeypatch.context() as patch:
                patch.setattr(store, "Index", Index)
                for count in (2, 3):
                    build_index(encoder, videos[:count], folder)
        return Index(path, digest)

    monkeypatch.setattr(store, "Index", overtaken)
    assert len(open_index(folder).gallery.videos) == 3
    assert opened == ["generation-000001", "generation-000003"]


def test_two_builders_do_not_write_at_once(encoder, videos, tmp_path):
    maker = "vidssl index"
    with (
        locked(tmp_path / "index", maker),
        pytest.raises(VidsslError, match="another `vidssl index`"),
    ):
        build_index(encoder, videos, tmp_path / "index")


def test_a_folder_with_something_else_is_left_alone(encoder, videos, tmp_path):
    with pytest.raises(UsageError, match="something else"):
        build_index(encoder, videos, tmp_path / "videos", overwrite=True)


def test_a_network_that_answers_nan_is_named(toy_encoder, videos, tmp_path):
    encoder = toy_encoder()
    for parameter in encoder.backbone.parameters():
        torch.nn.init.constant_(parameter, float("nan"))
    with pytest.raises(VidsslError, match="not finite"):
        build_index(encoder, videos, tmp_path / "index")


def test_nothing_to_embed_is_an_error(encoder, videos, tmp_path):
    gone = [replace(video, path=video.path + ".gone") for video in videos]
    with pytest.raises(VidsslError, match="none of the 12 videos"):
        build_index(encoder, gone, tmp_path / "index")


def test_without_faiss_an_exact_index_works_all_the_same(encoder, videos, tmp_path, monkeypatch):
    build_index(encoder, videos, tmp_path / "with")
    monkeypatch.setattr(engines, "load_faiss", lambda: None)
    build_index(encoder, videos, tmp_path / "without")
    with pytest.raises(VidsslError, match="HNSW"):
        build_index(encoder, videos, tmp_path / "without", factory="HNSW")
    monkeypatch.undo()
    one, other = (
        index.level("clip").nearest(np.asarray(index.gallery.features["clip"]), 5)
        for index in (open_index(tmp_path / "with"), open_index(tmp_path / "without"))
    )
    for (ids, _), (others, _) in zip(one, other, strict=True):
        np.testing.assert_array_equal(ids, others)


def test_every_file_is_checked_before_it_is_read(encoder, videos, tmp_path, capsys):
    folder = tmp_path / "index"
    build_index(encoder, videos, folder)
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    assert len(files) == 24
    for path in files:
        whole = path.read_bytes()
        damaged = bytearray(whole)
        if whole:  # no row was changed
            damaged[len(whole) // 2] ^= 4
        path.write_bytes(damaged or b"{}")
        with pytest.raises(DamagedFileError) as caught:
            open_index(folder).load_encoder("cpu")
        assert caught.value.where == str(path)
        path.unlink()
        with pytest.raises((DamagedFileError, UsageError)):
            open_index(folder).load_encoder("cpu")
        path.write_bytes(whole)
    open_index(folder)


def test_another_network_in_the_place_of_the_one_that_made_it_is_refused(
    encoder, toy_encoder, videos, tmp_path
):
    build_index(encoder, videos, tmp_path / "index")
    toy_encoder(seed=1).export(open_index(tmp_path / "index").encoder)
    with pytest.raises(DamagedFileError, match="another network"):
        retrieve(open_index(tmp_path / "index"), [videos[0].path], device="cpu")


@pytest.mark.parametrize("position", range(0, 110, 7))
def test_a_damaged_pointer_leads_nowhere(encoder, videos, tmp_path, position):
    folder = tmp_path / "index"
    build_index(encoder, videos[:2], folder)
    build_index(encoder, videos[:3], folder)
    whole = (folder / "CURRENT").read_bytes()
    damaged = bytearray(whole)
    damaged[position] ^= 1
    (folder / "CURRENT").write_bytes(damaged)
    with pytest.raises(DamagedFileError) as caught:
        open_index(folder)
    assert caught.value.where == str(folder / "CURRENT")


@pytest.mark.parametrize("before", [0, 2])
def test_a_builder_that_was_killed_before_it_could_point_is_made_up_for(
    encoder, videos, tmp_path, before
):
    folder, whole = tmp_path / "index", tmp_path / "whole"
    for place in (folder, whole):
        for count in range(1, before + 1):
            build_index(encoder, videos[:count], place)
        build_index(encoder, videos[:3], place)
    if before:  # as it was, but for a generation that nobody points to
        digest = sha256(folder / f"generation-{before:06d}" / "manifest.json")
        pointer = {"generation": f"generation-{before:06d}", "manifest": digest}
        (folder / "CURRENT").write_bytes(sealed_json.render(pointer))
    else:
        (folder / "CURRENT").unlink()
    build_index(encoder, videos[:3], folder)
    assert generations(folder) == generations(whole)
    assert content(folder) == content(whole)
    assert len(list(folder.glob("segment-*"))) == len(list(whole.glob("segment-*")))


def test_what_a_killed_builder_did_not_delete_is_deleted_by_the_next(encoder, videos, tmp_path):
    folder = tmp_path / "index"
    for count in (1, 2, 3):
        build_index(encoder, videos[:count], folder)
    (folder / "generation-000001").mkdir()
    (folder / f".tmp-{socket.gethostname()}-1-dead").mkdir()
    build_index(encoder, videos[:3], folder)
    assert generations(folder) == ["generation-000002", "generation-000003"]
    assert not list(folder.glob(".tmp-*"))


def test_an_index_of_another_version_is_told(encoder, videos, tmp_path):
    from vidssl_cli.files.atomic import atomic_write
    from vidssl_cli.files.sealed_folder import MANIFEST, publish

    folder = tmp_path / "index"
    build_index(encoder, videos[:2], folder)
    generation = open_index(folder).folder
    facts = json.loads((generation / "index.json").read_text())

    def write(draft):
        shutil.copytree(generation, draft, dirs_exist_ok=True)
        (draft / MANIFEST).unlink()
        (draft / "index.json").write_text(json.dumps(facts | {"version": 3}))

    publish(folder / "generation-000002", write)
    digest = sha256(folder / "generation-000002" / MANIFEST)
    pointer = {"generation": "generation-000002", "manifest": digest}
    atomic_write(folder / "CURRENT", sealed_json.render(pointer))
    with pytest.raises(DamagedFileError, match="another version"):
        open_index(folder)


def test_a_faiss_file_that_nobody_sealed_is_not_read(encoder, videos, tmp_path, monkeypatch):
    faiss = pytest.importorskip("faiss")
    with monkeypatch.context() as without:
        without.setattr(engines, "load_faiss", lambda: None)
        build_index(encoder, videos, tmp_path / "index")
    index = open_index(tmp_path / "index")
    (index.folder / "video.faiss").write_bytes(b"crafted")
    monkeypatch.setattr(faiss, "read_index", lambda *_: pytest.fail("read"))
    level = index.level("video")
    query = level.vectors(np.arange(1)).astype(np.float32)
    assert level.engine(query, 1).tolist() == [[0]]


def test_a_generation_with_digests_of_its_own_is_not_the_one_that_was_built(
    encoder, videos, tmp_path
):
    build_index(encoder, videos, tmp_path / "index")
    generation = open_index(tmp_path / "index").folder
    built = generation.rename(tmp_path / "built")
    publish(generation, lambda into: shutil.copytree(built, into, dirs_exist_ok=True))
    files = sealed_json.read(generation / MANIFEST, "")["files"]
    (generation / MANIFEST).write_bytes(
        sealed_json.render({"files": dict(reversed(files.items()))})
    )
    with pytest.raises(DamagedFileError, match="not the one that CURRENT means"):
        open_index(tmp_path / "index")


def test_foreign_faiss_files_need_a_flag_and_are_warned_about(encoder, videos, tmp_path, capsys):
    from vidssl_cli.cli import app

    faiss = pytest.importorskip("faiss")
    build_index(encoder, videos, tmp_path / "index")
    index = open_index(tmp_path / "index")
    vectors = index.level("video").vectors(np.arange(len(videos))).astype(np.float32)
    numbered = faiss.IndexIDMap(faiss.IndexFlatIP(vectors.shape[1]))
    numbered.add_with_ids(vectors, np.arange(len(videos)) + 7)
    fewer = faiss.IndexFlatIP(vectors.shape[1])
    fewer.add(vectors[1:])
    whole = faiss.index_factory(vectors.shape[1], "SQ8", faiss.METRIC_INNER_PRODUCT)
    whole.train(vectors)
    whole.add(vectors)
    for name, foreign in (("numbered", numbered), ("fewer", fewer), ("whole", whole)):
        faiss.write_index(foreign, str(tmp_path / name))
    (tmp_path / "noise").write_bytes(b"IxFI" + bytes(range(99)))
    words = ["retrieve", str(tmp_path / "index"), "#1", "--json"]
    assert run(app, words) == 0
    answers = capsys.readouterr().out
    assert run(app, [*words, "--foreign-faiss", str(tmp_path / "whole")]) == 0
    told = capsys.readouterr()
    assert told.out == answers
    assert "FAISS checks little of what it reads" in told.err
    for name, problem in (
        ("numbered", "returns the number"),
        ("fewer", "vectors of"),
        ("noise", "FAISS cannot read it"),
    ):
        assert run(app, [*words[:3], "--foreign-faiss", str(tmp_path / name)]) == 4
        told = capsys.readouterr().err
        assert problem in told
        assert str(tmp_path / name) in told
    assert run(app, [*words[:3], "--foreign-faiss", str(tmp_path / "none")]) == 2


@pytest.mark.parametrize("lost", ["CURRENT", "generation-000001"])
def test_an_index_that_lost_a_part_is_damaged_not_foreign(encoder, videos, tmp_path, lost):
    build_index(encoder, videos[:2], tmp_path / "index")
    part = tmp_path / "index" / lost
    part.unlink() if part.is_file() else shutil.rmtree(part)
    with pytest.raises((DamagedFileError, UsageError)) as caught:
        open_index(tmp_path / "index")
    assert caught.value.status == 4


def test_a_folder_that_is_no_index_is_told(tmp_path):
    with pytest.raises(UsageError, match="is not an index"):
        open_index(tmp_path)


def _read(folder, started, stop, results):
    seen = set()
    while not stop.is_set():
        index = open_index(folder)
        # Vectors, table and FAISS index belong together, whichever generation it is.
        count, level = len(index.gallery.videos), index.level("video")
        ids = level.engine(level.vectors(np.arange(count)), count)
        assert np.sort(ids, axis=1).tolist() == [list(range(count))] * count
        seen.add(count)
        started.set()
    results.put(sorted(seen))


def test_readers_see_whole_generations_while_a_builder_writes(encoder, videos, tmp_path):
    folder = tmp_path / "index"
    build_index(encoder, videos[:1], folder)
    spawn = multiprocessing.get_context("spawn")
    started, stop, results = spawn.Event(), spawn.Event(), spawn.Queue()
    reader = spawn.Process(target=_read, args=(folder, started, stop, results))
    reader.start()
    assert started.wait(timeout=60)
    for count in range(2, 13):
        build_index(encoder, videos[:count], folder)
    stop.set()
    seen = results.get(timeout=60)
    reader.join()
    assert reader.exitcode == 0
    assert set(seen) <= set(range(1, 13))


def test_the_command_prints_one_document(encoder, videos, tmp_path, capsys):
    from vidssl_cli.cli import app

    encoder.export(tmp_path / "model")
    (tmp_path / "videos" / "broken.mp4").write_bytes(b"no video")
    command = ["index", str(tmp_path / "model"), "--data", str(tmp_path / "videos")]
    command += ["--out", str(tmp_path / "index"), "--device", "cpu"]
    assert run(app, [*command, "--json", "--strict"]) == 5
    document = json.loads(capsys.readouterr().out)
    assert document["videos"] == document["added"] == 12
    assert [broken["path"] for broken in document["broken"]] == [
        str(tmp_path / "videos" / "broken.mp4")
    ]
    assert run(app, command) == 0
    assert "12 videos" in capsys.readouterr().out
    assert run(app, [*command, "--part", "train"]) == 2


def test_a_generation_that_is_open_stays_until_it_is_not(encoder, videos, tmp_path):
    out = tmp_path / "index"
    build_index(encoder, videos[:2], out)
    reading = open_index(out)
    for factory in ("Flat", "HNSW", "Flat"):
        build_index(encoder, videos[:2], out, factory=factory, overwrite=True)
    assert reading.folder.is_dir()
    level = reading.level("video")
    assert level.engine(level.vectors(np.array([0])), 1) == [[0]]
    (answer,), _ = retrieve(reading, [videos[0].path], device="cpu")
    assert answer.hits[0].path == videos[0].path
    del reading, level
    gc.collect()
    build_index(encoder, videos[:2], out, factory="HNSW")
    assert len(list(out.glob("generation-*"))) == 2


def test_clips_of_two_kinds_are_not_mixed(encoder, videos, tmp_path):
    build_index(encoder, videos[:2], tmp_path / "index", every=0.5)
    assert open_index(tmp_path / "index").settings.every == 0.5
    added = build_index(encoder, videos[:3], tmp_path / "index")
    assert (added.videos, added.clips) == (3, 12)
    with pytest.raises(UsageError, match="so --every clip would"):
        build_index(encoder, videos[:3], tmp_path / "index", every="clip")
    again = build_index(encoder, videos[:3], tmp_path / "index", every="clip", overwrite=True)
    assert again.clips == 15


def test_what_was_embedded_with_other_clips_is_not_taken_up(encoder, videos, tmp_path, monkeypatch):
    def stop(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(build, "write_segment", lambda path, found: [*found] and stop())
    with pytest.raises(KeyboardInterrupt):
        build_index(encoder, videos[:2], tmp_path / "index", every=0.5)
    monkeypatch.undo()
    assert build_index(encoder, videos[:2], tmp_path / "index", every="recipe").clips == 6


@pytest.mark.parametrize("text", ["0", "1m", "-1", "nan", "100000", "1e3"])
def test_an_odd_every_is_refused_before_anything_is_read(tmp_path, capsys, text):
    out = tmp_path / "index"
    command = ["index", "nowhere", "--data", "nowhere", "--out", str(out), f"--every={text}"]
    assert run(app, [*command, "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["where"] == "--every"


def test_a_new_index_is_exact_if_that_is_fast_and_says_so_if_it_is_not(
    encoder, videos, tmp_path, monkeypatch, capsys
):
    assert build_index(encoder, videos, tmp_path / "small").factory == "Flat"
    assert "exact" not in capsys.readouterr().err
    monkeypatch.setattr(factories, "SERVED", 100)
    summary = build_index(encoder, videos, tmp_path / "large")
    assert summary.factory == "IVF,RaBitQ4"
    told = capsys.readouterr().err
    assert "so the index is IVF,RaBitQ4" in told
    assert "--factory Flat is exact" in told
    assert "nearest of" in told
    layout = json.loads((open_index(tmp_path / "large").folder / "index.json").read_text())
    assert layout["recall"]["video"]["recall"] == 1
    assert layout["recall"]["clip"]["queries"] > 0
    chosen = build_index(encoder, videos, tmp_path / "chosen", factory="Flat")
    assert chosen.factory == "Flat"


def test_an_index_never_changes_its_kind_by_itself(encoder, videos, tmp_path, monkeypatch, capsys):
    out = tmp_path / "index"
    build_index(encoder, videos[:2], out)
    clips, dimension = open_index(out).gallery.features["clip"].shape
    monkeypatch.setattr(factories, "SERVED", 4 * clips * dimension)
    capsys.readouterr()
    assert build_index(encoder, videos[:4], out).factory == "Flat"
    assert "--factory IVF,RaBitQ4 is faster" in capsys.readouterr().err
    assert build_index(encoder, videos, out).factory == "Flat"
    assert "is faster" not in capsys.readouterr().err  # told once
    assert build_index(encoder, videos, out, factory="Flat16").factory == "Flat16"
    assert build_index(encoder, videos, out).factory == "Flat16"


@pytest.mark.parametrize("kind", ["Flat16", "RaBitQ4", "IVF,RaBitQ4"])
def test_kinds_for_large_indexes_are_added_to(encoder, videos, tmp_path, kind):
    """Nine of ten at once, and the last added: the answers are those of an exact index."""
    out, exact = tmp_path / "index", tmp_path / "exact"
    build_index(encoder, videos[:-1], out, factory=kind, standardise=True)
    build_index(encoder, videos, out)
    build_index(encoder, videos, exact, factory="Flat", standardise=True)
    for level in ("video", "clip"):
        asked = open_index(exact).gallery.features[level][:]
        one, other = (open_index(each).level(level).nearest(asked, 3) for each in (out, exact))
        for (ids, scores), (same, equal) in zip(one, other, strict=True):
            assert ids.tolist() == same.tolist()
            np.testing.assert_allclose(scores, equal, rtol=0, atol=1e-6)
