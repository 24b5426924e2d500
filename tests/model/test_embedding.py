"""Embeddings: what they are of, and that no video affects another's."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from vidssl_cli.base.errors import DamagedFileError, UsageError
from vidssl_cli.config.sections import Evaluation, Input
from vidssl_cli.contract.clips import Windows
from vidssl_cli.contract.study import Layer
from vidssl_cli.media.probe import probe
from vidssl_cli.model import embedding
from vidssl_cli.model.card import Card
from vidssl_cli.model.embedding import embed
from vidssl_cli.model.encoder import Encoder
from vidssl_plugins.backbones.hooks import R3D


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    options = R3D(name="r3d", depth=10, width=8)
    card = Card(
        backbone=options,
        input=Input(resize=(24, 32), crop=16, mode="residual"),
        frames=8,
        evaluation=Evaluation(clips=3, stride=2),
        seed=0,
    )
    return Encoder(card, options.build(), torch.device("cpu"))


def features(encoder, videos, **changes):
    skipped = []
    evaluation = encoder.evaluation.model_copy(update=changes)
    found = list(embed(encoder, videos, evaluation=evaluation, skipped=skipped))
    return found, skipped


def test_shapes_spans_and_order(encoder, toy_videos):
    found, skipped = features(encoder, toy_videos)
    assert not skipped
    assert [item.video for item in found] == list(toy_videos)
    assert {item.features.shape for item in found} == {(3, 64)}
    assert {item.features.dtype for item in found} == {np.dtype(np.float32)}
    # 40 frames at 25/s; a clip of 8 frames at stride 2 spans 15 of them.
    np.testing.assert_allclose(found[0].spans, [[0, 0.6], [0.48, 1.08], [1.0, 1.6]], atol=1e-6)


@pytest.mark.parametrize(
    ("tap", "pool", "size"),
    [("pool5", "gap", 64), ("pool4", "gmp", 32), ("conv5", "flatten", 64), ("conv3", "gap", 16)],
)
def test_taps_and_pooling(encoder, toy_videos, tap, pool, size):
    found, _ = features(encoder, toy_videos[:1], tap=tap, pool=pool)
    assert found[0].features.shape == (3, size)


def test_a_long_video_passes_through_the_network_in_parts(encoder, toy_videos, monkeypatch):
    whole, _ = features(encoder, toy_videos[:1], clips=5)
    shown, taps_of = [], Encoder.taps_of

    def watch(self, clips):
        shown.append(len(clips))
        return taps_of(self, clips)

    monkeypatch.setattr(Encoder, "taps_of", watch)
    monkeypatch.setattr("vidssl_cli.model.encoder.CLIPS_AT_ONCE", 2)
    parts, _ = features(encoder, toy_videos[:1], clips=5)
    assert shown == [2, 2, 1]
    np.testing.assert_allclose(parts[0].features, whole[0].features, rtol=1e-4, atol=1e-6)


def test_an_unknown_tap_is_refused_with_those_there_are(encoder, toy_videos):
    with pytest.raises(UsageError) as refused:
        features(encoder, toy_videos, tap="pool9")
    assert "pool4" in str(refused.value.hint)


def test_a_broken_video_is_named_and_leaves_the_others_bit_identical(encoder, toy_videos, tmp_path):
    videos = list(toy_videos)
    videos[3] = replace(videos[3], path=str(tmp_path / "lost.mp4"))
    whole, _ = features(encoder, toy_videos)
    rest, skipped = features(encoder, videos)
    assert [error.where for error in skipped] == [videos[3].path]
    kept = [item for number, item in enumerate(whole) if number != 3]
    for one, other in zip(kept, rest, strict=True):
        np.testing.assert_array_equal(one.features, other.features)


def test_an_exported_model_loads_and_a_damaged_one_does_not(encoder, toy_videos, tmp_path):
    encoder.export(tmp_path / "model")
    again = Encoder.load(tmp_path / "model", "cpu")
    one, other = (features(e, toy_videos[:2])[0] for e in (encoder, again))
    np.testing.assert_array_equal(one[1].features, other[1].features)
    card = tmp_path / "model" / "model.json"
    card.write_text(card.read_text().replace('"crop": 16', '"crop": 18'))
    with pytest.raises(DamagedFileError):
        Encoder.load(tmp_path / "model", "cpu")


def test_what_is_not_a_model_says_so(tmp_path):
    with pytest.raises(UsageError, match="not a run directory"):
        Encoder.load(tmp_path, "cpu")


def test_random_weights_are_the_same_every_time_and_calibrated(encoder, toy_videos):
    random = encoder.randomised()
    assert random.digest == encoder.randomised().digest
    before = {k: v.clone() for k, v in random.backbone.state_dict().items()}
    skipped = []
    random.calibrate(toy_videos, skipped)
    changed = {k for k, v in random.backbone.state_dict().items() if not torch.equal(before[k], v)}
    assert changed
    assert all("running" in name or "num_batches" in name for name in changed)
    assert not random.backbone.training


def test_calibration_takes_videos_of_any_shape_and_number(encoder, make_video):
    card = encoder.card.model_copy(update={"input": Input(resize=20, crop=16)})
    paths = [make_video(size=size) for size in ((48, 64), (64, 48), (32, 64))]
    videos = [probe(str(path)) for path in paths]
    random = Encoder(card, card.backbone.build(), encoder.device)
    before = {k: v.clone() for k, v in random.backbone.named_buffers() if "running" in k}
    random.calibrate(videos, [])
    after = dict(random.backbone.named_buffers())
    assert not any(torch.equal(before[name], after[name]) for name in before)


def test_moments_and_spans_are_seconds_where_the_rate_varies(encoder, make_video):
    """Ten seconds at 2 frames a second, then two at 30."""
    times = [*range(0, 300, 15), *range(300, 360)]
    video = probe(str(make_video(frames=80, fps=30, times=times)))
    (clip,) = encoder.views(video, Windows(clips=1, stride=1), (3.0, 7.0))
    assert clip.tolist() == [*range(6, 14)]
    (late,) = encoder.views(video, Windows(clips=1, stride=1), (11.0, 11.2))
    assert 48 <= late[0] <= late[-1] <= 59
    assert set(np.diff(late)) == {1}  # widened, not slowed down
    (slow,) = encoder.views(video, Windows(clips=1, stride=2), (3.0, 7.0))
    assert slow.tolist() == [6, 8, 10, 12, 12, 10, 8, 6]  # there and back within the moment
    whole = encoder.views(video, Windows(clips=3, stride=2))
    np.testing.assert_array_equal(encoder.views(video, Windows(clips=3, stride=2), (0, 99)), whole)
    (item,) = embed(encoder, [video], moments=[(3.0, 7.0)], skipped=[])
    assert (item.spans.min(), item.spans.max()) == (3, 6.5)


@pytest.mark.parametrize("moment", [(0, 0.1), (0.3, 0.31), (0.1, 0.4), (0.39, 0.4)])
def test_a_moment_of_a_video_that_is_shorter_than_a_clip_is_all_of_it(encoder, make_video, moment):
    video = probe(str(make_video(frames=10, fps=25)))
    windows = Windows(clips=3, stride=2)
    np.testing.assert_array_equal(
        encoder.views(video, windows, moment), encoder.views(video, windows)
    )


def spans(encoder, video, **options):
    (item,) = embed(encoder, [video], skipped=[], **options)
    return item.spans


def test_a_clip_begins_every_so_many_seconds(encoder, toy_videos):
    # 1.6 s at 25 frames a second; a clip spans 0.6 s, and the last one ends with the video.
    found = spans(encoder, toy_videos[0], every=0.4)
    np.testing.assert_allclose(found[:, 0], [0, 0.4, 0.8, 1.0], atol=1e-6)
    np.testing.assert_allclose(found[:, 1] - found[:, 0], 0.6, atol=1e-6)
    assert len(spans(encoder, toy_videos[0], every=5.0)) == 1


def test_seconds_are_those_of_the_timestamps(encoder, toy_videos):
    # The first 20 frames last 1.2 s, the others 0.4 s.
    video = replace(toy_videos[0], times=((0, 0.0), (20, 1.2), (40, 1.6)))
    found = spans(encoder, video, every=0.6)
    np.testing.assert_allclose(found[:, 0], [0, 0.6, 1.2], atol=1e-6)


def test_clips_are_added_where_they_would_leave_frames_out(encoder, toy_videos):
    evaluation = Evaluation(clips=2, stride=2)
    found = spans(encoder, toy_videos[0], evaluation=evaluation, every="clip")
    np.testing.assert_allclose(found[:, 0], [0, 0.48, 1.0], atol=1e-6)
    alone = spans(encoder, toy_videos[0], evaluation=evaluation)
    np.testing.assert_allclose(alone[:, 0], [0, 1.0], atol=1e-6)
    four = spans(encoder, toy_videos[0], evaluation=Evaluation(clips=4, stride=2), every="clip")
    assert len(four) == 4


def test_many_clips_are_read_in_parts(encoder, toy_videos, tmp_path, monkeypatch):
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    broken = replace(toy_videos[1], path=str(tmp_path / "broken.mp4"))
    short = replace(toy_videos[2], frames=8, duration=0.32)
    videos = [toy_videos[0], broken, short, toy_videos[3]]
    results = []
    for size in (64, 4):
        monkeypatch.setattr(embedding, "_AT_ONCE", size)
        skipped = []
        results.append(list(embed(encoder, videos, every=0.1, skipped=skipped)))
        assert [error.where for error in skipped] == [broken.path]
    for one, other in zip(*results, strict=True):
        assert one.video == other.video
        np.testing.assert_array_equal(one.spans, other.spans)
        np.testing.assert_allclose(one.features, other.features, rtol=1e-4, atol=1e-5)


def test_clips_of_several_strides_have_one_middle_and_their_features_are_joined(
    encoder, toy_videos
):
    found, _ = features(encoder, toy_videos[:1], stride=(1, 2))
    wide, _ = features(encoder, toy_videos[:1], stride=2)
    np.testing.assert_array_equal(found[0].spans, wide[0].spans)
    video = toy_videos[0]
    both = Windows(clips=3, stride=(1, 2)).of(video.frames, 8)
    assert both.shape == (3, 2, 8)
    assert (abs(both[:, 0].mean(1) - both[:, 1].mean(1)) <= 0.5).all()
    for number in range(2):
        skipped = []
        views = iter([(video, both[:, number])])
        ((_, _, (alone,)),) = encoder.read(views, [Layer("pool5")], "centre", skipped)
        np.testing.assert_array_equal(found[0].features[:, 64 * number : 64 * (number + 1)], alone)


def test_crops_of_several_strides_are_joined_crop_by_crop(encoder, toy_videos):
    video, layers = toy_videos[0], [Layer("pool5")]
    both = Windows(clips=2, stride=(1, 2)).of(video.frames, 8)

    def read(frames):
        ((_, _, (found,)),) = encoder.read(iter([(video, frames)]), layers, "three", [])
        return found

    expected = np.concatenate([read(both[:, 0]), read(both[:, 1])], 1)
    assert expected.shape == (6, 128)
    np.testing.assert_array_equal(read(both), expected)


def test_a_moment_is_as_long_as_a_clip_of_the_largest_stride(encoder, toy_videos):
    joined = encoder.views(toy_videos[0], Windows(clips=1, stride=(1, 2)), (0.6, 0.7))
    (wide,) = encoder.views(toy_videos[0], Windows(clips=1, stride=2), (0.6, 0.7))
    np.testing.assert_array_equal(joined[0, 1], wide)
    assert (joined.min(), joined.max()) == (wide.min(), wide.max())
