import dataclasses

import numpy as np
import pytest

from vidssl_cli.base.errors import UsageError
from vidssl_cli.contract.metrics import cosine_ranking, standardise, topk_hits
from vidssl_cli.data import synth
from vidssl_cli.data.synth import MOTIONS, synthesise
from vidssl_cli.evaluation.baselines import colour, motion_energy
from vidssl_cli.media.probe import probe

PER_CLASS = 20


@pytest.fixture(scope="module")
def frames():
    """Uncompressed videos: {class: (N, T, H, W, 3)}."""
    return {
        motion: np.stack(
            [synth.render(motion, np.random.default_rng([7, c, n])) for n in range(PER_CLASS)]
        )
        for c, motion in enumerate(MOTIONS)
    }


def top1(frames, feature):
    """Look up the second half of every class in the first."""
    rows = np.array([[feature(video) for video in videos] for videos in frames.values()])
    gallery, queries = rows[:, : PER_CLASS // 2], rows[:, PER_CLASS // 2 :]
    classes = np.repeat(np.arange(len(rows)), PER_CLASS // 2)
    gallery, queries = gallery.reshape(len(classes), -1), queries.reshape(len(classes), -1)
    ranking = cosine_ranking(standardise(queries, gallery), standardise(gallery, gallery), 1)
    return topk_hits(ranking, classes, classes, [1])["top1"]


def sharpness(video):
    frame = video[48].astype(float)
    return [np.abs(np.diff(frame, n, axis)).mean() for n in (1, 2) for axis in (0, 1)]


def blurred(video):
    return video[48].reshape(8, 8, 8, 8, 3).mean((1, 3)).ravel()


@pytest.mark.parametrize("feature", [colour, sharpness, blurred])
def test_one_frame_says_nothing_about_the_class(frames, feature):
    # Chance is 0.125, and its standard error over 80 queries 0.037.
    assert top1(frames, feature) < 0.125 + 3 * 0.037


def test_motion_energy_says_something_but_not_all(frames):
    assert 0.3 < top1(frames, motion_energy) < 0.8


def test_everything_moves_and_nothing_moves_fast(frames):
    for motion, videos in frames.items():
        change = np.abs(np.diff(videos.astype(int), axis=1)).mean((1, 2, 3, 4))
        assert change.min() > 1, motion
        assert change.max() < 30, motion


@pytest.mark.parametrize("motion", sorted(set(MOTIONS) - {"pulse", "spin"}))
def test_travelling_cameras_have_the_speed_that_was_drawn(motion):
    phase = np.arange(0, 3, 1e-3)
    course = MOTIONS[motion](phase, 1.5, 20.0)
    path = course.along + 1j * course.across * np.ones_like(phase)
    assert np.abs(np.diff(path)).sum() / (3 * 20.0) == pytest.approx(1.5, rel=0.01)


@pytest.mark.parametrize("motion", ["pulse", "spin"])
def test_zooming_and_turning_cameras_have_it_on_average_over_the_frame(motion):
    phase = np.arange(0, 3, 1e-3)
    course = MOTIONS[motion](phase, 1.5, 20.0)
    axis = np.arange(synth.SIDE) - (synth.SIDE - 1) / 2
    radius = np.hypot(axis, axis[:, None]).mean()
    moved = np.abs(np.diff(course.turn + course.zoom)).sum() * radius
    assert moved / (3 * 20.0) == pytest.approx(1.5, rel=0.02)


def test_the_texture_has_no_seam():
    picture = synth.texture(np.random.default_rng(0))
    steps = np.abs(np.diff(picture, axis=2, append=picture[:, :, :1])).mean((0, 1))
    assert steps[-1] < 1.5 * steps[:-1].mean()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world") / "videos"
    return folder, synthesise(folder, seed=3, per_class=(2, 1))


def test_the_manifest_knows_what_a_scan_would_find(world):
    _, videos = world
    assert [v.split for v in videos] == ["train"] * 16 + ["test"] * 8
    assert {v.label for v in videos} == set(MOTIONS)
    for video in videos[::7]:
        # Of another run, the time of change is another.
        found = dataclasses.replace(probe(video.path), mtime_ns=None, ends_sha256=None)
        same = dataclasses.replace(
            found, label=video.label, split=video.split, keyframes=video.keyframes
        )
        assert video == same


def test_the_folders_say_the_same_as_the_manifest(world):
    from vidssl_cli.data.layouts import find_videos

    folder, videos = world
    rows = {(v.path, v.label, v.split) for v in videos}
    assert {(v.path, v.label, v.split) for v in find_videos(folder)} == rows


def test_a_video_depends_on_seed_class_split_and_number_alone(world, tmp_path):
    folder, _ = world
    synthesise(tmp_path / "fewer", seed=3, per_class=(1, 0), motions=["spin", "circle"])
    synthesise(tmp_path / "other", seed=4, per_class=(1, 0), motions=["circle"])
    first = {
        place: (place / "train" / "circle" / "000.mp4").read_bytes()
        for place in (folder, tmp_path / "fewer", tmp_path / "other")
    }
    assert first[folder] == first[tmp_path / "fewer"] != first[tmp_path / "other"]
    circle = folder / "train" / "circle"
    assert len({path.read_bytes() for path in circle.iterdir()}) == 2
    assert (folder / "test" / "circle" / "000.mp4").read_bytes() != first[folder]


def test_only_folders_of_its_own_are_replaced_and_only_if_told(tmp_path):
    small = {"per_class": (1, 0), "motions": ["spin"]}
    folder = tmp_path / "world"
    synthesise(folder, **small)
    with pytest.raises(UsageError, match="already"):
        synthesise(folder, **small)
    synthesise(folder, **small, seed=1, overwrite=True)
    (tmp_path / "mine.txt").touch()
    with pytest.raises(UsageError, match="not empty"):
        synthesise(tmp_path, **small, overwrite=True)
    assert (tmp_path / "mine.txt").exists()
    (folder / "mine.txt").touch()
    with pytest.raises(UsageError, match="not empty"):
        synthesise(folder, **small, overwrite=True)
    assert (folder / "mine.txt").exists()


def test_an_unknown_motion_is_named():
    with pytest.raises(UsageError, match="wobble"):
        synthesise("nowhere", motions=["spin", "wobble"])
