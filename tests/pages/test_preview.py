"""The preview page shows what the loader gives, all of it, and obeys no name."""

import io
import json
import re
import shutil
from base64 import b64decode
from dataclasses import replace
from html import unescape

import av
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from vidssl_cli.base.errors import UsageError
from vidssl_cli.cli import app
from vidssl_cli.cli.failures import run
from vidssl_cli.config.recipe import PretrainRecipe
from vidssl_cli.config.sections import Augment, Colour, Input
from vidssl_cli.contract.clips import ClipPlan, Draw, View
from vidssl_cli.contract.hooks import SamplerOptions
from vidssl_cli.data.augment import Parameters, centre, draw_parameters
from vidssl_cli.data.colour import NO_CHANGE, affine, draw_colours, steps_of
from vidssl_cli.data.manifest import write_manifest
from vidssl_cli.media.encode import encode_png
from vidssl_cli.pages import heatmap
from vidssl_cli.pages.clip_strip import (
    GAIN,
    boundary_pictures,
    describe,
    flow_pictures,
    follows,
    motion,
    pictures,
    plot,
    timeline,
    wheel,
)
from vidssl_cli.pages.preview import preview
from vidssl_cli.training.pretrain import pretrain
from vidssl_cli.training.session import Session
from vidssl_plugins.samplers.hooks import TemporalTransforms

HOSTILE = """<script>alert(1)</script>"'onerror=x& $title ${x}.mp4"""
CELL = re.compile(r"<dt>(\w+)</dt><dd>([^<]+)(?:<small>(.+?)</small>)?</dd>")
"""A label: its name, what it is, and its number among how many."""
TRANSFORMS = {"name": "temporal_transforms", "frames": 8, "speeds": [0, 1]}


@pytest.fixture
def recipe(toy_recipe):
    return PretrainRecipe.model_validate(toy_recipe())


@pytest.fixture
def transforms(toy_recipe):
    changes = {"sampler": TRANSFORMS, "pretext": {"name": "temporal_transforms"}}
    return PretrainRecipe.model_validate(toy_recipe() | changes)


@pytest.fixture
def train(toy_videos):
    return [video for video in toy_videos if video.split == "train"]


def draw(recipe, data, tmp_path, **place):
    preview("toy", recipe, data, tmp_path / "page.html", **place)
    return (tmp_path / "page.html").read_text(encoding="utf-8")


@pytest.fixture
def loader(tmp_path, monkeypatch):
    """A function that begins a training and returns the loader that it would learn from."""
    seen = []

    def fit(learner, loader, settings, run, world, *, on_nan):
        run.facts["skipped_steps"] = 0
        seen.append(loader)

    monkeypatch.setattr("vidssl_cli.training.pretrain.fit", fit)

    def begin(recipe, videos):
        session = Session(tmp_path / "run", overwrite=True, device="cpu", workers=0)
        pretrain(recipe, videos, session)
        return seen[-1]

    return begin


def articles(page):
    return re.findall(r"<article>.*?</article>", page, re.S)


def numbers(article):
    return [int(number) for number in re.findall(r"<li[^>]*>(\d+)</li>", article)]


def frames(article, count):
    """Decode the rows of an article into (T, H, W, 4), by what they are."""
    rows = re.findall(
        r'<figcaption>(.+?)</figcaption><img src="data:image/png;base64,([^"]+)"', article
    )
    shown = {}
    for what, url in rows:
        with av.open(io.BytesIO(b64decode(url))) as container:
            joined = next(container.decode(video=0)).to_ndarray(format="rgba")
        shown[what] = joined.reshape(len(joined), count, -1, 4).transpose(1, 0, 2, 3)
    return shown


