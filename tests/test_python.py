"""`import vidssl`: the examples of docs/python.md, and what they promise."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import vidssl
from vidssl_cli.media.decode import read_frames
from vidssl_cli.media.probe import probe
from vidssl_cli.model.embedding import embed
from vidssl_cli.model.encoder import Encoder
from vidssl_cli.model.export import NEEDED, export, reference
from vidssl_cli.search.build import build_index

PAGE = Path(__file__).parents[1] / "docs" / "python.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)


@pytest.fixture(scope="module")
def place(toy_encoder, toy_videos, tmp_path_factory):
    """Return a folder with videos, a network and an index."""
    folder = tmp_path_factory.mktemp("python")
    (folder / "videos").symlink_to(Path(toy_videos[0].path).parent)
    toy_encoder().export(folder / "run")
    build_index(toy_encoder(), toy_videos, folder / "index")
    return folder


@pytest.fixture
def encoder(place):
    return vidssl.load(place / "run", device="cpu")


def test_the_examples_run(place, toy_videos, monkeypatch, capsys):
    examples = [text for text in EXAMPLES if "export.load" not in text and "session" not in text]
    assert len(examples) == 7
    text = "\n".join(examples)
    for number in (0, 1):
        text = text.replace(f"videos/{number}.mp4", toy_videos[number].path)
    monkeypatch.chdir(place)
    exec(text, {})
    told = capsys.readouterr().out
    assert "not-there.mp4: cannot be read" in told
    assert "[0]" in told


def test_an_exported_file_is_loaded_with_torch(place, monkeypatch, encoder):
    (example,) = [text for text in EXAMPLES if "export.load" in text]
    monkeypatch.chdir(place)
    export(Encoder.load(place / "run", "cpu"), "torch-export", Path("network.pt2"))
    names = {}
    exec(example, names)
    with torch.no_grad():
        run = reference(Encoder.load(place / "run", "cpu"))(names["clips"])
    torch.testing.assert_close(names["features"], run, rtol=1e-5, atol=1e-5)


def test_an_exported_file_is_loaded_with_onnxruntime(place, monkeypatch, toy_videos):
    for name in NEEDED:
        pytest.importorskip(name, reason="needs vidssl[export]")
    examples = [text for text in EXAMPLES if "session" in text]
    monkeypatch.chdir(place)
    network = Encoder.load(place / "run", "cpu")
    export(network, "onnx", Path("network.onnx"))
    names = {}
    exec("\n".join(examples), names)
    assert names["features"].shape == (3, 32)
    # A video by hand is what vidssl makes of it.
    video = toy_videos[0]
    frames = read_frames(video, range(video.frames), network.card.input.resize)
    clips = names["clips_of"](frames, names["contract"])
    (found,) = names["session"].run(["features"], {"clips": clips})
    (wanted,) = embed(network, [video], skipped=[])
    np.testing.assert_allclose(found, wanted.features, rtol=0.05, atol=0.02)  # bf16, colours


def test_importing_it_is_light():
    code = "import sys, vidssl; dir(vidssl); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    assert set(vidssl.__all__) == set(dir(vidssl))
    assert all(getattr(vidssl, name) for name in vidssl.__all__)
    with pytest.raises(AttributeError, match="no attribute 'serach'"):
        vidssl.serach  # noqa: B018


def test_it_embeds_as_the_command_line_does(encoder, toy_encoder, toy_videos):
    expected = list(embed(toy_encoder(), toy_videos[:3], every=0.2, skipped=[]))
    clips = encoder.embed(toy_videos[:3], level="clip", every=0.2)
    np.testing.assert_array_equal(clips.vectors, np.concatenate([e.features for e in expected]))
    np.testing.assert_array_equal(clips.seconds, np.concatenate([e.spans for e in expected]))
    assert clips.sources.tolist() == [n for n, e in enumerate(expected) for _ in e.spans]
    videos = encoder.embed([video.path for video in toy_videos[:3]], every=0.2)
    means = [e.features.mean(0, dtype=np.float64) for e in expected]
    np.testing.assert_allclose(videos.vectors, means, rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(videos.unit, axis=1), 1, rtol=1e-6)


def test_frames_in_memory_are_embedded_as_a_file_of_them(encoder, make_video):
    video = probe(str(make_video(frames=40, size=(64, 96))))
    frames = read_frames(video, range(40), (64, 96))
    assert frames.shape == (40, 64, 96, 3)
    for moment in (None, (0.4, 1.2)):
        file = encoder.embed(video, moments=moment)
        array = encoder.embed(frames, fps=video.fps, moments=moment)
        np.testing.assert_allclose(array.unit @ file.unit.T, 1, atol=2e-3)  # colours are rounded
        np.testing.assert_allclose(array.seconds, file.seconds, atol=1e-6)


def test_the_backbone_takes_what_preprocess_returns(encoder):
    frames = np.random.default_rng(0).integers(0, 256, (2, encoder.frames, 50, 70, 3), np.uint8)
    clips = encoder.preprocess(frames)
    assert clips.shape == (2, 3, encoder.frames, encoder.size, encoder.size)
    torch.testing.assert_close(clips[:1], encoder.preprocess(frames[0]))
    assert encoder.backbone(clips)
    with pytest.raises(vidssl.UsageError, match="not uint8"):
        encoder.preprocess(frames / 255)


def test_files_that_cannot_be_read(encoder, toy_videos, tmp_path):
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video")
    paths = [toy_videos[0].path, bad, toy_videos[1].path]
    with pytest.raises(vidssl.MediaError):
        encoder.embed(paths)
    skipped = []
    assert encoder.embed(paths, skipped=skipped).sources.tolist() == [0, 2]
    assert [error.where for error in skipped] == [str(bad)]
    with pytest.raises(vidssl.MediaError):
        encoder.embed([bad], skipped=[])
    for videos, moments in (([], None), ([bad], [None, None])):
        with pytest.raises(vidssl.UsageError):
            encoder.embed(videos, moments=moments)


def test_an_index_answers(place, toy_videos):
    index = vidssl.Index(place / "index", device="cpu")
    assert len(index) == len(toy_videos)
    assert [video.path for video in index.videos] == [video.path for video in toy_videos]
    first, second = index.search_many([toy_videos[3].path, 4], exclude_self=False, top=3)
    assert (first[0].path, second[0].item) == (toy_videos[3].path, 4)
    vectors = index.vectors()
    scores = np.sort(vectors @ vectors[4])[::-1][:3]
    np.testing.assert_allclose([hit.score for hit in second], scores, atol=1e-5)
    assert vidssl.load(place / "index", device="cpu").embed(toy_videos[0].path).vectors.any()
    assert index.encoder.backbone is index.encoder.backbone
    with pytest.raises(vidssl.VidsslError):
        index.search("not-there.mp4")


def test_wrong_arguments_are_named(place, encoder, toy_videos):
    index, path = vidssl.Index(place / "index", device="cpu"), toy_videos[0].path
    wrong = {
        "level": ["moments", 3],
        "group_by": ["path"],
        "top": [0, -1, None],
        "moment": [(2, 1), (1,), 2, (0, float("nan")), "12"],
    }
    for name, values in wrong.items():
        for value in values:
            with pytest.raises(vidssl.UsageError) as refused:
                index.search(path, **{name: value})
            assert refused.value.where == name
    for name, value in [("level", "moment"), ("every", 0), ("every", "x"), ("fps", 0.0),
                        ("moments", (5, 1)), ("moments", [(0, "x")])]:  # fmt: skip
        with pytest.raises(vidssl.UsageError) as refused:
            encoder.embed(path, **{name: value})
        assert refused.value.where == name.replace("moments", "moment")
    with pytest.raises(vidssl.UsageError, match="level is 'moment'"):
        index.vectors("moment")
    with pytest.raises(vidssl.UsageError, match="is a folder"):
        index.search(place / "videos")
    assert index.search_many([]) == []


def test_a_query_that_cannot_be_read_tells_why(place):
    index = vidssl.Index(place / "index", device="cpu")
    with pytest.raises(vidssl.MediaError, match="no such file"):
        index.search("nope.mp4")
    with pytest.raises(vidssl.MediaError, match="the gallery's items are"):
        index.search(99)


def test_a_scan_finds_videos(place):
    skipped = []
    videos = vidssl.scan(place / "videos", skipped=skipped)
    assert videos
    assert all(video.duration for video in videos)
    assert skipped == []
