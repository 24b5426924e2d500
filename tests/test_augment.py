"""Augmentation against a slow reference, one picture at a time."""

import colorsys

import numpy as np
import pytest
import torch

from vidssl_cli.augment import GREY, Parameters, centre, draw_parameters, prepare
from vidssl_cli.clips import ClipPlan, Draw, View
from vidssl_cli.recipe import Augment, Colour, Input

UNIT = Input(resize=(12, 16), crop=8, mean=(0, 0, 0), std=(1, 1, 1))


def pictures(clips=3, frames=4, size=(12, 16), seed=0):
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (clips, frames, *size, 3), dtype=np.uint8)


def plan(*views):
    return ClipPlan(tuple(views))


def views(count, frames=4, **keys):
    return plan(*(View(np.arange(frames), **keys) for _ in range(count)))


def test_centre_crop_rounds_down():
    box = centre(1, (128, 171), 112)
    assert (box.top[0], box.left[0]) == (8, 29)  # methods: rows 8..119, columns 29..140


def test_evaluation_is_the_centre_and_nothing_else():
    pixels = pictures()
    clips = prepare(torch.from_numpy(pixels), centre(3, (12, 16), 8), UNIT)
    expected = pixels[:, :, 2:10, 4:12].transpose(0, 4, 1, 2, 3) / 255
    np.testing.assert_allclose(clips, expected, atol=1e-6)
    assert clips.is_contiguous(memory_format=torch.channels_last_3d)


def test_normalisation():
    settings = Input(resize=(12, 16), crop=8, mean=(0.1, 0.2, 0.3), std=(0.5, 1, 2))
    plain = prepare(torch.from_numpy(pictures()), centre(3, (12, 16), 8), UNIT)
    clips = prepare(torch.from_numpy(pictures()), centre(3, (12, 16), 8), settings)
    mean, std = (torch.tensor(v).view(3, 1, 1, 1) for v in (settings.mean, settings.std))
    torch.testing.assert_close(clips, (plain - mean) / std)


def test_residual_is_the_difference_of_consecutive_frames():
    rgb = Input(resize=(12, 16), crop=8)
    pixels = torch.from_numpy(pictures())
    box = centre(3, (12, 16), 8)
    frames = prepare(pixels, box, rgb)
    residual = prepare(pixels, box, rgb.model_copy(update={"mode": "residual"}))
    assert residual.shape == frames.shape
    torch.testing.assert_close(residual[:, :, :3], frames[:, :, 1:] - frames[:, :, :-1])
    torch.testing.assert_close(residual[:, :, 3], residual[:, :, 2])


def test_drawn_boxes_and_flips_cut_what_they_say():
    pixels = pictures(clips=4)
    augment = Augment(crop="random", flip=0.5)
    drawn = draw_parameters(views(4), Draw(0, 0, 3), augment, 8, (12, 16))
    assert {True, False} == set(drawn.flip.tolist())
    clips = prepare(torch.from_numpy(pixels), drawn, UNIT).numpy()
    for clip, box in enumerate(zip(drawn.top, drawn.left, drawn.flip, strict=True)):
        top, left, flip = box
        expected = pixels[clip, :, top : top + 8, left : left + 8] / 255
        expected = expected[:, :, ::-1] if flip else expected
        np.testing.assert_allclose(clips[clip], expected.transpose(3, 0, 1, 2), atol=1e-6)


def slow_colours(picture, brightness, contrast, saturation):
    """One picture (H, W, 3) from 0 to 1 through the three changes, one after another."""
    picture = picture * brightness
    grey = (picture @ GREY).mean()
    picture = grey + contrast * (picture - grey)
    luma = (picture @ GREY)[..., None]
    return luma + saturation * (picture - luma)


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_each_colour_change_against_a_slow_reference(name):
    # Pictures near mid-grey, so that the final clamp does nothing.
    pixels = pictures(1) // 8 + 112
    augment = Augment(crop="center", flip=0, colour=Colour(per="frame", **{name: 0.3}))
    drawn = draw_parameters(views(1), Draw(0, 0, 0), augment, 8, (12, 16))
    clip = prepare(torch.from_numpy(pixels), drawn, UNIT)[0].permute(1, 2, 3, 0).numpy()
    crops = pixels[0, :, 2:10, 4:12] / 255
    for frame in range(4):
        matrix, offset = drawn.matrix[0, frame], drawn.offset[0, frame]
        factors = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0}
        # Recover the one factor from what the map does to red.
        red, grey = matrix[0, 0], matrix[0, 1] / GREY[1]
        factors[name] = {
            "brightness": red,
            "contrast": 1 - offset,
            "saturation": 1 - grey,
        }[name]
        np.testing.assert_allclose(clip[frame], slow_colours(crops[frame], **factors), atol=1e-5)
    assert len({m.tobytes() for m in drawn.matrix[0]}) == 4, "every frame draws its own"


def test_hue_turns_chroma_and_keeps_luma():
    augment = Augment(crop="center", flip=0, colour=Colour(hue=0.5))
    drawn = draw_parameters(views(1), Draw(1, 0, 0), augment, 8, (12, 16))
    matrix = drawn.matrix[0, 0].astype(float)
    np.testing.assert_allclose(GREY @ matrix, GREY, atol=1e-6)
    np.testing.assert_allclose(matrix.sum(1), 1, atol=1e-6)
    red = matrix @ np.array([0.6, 0.4, 0.4])
    turned = (colorsys.rgb_to_yiq(*red)[1:], colorsys.rgb_to_yiq(0.6, 0.4, 0.4)[1:])
    assert np.hypot(*turned[0]) == pytest.approx(np.hypot(*turned[1]), rel=0.02)


def test_grey_has_three_equal_channels():
    drawn = draw_parameters(views(1), Draw(0, 0, 0), Augment(grey=1), 8, (12, 16))
    clip = prepare(torch.from_numpy(pictures(1)), drawn, UNIT)
    torch.testing.assert_close(clip[:, 0], clip[:, 1])
    torch.testing.assert_close(clip[:, 0], clip[:, 2])


def test_equal_keys_share_parameters_and_others_do_not():
    augment = Augment(flip=0.5, colour=Colour(brightness=0.5))
    shared = draw_parameters(
        views(6, crop="all", flip="all", colour="all"), Draw(0, 0, 0), augment, 8, (12, 16)
    )
    for values in (shared.top, shared.left, shared.flip, shared.matrix):
        assert len({v.tobytes() for v in values}) == 1
    own = draw_parameters(views(6), Draw(0, 0, 0), augment, 8, (12, 16))
    assert len(set(zip(own.top.tolist(), own.left.tolist(), strict=True))) > 1
    assert len({m.tobytes() for m in own.matrix}) == 6


def test_probability_leaves_the_rest_alone():
    colour = Colour(brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2, probability=0.8)
    frames = 4000
    augment = Augment(colour=colour.model_copy(update={"per": "frame"}))
    drawn = draw_parameters(views(1, frames=frames), Draw(0, 0, 0), augment, 8, (12, 16))
    alone = (drawn.matrix[0] == np.eye(3)).all((1, 2)) & (drawn.offset[0] == 0)
    assert alone.mean() == pytest.approx(0.2, abs=0.03)


def test_stacked_videos_keep_their_order():
    parts = [draw_parameters(views(2), Draw(0, 0, v), Augment(), 8, (12, 16)) for v in range(3)]
    stacked = Parameters.stack(parts)
    assert stacked.top.tolist() == [top for part in parts for top in part.top.tolist()]