@pytest.mark.parametrize("place", [{}, {"epoch": 2, "step": 1}], ids=str)
def test_the_page_shows_the_clips_that_training_gets(recipe, train, loader, tmp_path, place):
    shown = articles(draw(recipe, train, tmp_path, videos=3, **place))
    feed = loader(recipe, train)
    batch = next(feed.epoch(place.get("epoch", 0), place.get("step", 0)))
    assert len(shown) == 3 * recipe.sampler.views
    expected = batch.frames[:3].flatten(0, 1).tolist()
    assert [numbers(article) for article in shown] == expected
    in_colour = recipe.model_copy(update={"input": plain(recipe)})
    colours = next(loader(in_colour, train).epoch(place.get("epoch", 0), place.get("step", 0)))
    std, mean, side = recipe.input.std, recipe.input.mean, recipe.input.crop
    for article, clip, whole in zip(
        shown, batch.clips[:3].flatten(0, 1), colours.clips[:3].flatten(0, 1), strict=True
    ):
        drawn = frames(article, 8)
        assert drawn.keys() == {"frames", "differences"}
        for row in drawn.values():
            assert (row[:, :, :side, 3] == 255).all()
            assert not row[:, :, side:, 3].any()
        differences, pixels = (each.permute(1, 2, 3, 0).numpy() * std for each in (clip, whole))
        expected = {"frames": pixels + mean, "differences": 0.5 + GAIN * differences}
        for what, values in expected.items():
            found = drawn[what][:, :, :side, :3]
            np.testing.assert_allclose(found, values.clip(0, 1) * 255, atol=0.51)


def plain(recipe):
    """Return the recipe's input with frames as they are."""
    return recipe.input.model_copy(update={"mode": "rgb"})


def test_pictures_in_colour_stand_alone(recipe, train, tmp_path):
    in_colour = recipe.model_copy(update={"input": plain(recipe)})
    (article, *_) = articles(draw(in_colour, train, tmp_path, videos=1))
    assert frames(article, 8).keys() == {"frames"}


def test_flow_and_the_labels_that_are_made_of_it(toy_recipe, train, loader, tmp_path):
    changes = {
        "sampler": {"name": "consecutive", "frames": 8},
        "pretext": {"name": "statistics", "patterns": [1]},
    }
    recipe = PretrainRecipe.model_validate(toy_recipe() | changes)
    shown = articles(draw(recipe, train, tmp_path, videos=3))
    batch = next(loader(recipe, train).epoch(0))
    words = recipe.pretext[0].own_labels(batch)
    assert len(words) == 4
    for place, article in enumerate(shown):
        _, _, (what, row), (u, of_u), (v, of_v) = frames(article, 8).items()
        colours, full = flow_pictures(batch.flow[place, 0])
        assert what == f"optical flow, full colour from {full:.2g} pixels on"
        assert np.array_equal(row[:7, :, :16, :3], colours)
        assert not row[7].any()  # nothing comes after the last frame
        assert u == "horizontal motion boundaries; last, their sum M_u"
        assert v == "vertical motion boundaries; last, their sum M_v"
        expected = boundary_pictures(batch.flow[place, 0])
        assert np.array_equal([of_u[:, :, :16, :3], of_v[:, :, :16, :3]], expected)
        for name, texts in words.items():
            assert f"<dt>{name}</dt><dd>{texts[place]}</dd>" in article


def test_flow_has_the_colour_of_its_direction():
    flow = torch.zeros(2, 4, 4, 4)
    flow[0, 1] = 3  # to the right
    flow[:, 2] = -1.5  # half as fast to the upper left, a bit off green
    colours, full = flow_pictures(flow)
    assert full == 3
    still, right, oblique, _ = colours[:, 0, 0].tolist()
    assert still == [255] * 3
    assert right == [255, 64, 64]
    assert oblique[1] > oblique[2] > oblique[0]
    assert flow_pictures(flow / 100)[1] == 1  # what hardly moves is not made to look as if it did
    disc = wheel(9)
    assert disc[0, 0, 3] == 0
    assert disc[4, 4].tolist() == [255] * 4
    assert disc[4, 8, :3].argmax() == 0
    assert disc[1, 3, :3].argmax() == 1
    assert disc[7, 3, :3].argmax() == 2


def test_motion_boundaries_are_where_flow_changes_and_their_sum_comes_last():
    """A step of 2 pixels down one side: Prewitt's kernels see it from both columns next to it."""
    flow = torch.zeros(2, 3, 8, 8)
    flow[0, 0, :, 4:] = 2
    flow[0, 1, :, 4:] = -2
    flow[0, 2] = 5  # a moving camera
    u, v = boundary_pictures(flow)
    lowest, highest = (heatmap.SCALE[place].tolist() for place in (0, -1))
    assert u.shape == v.shape == (4, 8, 8, 3)
    for field in u[:2]:
        assert (field[:, 3:5] == highest).all()
        assert (field[:, [0, 1, 2, 5, 6, 7]] == lowest).all()
    assert (u[2:] == lowest).all()  # the two steps cancel out
    assert (v == lowest).all()


