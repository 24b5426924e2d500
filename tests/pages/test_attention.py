"""`vidssl visualize`: the run beside random weights, for runs with a classifier and without."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vidssl_cli.base.errors import UsageError
from vidssl_cli.cli import app
from vidssl_cli.cli.failures import run as run_command
from vidssl_cli.config.recipe import FinetuneRecipe
from vidssl_cli.data.views import decode_views
from vidssl_cli.media.encode import write_mp4
from vidssl_cli.media.probe import probe
from vidssl_cli.pages import heatmap
from vidssl_cli.pages.attention import visualize
from vidssl_cli.pages.attention_clips import Clip
from vidssl_cli.pages.attention_maps import Explainer, Settings
from vidssl_cli.search.queries import Query
from vidssl_cli.training.finetune import finetune
from vidssl_cli.training.session import Session
from vidssl_plugins.backbones.hooks import C3DLight


@pytest.fixture(scope="module")
def pretrained(toy_encoder, tmp_path_factory):
    out = tmp_path_factory.mktemp("visualized") / "model"
    encoder = toy_encoder()
    encoder.card = encoder.card.model_copy(update={"seed": 7})  # draws other random weights
    encoder.export(out)
    return out


@pytest.fixture(scope="module")
def finetuned(pretrained, toy_videos, toy_recipe):
    out = pretrained.parent / "finetuned"
    document = {
        "task": "finetune",
        "sampler": {"name": "uniform", "frames": 8, "views": 2},
        "evaluation": {"clips": 2},
        "hidden": [6],
        "train": toy_recipe(epochs=1)["train"],
    }
    recipe = FinetuneRecipe.model_validate(document)
    finetune(recipe, toy_videos, pretrained, Session(out, device="cpu"))
    return out


def read(path):
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@pytest.mark.parametrize(("method", "tap"), [("attention", "conv2"), ("guided_backprop", None)])
def test_a_clip_becomes_a_sheet_a_video_and_a_page(method, tap, pretrained, toy_videos, tmp_path):
    out = tmp_path / "out"
    settings = Settings(method, tap, clips=2, side=32, singles=True)
    texts = [toy_videos[0].path, f"{toy_videos[1].path}@0.2-0.9"]
    drawings, broken = visualize(pretrained, texts, out, settings, device="cpu")
    assert not broken
    assert [drawing.video for drawing in drawings] == [v.path for v in toy_videos[:2] for _ in "ab"]
    assert drawings[0].frames[0] == 0
    assert drawings[1].frames[-1] == 39
    assert set(drawings[0].shown) == {"run", "random"}
    wide = 3 * 32 + 2 * heatmap.GAP
    assert read(drawings[0].sheet).shape == (1, wide, 8 * 32 + 7 * heatmap.GAP, 3)
    assert read(drawings[0].movie).shape == (8, 32, wide, 3)
    singles = sorted(path.name for path in (out / "001-0-1").iterdir())
    assert singles[:3] == ["000-frames.png", "000-random.png", "000-run.png"]
    assert len(singles) == 24
    shown = [read(out / "001-0-1" / name)[0] for name in singles[:3]]
    assert not np.array_equal(shown[1], shown[2])  # the weights differ, and so do the maps
    page = (out / "index.html").read_text()
    assert page.count("<section>") == 4
    again = visualize(pretrained, texts, tmp_path / "again", settings, device="cpu")
    sheets = [Path(drawn[0].sheet).read_bytes() for drawn in (drawings, again[0])]
    assert sheets[0] == sheets[1]


def test_frames_are_shown_as_they_are_even_if_the_network_sees_differences(
    pretrained, toy_videos, tmp_path
):
    settings = Settings(side=16, singles=True)  # the network's own size
    (drawing,), _ = visualize(
        pretrained, [toy_videos[0].path], tmp_path / "o", settings, device="cpu"
    )
    shown = read(tmp_path / "o/001-0/000-frames.png")[0]
    frame = read(toy_videos[0].path)[drawing.frames[0]]
    assert shown.mean((0, 1)) == pytest.approx(frame.mean((0, 1)), abs=12)
    assert shown.std() > 20  # differences lie around mid-grey, and are weaker


def test_a_classifier_says_which_class_and_a_tap_overrules_it(finetuned, toy_videos, tmp_path):
    texts = [toy_videos[0].path]
    settings = Settings("guided_backprop", side=16)
    (drawing,), _ = visualize(finetuned, texts, tmp_path / "a", settings, device="cpu")
    assert all(said.startswith("logit of class ") for said in drawing.shown.values())
    settings = replace(settings, tap="conv3")
    (drawing,), _ = visualize(finetuned, texts, tmp_path / "b", settings, device="cpu")
    assert set(drawing.shown.values()) == {"length of conv3"}


def test_without_a_classifier_the_representation_is_propagated(pretrained, toy_videos, tmp_path):
    settings = Settings("guided_backprop", side=16)
    (drawing,), _ = visualize(
        pretrained, [toy_videos[0].path], tmp_path / "a", settings, device="cpu"
    )
    assert set(drawing.shown.values()) == {"length of pool5"}


class Functional(torch.nn.Module):
    """A network that has no module for its ReLU; it answers to the left half of the picture."""

    taps = {"conv1": 1, "feat": 1}  # noqa: RUF012

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1, 3, 1, 1, 1))

    def forward(self, clips):
        conv1 = F.relu(F.conv3d(clips[..., : clips.shape[-1] // 2], self.weight, stride=(2, 1, 1)))
        return {"conv1": conv1, "feat": conv1.mean((2, 3, 4))}


def test_a_foreign_network_is_guided_to_what_it_looks_at():
    network = Functional()
    card = SimpleNamespace(tap="feat", pool="gap")
    encoder = SimpleNamespace(backbone=network, evaluation=card, taps_of=network, project=dict)
    explainer = Explainer(encoder)
    clip = torch.rand(1, 3, 4, 8, 8, generator=torch.Generator().manual_seed(0)) - 0.2
    ((values, said),) = explainer.explain(clip, Settings("guided_backprop", side=8))
    assert said == "length of feat"
    assert values.shape == (4, 8, 8)
    assert values[0, :, :4].max() == 1
    assert values[0, :, 4:].max() == 0
    assert values[1].max() == 0  # a stride of two frames skips every other one
    ((_, said),) = explainer.explain(clip, Settings(side=8))
    assert said == "attention of conv1"


def test_attention_is_of_conv5_even_if_a_map_comes_after_it():
    options = C3DLight(name="c3d_light", width=4, representation="gap")
    network = options.build().eval()
    clip = torch.zeros(1, 3, 8, 32, 32)
    assert network(clip)["pool5"].ndim == 5
    explainer = Explainer(SimpleNamespace(backbone=network, taps_of=network))
    ((_, said),) = explainer.explain(clip, Settings())
    assert said == "attention of conv5"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--tap", "conv9"], "has no tap 'conv9'"),
        (["--tap", "feat"], "the tap feat is a vector here"),
    ],
)
def test_a_tap_that_cannot_be_drawn(options, expected, pretrained, toy_videos, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["visualize", str(pretrained), toy_videos[0].path, "--out", str(out)]
    assert run_command(app, [*arguments, "--device", "cpu", *options]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert expected in said
    assert "conv5" in said  # what it has


def test_unreadable_videos_are_told(pretrained, toy_videos, tmp_path, capsys):
    lost, bad = tmp_path / "lost.mp4", tmp_path / "bad.mp4"
    bad.write_bytes(b"no video at all")
    common = ["--device", "cpu", "--side", "16", "--json", "--out"]
    arguments = ["visualize", str(pretrained), str(lost), str(bad), "#3"]
    assert run_command(app, [*arguments, *common, str(tmp_path / "a")]) == 1
    assert "none of 3 videos can be read" in json.loads(capsys.readouterr().out)["error"]["message"]
    assert not (tmp_path / "a").exists()
    arguments.append(toy_videos[0].path)
    assert run_command(app, [*arguments, *common, str(tmp_path / "b")]) == 0
    document = json.loads(capsys.readouterr().out)
    broken = {row["path"]: row["reason"] for row in document["broken"]}
    assert list(broken) == [str(lost), str(bad), "#3"]
    assert broken["#3"] == broken[str(lost)] == "there is no such file"
    assert len(document["clips"]) == 1
    assert run_command(app, [*arguments, *common, str(tmp_path / "c"), "--strict"]) == 5


def test_a_folder_that_holds_something_is_left_alone(pretrained, toy_videos, tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    arguments = ["visualize", str(pretrained), toy_videos[0].path, "--out", str(tmp_path)]
    assert run_command(app, [*arguments, "--device", "cpu"]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_names_in_the_page_are_text(pretrained, toy_videos, tmp_path):
    name = tmp_path / """<script>alert(1)<'"& .mp4"""
    shutil.copyfile(toy_videos[0].path, name)
    visualize(pretrained, [str(name)], tmp_path / "out", Settings(side=16), device="cpu")
    page = (tmp_path / "out" / "index.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_colours_rise_in_lightness_and_lie_over_grey_frames():
    scale = heatmap.coloured(np.linspace(0, 1, 50, dtype=np.float32))
    assert (np.diff(scale @ [0.299, 0.587, 0.114]) > 0).all()
    frames = np.full((1, 4, 4, 3), (255, 0, 0), np.uint8)
    values = np.zeros((1, 4, 4), np.float32)
    values[0, 0, 0] = 1
    shown = heatmap.overlay(frames, values).astype(int)
    assert shown[0, 1, 1, 0] - shown[0, 1, 1, 2] < 10  # the red is gone
    assert shown[0, 0, 0, 0] > 2 * shown[0, 1, 1, 0]


def test_a_sheet_of_a_long_clip_shows_every_nth_frame():
    frames = np.arange(40, dtype=np.uint8)[:, None, None, None].repeat(3, 3) + np.zeros(
        (1, 2, 2, 1), np.uint8
    )
    shown = heatmap.sheet([frames])[0, :: 2 + heatmap.GAP, 0]
    assert shown.tolist() == list(range(0, 40, 3))


def test_paces_of_a_clip_have_their_middle_in_common(pretrained, toy_videos, tmp_path):
    settings = Settings(side=16, strides=(1, 2, 3), clips=1)
    drawings, _ = visualize(pretrained, [toy_videos[0].path], tmp_path / "o", settings)
    assert [drawing.stride for drawing in drawings] == [1, 2, 3]
    frames = np.array([drawing.frames for drawing in drawings])
    assert np.diff(frames, axis=1).tolist() == [[1] * 7, [2] * 7, [3] * 7]
    middles = (frames[:, 0] + frames[:, -1]) / 2
    assert np.abs(middles - 19.5).max() <= 1
    assert [Path(drawing.sheet).stem for drawing in drawings] == [
        f"001-0-stride{stride}" for stride in (1, 2, 3)
    ]


def test_the_last_frames_of_all_paces_are_side_by_side(pretrained, toy_videos, tmp_path):
    settings = Settings(side=16, strides=(1, 3), clips=2, singles=True)
    out = tmp_path / "o"
    drawings, _ = visualize(pretrained, [toy_videos[0].path], out, settings, device="cpu")
    names = [Path(drawing.last_frames).name for drawing in drawings]
    assert names == ["001-0-1-strides.png"] * 2 + ["001-0-2-strides.png"] * 2
    (joined,) = read(drawings[2].last_frames)
    columns = [joined[:, :16], joined[:, 16 + heatmap.GAP :]]
    for stride, column in zip((1, 3), columns, strict=True):
        for row, kind in enumerate(("frames", "run", "random")):
            top = row * (16 + heatmap.GAP)
            (last,) = read(out / f"001-0-2-stride{stride}" / f"007-{kind}.png")
            assert np.array_equal(column[top : top + 16], last)
    page = (out / "index.html").read_text()
    assert page.count("<section>") == 4 + 2
    assert f"stride 3: frame {drawings[3].frames[-1]}" in page


def test_a_stride_that_does_not_fit_is_told(pretrained, toy_videos, tmp_path, capsys):
    settings = Settings(side=16, strides=(1, 9), clips=2)
    drawings, _ = visualize(pretrained, [toy_videos[0].path], tmp_path / "o", settings)
    assert [drawing.stride for drawing in drawings] == [1, 5] * 2  # 7 x 5 + 1 of 40 frames
    assert np.diff(drawings[1].frames).tolist() == [5] * 7
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("8 frames at a stride of 9 do not fit into its 40 frames") == 1
    assert "drawn at a stride of 5" in said


@pytest.mark.parametrize("value", ["0", "1,", "a", "-1", "1.5", ""])
def test_what_is_no_list_of_strides(value, pretrained, toy_videos, tmp_path, capsys):
    arguments = ["visualize", str(pretrained), toy_videos[0].path, "--out", str(tmp_path / "o")]
    assert run_command(app, [*arguments, f"--stride={value}"]) == 2
    assert "is not a list of strides" in capsys.readouterr().err


def test_strides_and_decisions_reach_the_command(finetuned, toy_videos, tmp_path, capsys):
    arguments = ["visualize", str(finetuned), toy_videos[0].path, "--out", str(tmp_path / "o")]
    arguments += ["--device", "cpu", "--side", "16", "--json", "--stride", "2,1,2"]
    asked = ["--method", "guided_backprop", "--decision", "class=class 1"]
    assert run_command(app, [*arguments, *asked]) == 0
    clips = json.loads(capsys.readouterr().out)["clips"]
    assert [clip["stride"] for clip in clips] == [2, 1]
    assert all(said.startswith("logit of class 1, ") for c in clips for said in c["shown"].values())
    assert run_command(app, [*arguments, *asked[:3], "pace", "--overwrite"]) == 2
    message = json.loads(capsys.readouterr().out)["error"]["message"]
    assert message == "the run decides nothing about 'pace'"


@pytest.fixture(scope="module")
def crossing(tmp_path_factory):
    """A square that moves to the right over a still ground, 24 frames of 96 x 128."""
    frames = np.repeat(texture(0, 96, 128)[None], 24, 0)
    for number, frame in enumerate(frames):
        frame[32:64, 32 + number : 64 + number] = texture(1, 32, 32)
    path = tmp_path_factory.mktemp("crossing") / "crossing.mp4"
    write_mp4(path, frames, 25, crf=10)
    return path


def texture(seed, height, width):
    """Draw blurred noise."""
    noise = np.random.default_rng(seed).integers(0, 256, (1, 3, height // 4, width // 4))
    noise = torch.from_numpy(noise.astype(np.float32))
    large = F.interpolate(noise, (height, width), mode="bilinear")
    return large[0].permute(1, 2, 0).round().numpy().astype(np.uint8)


def clip_of(path):
    video = probe(str(path))
    frames = np.arange(8, 16)
    return Clip(Query("", video), "", "", frames, 1, decode_views(video, [frames], (96, 128))[0])


def test_motion_boundaries_lie_around_what_moves(crossing):
    """It is at columns 40 to 79 and rows 32 to 63; the crop begins at column 16."""
    u, v = clip_of(crossing).boundaries(96, 96).numpy()
    around = np.zeros((96, 96), bool)
    around[24:72, 16:72] = True
    assert u[around].mean() > 10 * u[~around].mean()
    assert u.sum() > 2 * v.sum()  # it moves to the right


def test_a_moving_camera_has_no_motion_boundaries(crossing, tmp_path):
    wide = texture(0, 96, 192)
    pan = np.stack([wide[:, number : number + 128] for number in range(24)])
    write_mp4(tmp_path / "pan.mp4", pan, 25, crf=10)
    inside = np.s_[:, 16:-16, 16:-16]
    moving, fixed = (
        clip_of(path).boundaries(96, 96)[inside].mean() for path in (tmp_path / "pan.mp4", crossing)
    )
    assert moving < 0.1 * fixed


def test_boundaries_of_a_known_field(crossing, monkeypatch):
    """Flow that grows by 0.01 a pixel, in 7 fields: Prewitt's kernel makes it 6 x 0.01 each."""
    field = np.zeros((1, 7, 2, 96, 128), np.float32)
    field[0, :, 0] = 0.01 * np.arange(128)
    field[0, :, 1] = -0.02 * np.arange(96)[:, None] + 3
    monkeypatch.setattr("vidssl_cli.pages.attention_clips.flow_of_views", lambda *_: field)
    u, v = clip_of(crossing).boundaries(96, 96)[:, 1:-1, 1:-1].numpy()
    assert u == pytest.approx(7 * 6 * 0.01, rel=1e-3)
    assert v == pytest.approx(7 * 6 * 0.02, rel=1e-3)


def test_motion_boundaries_are_drawn_next_to_the_attention(
    pretrained, crossing, toy_videos, tmp_path
):
    settings = Settings(side=32, boundaries=True, singles=True)
    texts = [str(crossing), toy_videos[0].path]
    (drawing, _), _ = visualize(pretrained, texts, tmp_path / "o", settings, device="cpu")
    (joined,) = read(drawing.boundaries)
    assert joined.shape == (32, 4 * 32 + 3 * heatmap.GAP, 3)
    frame, run, *_ = (joined[:, place : place + 32] for place in range(0, 144, 32 + heatmap.GAP))
    for kind, picture in {"frames": frame, "run": run}.items():
        assert np.array_equal(picture, read(tmp_path / f"o/001-crossing/004-{kind}.png")[0])
    page = (tmp_path / "o" / "index.html").read_text()
    assert page.count("<figcaption>motion boundaries M_u (horizontal)</figcaption>") == 2
    (plain,), _ = visualize(pretrained, texts[:1], tmp_path / "p", Settings(side=16), device="cpu")
    assert plain.boundaries is None


def test_motion_boundaries_need_opencv(pretrained, toy_videos, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    settings = Settings(side=16, boundaries=True)
    with pytest.raises(UsageError, match="OpenCV"):
        visualize(pretrained, [toy_videos[0].path], tmp_path / "o", settings, device="cpu")
    assert not (tmp_path / "o").exists()