def test_a_common_frame_rate_is_that_of_training(recipe, train, loader, tmp_path):
    settings = recipe.input.model_copy(update={"fps": 10.0})
    slow = recipe.model_copy(update={"input": settings})
    shown = [numbers(article) for article in articles(draw(slow, train, tmp_path, videos=4))]
    batch = next(loader(slow, train).epoch(0))
    assert shown == batch.frames.flatten(0, 1).tolist()
    assert shown != [numbers(article) for article in articles(draw(recipe, train, tmp_path))[:8]]


def test_pictures_in_colour_are_those_that_are_normalised():
    settings = Input(mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
    random = np.random.default_rng(0).integers(0, 256, (3, 2, 4, 4))
    mean, std = (torch.tensor(each).view(3, 1, 1, 1) for each in (settings.mean, settings.std))
    clip = (torch.from_numpy(random) / 255 - mean) / std
    assert np.array_equal(pictures(clip, settings), random.transpose(1, 2, 3, 0))


def test_large_pictures_are_shrunk_by_their_means():
    clip = torch.zeros(3, 2, 200, 200)
    clip[:, :, ::2] = 1  # every other line is white, from black at -1
    shown = pictures(2 * clip - 1, Input())
    assert shown.shape == (2, 100, 100, 3)
    assert set(shown.ravel().tolist()) == {128}


def test_a_page_goes_on_with_the_next_step_up_to_the_end(recipe, train, loader, tmp_path):
    feed = loader(recipe, train)
    planned = [plan for step in range(2) for _, _, plan in feed.plan(0, step)]
    expected = [view.frames.tolist() for plan in planned for view in plan.views]
    for videos in (7, 99):
        page = draw(recipe, train, tmp_path, videos=videos)
        assert [numbers(article) for article in articles(page)] == expected[: 2 * videos]


def test_labels_are_shown_with_a_dash_where_they_do_not_apply(transforms, train, loader, tmp_path):
    page = draw(transforms, train, tmp_path, videos=1)
    ((_, _, plan),) = loader(transforms, train).plan(0, 0)[:1]
    speed = int(plan.labels["speed"][0])
    told = ("speed", ["1x", "2x"][speed], f"{speed} of 0–1")
    silent = ("speed", "–", "")
    assert [CELL.findall(article) for article in articles(page)] == [
        [("transform", "speed", "0 of 0–3"), told],
        [("transform", "random", "1 of 0–3"), silent],
        [("transform", "periodic", "2 of 0–3"), told],
        [("transform", "warp", "3 of 0–3"), silent],
    ]


def test_classes_without_names_are_numbered(transforms, train, tmp_path, monkeypatch):
    monkeypatch.setattr(TemporalTransforms, "classes", SamplerOptions.classes)
    page = draw(transforms, train, tmp_path, videos=1)
    assert [CELL.findall(article)[0] for article in articles(page)] == [
        ("transform", str(number), "of 0–3") for number in range(4)
    ]


def test_quantities_are_numbers(toy_recipe, train, loader, tmp_path):
    changes = {"sampler": {"name": "time_equivariant", "frames": 8}}
    changes["pretext"] = {"name": "equivariance"}
    recipe = PretrainRecipe.model_validate(toy_recipe() | changes)
    page = draw(recipe, train, tmp_path, videos=1)
    ((_, _, plan),) = loader(recipe, train).plan(0, 0)[:1]
    assert ("relation", str(plan.labels["relation"]), "") in CELL.findall(page)


def test_the_same_seed_gives_the_same_page(recipe, train, tmp_path):
    page = draw(recipe, train, tmp_path, videos=2)
    assert draw(recipe, train, tmp_path, videos=2) == page
    assert articles(draw(recipe, train, tmp_path, videos=2, epoch=1)) != articles(page)
    assert articles(draw(recipe, train, tmp_path, videos=2, step=1)) != articles(page)


def test_a_page_obeys_no_name_and_needs_nothing_from_outside(recipe, train, tmp_path):
    path = tmp_path / HOSTILE.replace("/", "\u2215")
    shutil.copy(train[0].path, path)
    size = path.stat().st_size
    videos = [replace(video, path=str(path), bytes=size, label=HOSTILE) for video in train]
    videos[0] = replace(videos[0], path=str(tmp_path / "<b>gone"))
    preview(HOSTILE, recipe, videos, tmp_path / "page.html", videos=8)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "<b>gone" not in page
    text = unescape(re.sub("<[^>]*>", "\n", page))
    assert f"What {HOSTILE} sees" in text
    assert text.count(str(path)) == 7
    assert text.count(HOSTILE) == 7 + 2
    outside = re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "", page)
    for word in ("://", "url(", "@import", "<link"):
        assert word not in outside
    assert "default-src 'none'" in page


def test_what_cannot_be_used_is_named(recipe, train, tmp_path, capfd):
    gone = replace(train[0], path=str(tmp_path / "gone.mp4"))
    page = draw(recipe, [gone, *train[1:]], tmp_path, videos=8)
    assert len(articles(page)) == 7 * 2
    assert "Left out: 1 " in page
    assert re.search(f"{gone.path}.*No such file", page)
    assert f"{gone.path}: " in capfd.readouterr().err


def test_a_video_that_the_sampler_rejects_is_named(transforms, train, tmp_path):
    short = replace(train[3], frames=7)
    page = draw(transforms, [*train[:3], short, *train[4:]], tmp_path, videos=1)
    assert re.search(f"{short.path}.*7 frames; needs at least 8", page)


@pytest.mark.parametrize(
    ("change", "place", "message"),
    [
        ({"frames": 3}, {}, "can use none of the 8 videos"),
        ({}, {"step": 2}, "no step 2: an epoch has 2"),
    ],
)
def test_what_cannot_be_drawn(transforms, train, tmp_path, change, place, message):
    videos = [replace(video, **change) for video in train]
    with pytest.raises(UsageError, match=message):
        preview("toy", transforms, videos, tmp_path / "page.html", **place)
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize(
    ("frames", "said", "marks"),
    [
        ([3, 5, 7], "frames 3–7 of 9, steps of 2", ["", "", ""]),
        ([7, 5, 3], "frames 3–7 of 9, steps of \N{MINUS SIGN}2", ["", "back", "back"]),
        ([7, 8, 8], "frames 7–8 of 9, steps from 0 to 1, 1 repeated", ["", "", "again"]),
    ],
)
def test_how_frames_follow_one_another(frames, said, marks):
    frames = np.array(frames)
    assert motion(frames, 9) == said
    assert follows(frames) == marks


def test_a_plot_rises_with_the_frames_and_a_bar_marks_them():
    points = plot(np.array([10, 14, 12]))
    across, down = np.array([point.split() for point in points], float).T
    assert (np.diff(across) > 0).all()
    assert down[0] > down[2] > down[1]
    assert (down >= 0).all()
    assert (down <= 50).all()
    assert plot(np.array([4, 4])) == ["25.0 25.0", "75.0 25.0"]
    assert timeline(np.array([0, 9, 9]), 10) == ["5.00", "95.00"]


def clip_parameters(**changes):
    return Parameters(**(vars(centre((24, 32), 16)) | changes))


def test_augmentation_in_words():
    said = " · ".join(describe(clip_parameters(), View(np.arange(3)), (24, 32)))
    assert said == (
        "crop 16×16 at 4 from the top, 8 from the left of 24×32 · not mirrored · colours kept"
    )
    changed = clip_parameters(
        flip=np.ones(1, bool),
        turns=np.full(1, 3),
        blur=np.full(1, 1.25, np.float32),
        steps=np.float32([[[0.9, 1, 1.5, -0.1], [1.2, 1, 1.5, 0.1]]]),
        matrix=np.tile(np.eye(3, dtype=np.float32), (1, 2, 1, 1)),
        offset=np.zeros((1, 2), np.float32),
    )
    view = View(np.arange(2), crop="pair", flip="video")
    crop, *words = describe(changed, view, (24, 32))
    assert crop.endswith("(shared: pair)")
    assert words == [
        "mirrored (shared: video)",
        "turned by 270°",
        "blurred, sigma 1.2 pixels",
        "brightness ×0.90 to 1.20, saturation ×1.50, "
        "hue turned by \N{MINUS SIGN}36 to +36° (frame by frame)",
    ]


@pytest.mark.parametrize("form", ["fast", "exact"])
@pytest.mark.parametrize("mix", [0, 0.3])
def test_grey_and_mixed_colours_are_told(form, mix):
    view = View(np.arange(4))
    for grey in (0, 1):
        settings = Augment(grey=grey, colour=Colour(brightness=0.4, mix=mix, form=form))
        drawn = draw_parameters(ClipPlan((view,)), Draw(0, 0, 0), settings, 16, (24, 32))
        said = describe(drawn, view, (24, 32))[-1]
        assert said.startswith("grey, ") == bool(grey)
        assert said.endswith("channels mixed") == bool(mix and not grey)


@given(st.integers(0, 10_000), st.floats(0, 0.9), st.floats(0, 0.45))
def test_steps_are_read_off_the_maps_that_carry_them_out(seed, strength, hue):
    colour = Colour(brightness=strength, contrast=strength, saturation=strength, hue=hue)
    maps = draw_colours(np.random.default_rng(seed), colour, 5)
    same = draw_colours(np.random.default_rng(seed), colour.model_copy(update={"form": "exact"}), 5)
    read = steps_of(maps[0], maps[1])
    np.testing.assert_allclose(read, same[2], atol=1e-3)
    np.testing.assert_allclose(affine(read), maps[0], atol=1e-3)


def test_black_pictures_have_no_steps_but_one():
    black = affine(np.array([[0, 1.2, 1.3, 0.2]]))
    assert np.array_equal(steps_of(black, np.zeros(1)), [[0, *NO_CHANGE[1:]]])


@pytest.mark.parametrize("channels", [3, 4])
def test_a_png_is_the_picture_that_went_in(channels):
    picture = np.random.default_rng(0).integers(0, 256, (5, 9, channels), dtype=np.uint8)
    with av.open(io.BytesIO(encode_png(picture))) as container:
        form = "rgb24" if channels == 3 else "rgba"
        read = next(container.decode(video=0)).to_ndarray(format=form)
    assert np.array_equal(read, picture)


@pytest.fixture
def command(toy_recipe, toy_videos, tmp_path):
    with (tmp_path / "toy.yaml").open("w") as file:
        YAML().dump(toy_recipe(), file)
    write_manifest(tmp_path / "m.jsonl", toy_videos)
    where = ["--data", str(tmp_path / "m.jsonl"), "--out", str(tmp_path / "page.html")]
    return ["data", "preview", str(tmp_path / "toy.yaml"), *where]


def test_the_command(command, recipe, train, loader, tmp_path, capfd):
    assert run(app, [*command, "--videos", "2", "--seed", "3", "--epoch", "1", "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == {
        "page": str(tmp_path / "page.html"),
        "videos": 2,
        "seed": 3,
        "epoch": 1,
        "step": 0,
        "broken": [],
    }
    seeded = recipe.model_copy(update={"train": recipe.train.model_copy(update={"seed": 3})})
    planned = loader(seeded, train).plan(1, 0)[:2]
    expected = [view.frames.tolist() for _, _, plan in planned for view in plan.views]
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert [numbers(article) for article in articles(page)] == expected

    assert run(app, command) == 2
    assert "is there already" in capfd.readouterr().err
    assert run(app, [*command, "--overwrite", "--set", "sampler.views=1"]) == 2  # one pretext: two
    assert "needs 2 views" in capfd.readouterr().err
    assert run(app, [*command, "--overwrite", "--videos", "1"]) == 0
    assert capfd.readouterr().out.strip() == str(tmp_path / "page.html")


def test_the_command_refuses_recipes_without_input(command, capfd):
    command[2] = "finetune"
    assert run(app, command) == 2
    assert "this recipe is for `vidssl finetune`" in capfd.readouterr().err


def test_strict_makes_what_is_left_out_an_error(command, toy_videos, tmp_path, capfd):
    gone = replace(toy_videos[0], path=str(tmp_path / "gone.mp4"))
    write_manifest(tmp_path / "m.jsonl", [gone, *toy_videos[1:]])
    assert run(app, [*command, "--videos", "8", "--strict"]) == 5
    assert (tmp_path / "page.html").exists()
