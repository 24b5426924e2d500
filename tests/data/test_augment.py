"""Augmentation against a slow reference, one picture at a time."""

import colorsys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from vidssl_cli.config.sections import Augment, Blur, Colour, Input, ResizedCrop
from vidssl_cli.contract.clips import ClipPlan, Draw, View
from vidssl_cli.data.augment import Parameters, centre, draw_parameters, prepare
from vidssl_cli.data.colour import GREY
from vidssl_cli.media.geometry import random_box, resampling

SIZE = (12, 16)
SIDE = 8
UNIT = Input(resize=SIZE, crop=SIDE, mean=(0, 0, 0), std=(1, 1, 1))


def pictures(clips=3, frames=4, size=SIZE, seed=0):
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (clips, frames, 3, *size), dtype=np.uint8)


def near_grey(clips=1):
    """Pictures so close to mid-grey that no change of colour has to be clamped."""
    return pictures(clips) // 8 + 112


def centres(clips):
    return Parameters.stack([centre(SIZE, SIDE)] * clips)


def run(pixels, parameters, settings=UNIT):
    """Return clips as (N, T, 3, S, S) numpy."""
    return prepare(list(torch.from_numpy(pixels)), parameters, settings).transpose(1, 2).numpy()


def plan(*views):
    return ClipPlan(tuple(views))


def views(count, frames=4, **keys):
    return plan(*(View(np.arange(frames), **keys) for _ in range(count)))


def draw_views(count, augment, seed=0, **keys):
    return draw_parameters(views(count, **keys), Draw(0, 0, seed), augment, SIDE, SIZE)


def test_centre_crop_rounds_down():
    box = centre((128, 171), 112).box
    assert box.tolist() == [[8, 29, 112, 112]]  # methods: rows 8..119, columns 29..140


def test_evaluation_is_the_centre_and_nothing_else():
    pixels = pictures()
    expected = pixels[..., 2:10, 4:12] / 255
    np.testing.assert_allclose(run(pixels, centres(3)), expected, atol=1e-6)


def test_normalisation():
    settings = Input(resize=SIZE, crop=SIDE, mean=(0.1, 0.2, 0.3), std=(0.5, 1, 2))
    plain = run(pictures(), centres(3))
    mean, std = (np.array(v)[:, None, None] for v in (settings.mean, settings.std))
    expected = (plain - mean) / std
    np.testing.assert_allclose(run(pictures(), centres(3), settings), expected, atol=1e-5)


def test_residual_is_the_difference_of_consecutive_frames():
    frames = run(pictures(), centres(3))
    settings = UNIT.model_copy(update={"mode": "residual"})
    residual = run(pictures(), centres(3), settings)
    assert residual.shape == frames.shape
    np.testing.assert_allclose(residual[:, :3], frames[:, 1:] - frames[:, :-1], atol=1e-6)
    np.testing.assert_array_equal(residual[:, 3], residual[:, 2])


def test_clips_do_not_depend_on_their_company():
    augment = Augment(crop=ResizedCrop(), colour=Colour(contrast=0.5, hue=0.2, per="frame"))
    pixels, drawn = pictures(4), draw_views(4, augment)
    together = run(pixels, drawn)
    for clip in range(4):
        part = slice(clip, clip + 1)
        np.testing.assert_array_equal(run(pixels[part], drawn[part]), together[part])


def test_videos_of_different_sizes_make_one_batch():
    small, large = pictures(1)[0], pictures(1, size=(20, 9))[0]
    boxes = Parameters.stack([centre(SIZE, SIDE), centre((20, 9), SIDE)])
    clips = prepare([torch.from_numpy(small), torch.from_numpy(large)], boxes, UNIT)
    np.testing.assert_allclose(clips[1, :, 0], large[0, :, 6:14, :8] / 255, atol=1e-6)


def test_drawn_boxes_and_flips_cut_what_they_say():
    pixels = pictures(clips=4)
    drawn = draw_views(4, Augment(crop="random", flip=0.5), seed=3)
    assert {True, False} == set(drawn.flip.tolist())
    clips = run(pixels, drawn)
    for clip, ((top, left, *_), flip) in enumerate(zip(drawn.box, drawn.flip, strict=True)):
        expected = pixels[clip, ..., top : top + SIDE, left : left + SIDE] / 255
        expected = expected[..., ::-1] if flip else expected
        np.testing.assert_allclose(clips[clip], expected, atol=1e-6)


def test_resized_crops_against_interpolation():
    pixels = pictures(clips=6)
    drawn = draw_views(6, Augment(crop=ResizedCrop(scale=(0.1, 1)), flip=0.5), seed=3)
    heights, widths = drawn.box[:, 2], drawn.box[:, 3]
    assert len({*heights.tolist()}) > 1
    assert (heights < SIDE).any()
    assert (widths > SIDE).any()
    clips = run(pixels, drawn)
    for clip, ((top, left, height, width), flip) in enumerate(
        zip(drawn.box, drawn.flip, strict=True)
    ):
        box = torch.from_numpy(pixels[clip, ..., top : top + height, left : left + width] / 255)
        expected = F.interpolate(box, (SIDE, SIDE), mode="bilinear", antialias=True)
        expected = expected.flip(-1) if flip else expected
        np.testing.assert_allclose(clips[clip], expected, atol=1e-5)


def test_resized_crops_have_the_area_and_the_shape_they_are_given():
    crop = ResizedCrop(scale=(0.3, 0.6), ratio=(0.5, 1.5))
    boxes = np.array([random_box(np.random.default_rng(i), crop, (120, 160)) for i in range(500)])
    top, left, height, width = boxes.T
    assert (boxes >= 0).all()
    assert (top + height).max() <= 120
    assert (left + width).max() <= 160
    area, ratio = height * width / (120 * 160), width / height
    assert area.min() == pytest.approx(0.3, abs=0.02)
    assert area.max() == pytest.approx(0.6, abs=0.02)
    assert ratio.min() == pytest.approx(0.5, abs=0.03)
    assert ratio.max() == pytest.approx(1.5, abs=0.03)
    assert {0, 120 - height.max()} <= set(top.tolist())


def test_a_box_that_never_fits_gives_way_to_the_largest_in_the_middle():
    crop = ResizedCrop(scale=(1, 1), ratio=(0.75, 1.25))
    assert random_box(np.random.default_rng(0), crop, (50, 200)) == (0, 69, 50, 62)


def slow_blur(line, sigma):
    """Convolve a line with a Gaussian over three deviations, mirrored at its ends."""
    reach = min(int(np.ceil(3 * sigma)), len(line) - 1)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return np.convolve(np.pad(line, reach, mode="reflect"), kernel / kernel.sum(), mode="valid")


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.0, 5.0])
def test_blur_against_a_convolution(sigma):
    pixels = pictures(1)
    drawn = draw_views(1, Augment(crop="center", flip=0, blur=Blur(probability=1)))
    assert 0.1 <= drawn.blur[0] <= 2
    drawn.blur[0] = sigma
    crop = pixels[..., 2:10, 4:12] / 255
    expected = np.apply_along_axis(
        slow_blur, -1, np.apply_along_axis(slow_blur, -2, crop, sigma), sigma
    )
    np.testing.assert_allclose(run(pixels, drawn), expected, atol=1e-5)


def test_scaling_and_blurring_keep_the_mean_of_a_flat_line():
    np.testing.assert_allclose(resampling(17, 8, 1.5).sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(resampling(3, 8, 0).sum(1), 1, atol=1e-6)


def slow_colours(picture, brightness, contrast, saturation, clamp):
    """One picture (3, H, W) from 0 to 1 through the three changes, one after another."""

    def luma(picture):
        return np.tensordot(GREY, picture, 1)

    picture = clamp(picture * brightness)
    grey = luma(picture).mean()
    picture = clamp(grey + contrast * (picture - grey))
    return clamp(luma(picture) + saturation * (picture - luma(picture)))


def slow_hue(picture, turn):
    """Turn the hue of every pixel of (3, H, W) by a share of the circle."""
    out = np.empty_like(picture)
    for place in np.ndindex(picture.shape[1:]):
        hue, saturation, value = colorsys.rgb_to_hsv(*picture[:, *place])
        out[:, *place] = colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value)
    return out


@pytest.mark.parametrize("strength", [0.2, 0.9])
@pytest.mark.parametrize("per", ["clip", "frame"])
def test_the_exact_form_against_a_slow_reference(per, strength):
    pixels = pictures(2)
    pixels[0, 0, :, 2] = 77  # grey pixels, whose hue is any
    factors = dict.fromkeys(("brightness", "contrast", "saturation"), strength)
    colour = Colour(form="exact", per=per, hue=strength / 2, **factors)
    drawn = draw_views(2, Augment(crop="center", flip=0, colour=colour))
    steps = np.broadcast_to(drawn.steps, (2, 4, 4))
    assert len({row.tobytes() for row in steps.reshape(-1, 4)}) == (8 if per == "frame" else 2)
    clips = run(pixels, drawn)
    crops = pixels[..., 2:10, 4:12] / 255
    for place in np.ndindex(2, 4):
        *three, hue = steps[place].tolist()
        expected = slow_colours(crops[place], *three, lambda picture: picture.clip(0, 1))
        np.testing.assert_allclose(clips[place], slow_hue(expected, hue), atol=2e-4)


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_each_colour_change_against_a_slow_reference(name):
    pixels = near_grey()
    augment = Augment(crop="center", flip=0, colour=Colour(per="frame", **{name: 0.3}))
    drawn = draw_views(1, augment)
    clip = run(pixels, drawn)[0]
    crops = pixels[0, ..., 2:10, 4:12] / 255
    for frame in range(4):
        matrix, offset = drawn.matrix[0, frame], drawn.offset[0, frame]
        # Recover the one factor from what the map does to red.
        red, grey = matrix[0, 0], matrix[0, 1] / GREY[1]
        recovered = {"brightness": red, "contrast": 1 - offset, "saturation": 1 - grey}[name]
        factors = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0} | {name: recovered}
        expected = slow_colours(crops[frame], **factors, clamp=lambda picture: picture)
        np.testing.assert_allclose(clip[frame], expected, atol=1e-5)
    assert len({m.tobytes() for m in drawn.matrix[0]}) == 4, "every frame draws its own"


def test_the_two_forms_agree_where_nothing_is_clamped():
    strengths = {"brightness": 0.2, "contrast": 0.3, "saturation": 0.3}
    clips = [
        run(
            near_grey(),
            draw_views(1, Augment(colour=Colour(form=form, per="frame", **strengths))),
        )
        for form in ("fast", "exact")
    ]
    np.testing.assert_allclose(*clips, atol=1e-5)


def test_hue_turns_chroma_and_keeps_luma():
    drawn = draw_views(1, Augment(crop="center", flip=0, colour=Colour(hue=0.5)), seed=1)
    matrix = drawn.matrix[0, 0].astype(float)
    np.testing.assert_allclose(GREY @ matrix, GREY, atol=1e-6)
    np.testing.assert_allclose(matrix.sum(1), 1, atol=1e-6)
    red = matrix @ np.array([0.6, 0.4, 0.4])
    turned = (colorsys.rgb_to_yiq(*red)[1:], colorsys.rgb_to_yiq(0.6, 0.4, 0.4)[1:])
    assert np.hypot(*turned[0]) == pytest.approx(np.hypot(*turned[1]), rel=0.02)


@pytest.mark.parametrize("form", ["fast", "exact"])
def test_mixing_channels_comes_last(form):
    colour = Colour(form=form, mix=0.5, saturation=0)
    drawn = draw_views(1, Augment(crop="center", flip=0, colour=colour))
    crop = near_grey()[0, 0, :, 2:10, 4:12] / 255
    expected = np.tensordot(drawn.matrix[0, 0], crop, 1).clip(0, 1)
    np.testing.assert_allclose(run(near_grey(), drawn)[0, 0], expected, atol=1e-5)
    assert not np.allclose(expected, crop, atol=0.01)


@pytest.mark.parametrize("form", ["fast", "exact"])
def test_values_stay_within_what_a_picture_can_show(form):
    settings = UNIT.model_copy(update={"mean": (0.5, 0.4, 0.3), "std": (0.5, 0.4, 0.2)})
    colour = Colour(form=form, brightness=0.9, mix=0.9, per="frame")
    clips = run(pictures(), draw_views(3, Augment(colour=colour)), settings)
    for channel, (mean, std) in enumerate(zip(settings.mean, settings.std, strict=True)):
        low, high = clips[:, :, channel].min(), clips[:, :, channel].max()
        assert (low, high) == pytest.approx((-mean / std, (1 - mean) / std), abs=1e-6)


def test_grey_has_three_equal_channels():
    clips = run(pictures(1), draw_views(1, Augment(grey=1)))
    np.testing.assert_allclose(clips[:, :, 0], clips[:, :, 1], atol=1e-6)
    np.testing.assert_allclose(clips[:, :, 0], clips[:, :, 2], atol=1e-6)


def test_equal_keys_share_parameters_and_others_do_not():
    augment = Augment(flip=0.5, colour=Colour(brightness=0.5), blur=Blur(probability=0.5))
    shared = draw_views(6, augment, crop="all", flip="all", colour="all")
    for values in vars(shared).values():
        assert len({v.tobytes() for v in values}) == 1
    own = draw_views(6, augment)
    for values in (own.box, own.flip, own.blur, own.matrix):
        assert len({v.tobytes() for v in values}) > 1
    assert len({m.tobytes() for m in own.matrix}) == 6


@pytest.mark.parametrize("form", ["fast", "exact"])
def test_probability_leaves_the_rest_alone(form):
    strengths = {"brightness": 0.8, "contrast": 0.8, "saturation": 0.8, "hue": 0.2}
    colour = Colour(**strengths, form=form, probability=0.8, per="frame")
    drawn = draw_views(1, Augment(colour=colour), frames=4000)
    same = (drawn.matrix[0] == np.eye(3)).all((1, 2)) & (drawn.offset[0] == 0)
    same &= (drawn.steps[0] == [1, 1, 1, 0]).all(1)
    assert same.mean() == pytest.approx(0.2, abs=0.03)


def test_stacked_videos_keep_their_order():
    parts = [draw_views(2, Augment(), seed=video) for video in range(3)]
    stacked = Parameters.stack(parts)
    assert stacked.box.tolist() == [box for part in parts for box in part.box.tolist()]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("form", ["fast", "exact"])
def test_a_gpu_sees_the_same_pictures(form):
    colour = Colour(form=form, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, per="frame")
    augment = Augment(crop=ResizedCrop(), blur=Blur(probability=0.5), colour=colour)
    pixels, drawn = torch.from_numpy(pictures(8)), draw_views(8, augment)
    on_cpu = prepare(list(pixels), drawn, UNIT)
    on_gpu = prepare(list(pixels.cuda()), drawn, UNIT)
    torch.testing.assert_close(on_gpu.cpu(), on_cpu, atol=2e-4, rtol=0)


def test_turns_come_after_crop_and_flip():
    pixels = pictures(4)
    turned = plan(*(View(np.arange(4), turns=turns) for turns in range(4)))
    plain = plan(*(View(np.arange(4)) for _ in range(4)))
    rows = [
        draw_parameters(p, Draw(0, 0, 3), Augment(flip=0.5), SIDE, SIZE) for p in (turned, plain)
    ]
    found, upright = (run(pixels, row) for row in rows)
    for turns in range(4):
        np.testing.assert_array_equal(found[turns], np.rot90(upright[turns], turns, (-2, -1)))


@pytest.mark.parametrize("crop", ["random", "center", ResizedCrop(scale=(0.2, 0.8))])
@given(
    seed=st.integers(0, 2**32),
    sizes=st.lists(
        st.tuples(st.just(40), st.integers(40, 90)) | st.tuples(st.integers(40, 90), st.just(40)),
        min_size=2,
        max_size=3,
    ),
)
def test_coupled_videos_of_any_shape_share_how_their_boxes_lie_to_one_another(crop, seed, sizes):
    """Frames of one short side, as `input.resize` makes them."""
    geometry, augment = Draw(seed, 0, 0), Augment(crop=crop, flip=0.5)
    couple = [
        draw_parameters(
            ClipPlan((View(np.arange(4)),) * 2, {}, geometry), Draw(seed, 0, n), augment, 32, size
        )
        for n, size in enumerate(sizes)
    ]
    for made, (height, width) in zip(couple, sizes, strict=True):
        first, second = made.box
        np.testing.assert_array_equal(second - first, couple[0].box[1] - couple[0].box[0])
        np.testing.assert_array_equal(made.box[:, 2:], couple[0].box[:, 2:])
        np.testing.assert_array_equal(made.flip, couple[0].flip)
        for top, left, high, wide in made.box:
            assert 0 <= top <= top + high <= height
            assert 0 <= left <= left + wide <= width
        if crop == "center":
            assert first.tolist() == [(height - 32) // 2, (width - 32) // 2, 32, 32]


def test_boxes_of_couples_reach_all_of_a_wide_frame():
    lefts = {
        int(left)
        for seed in range(300)
        for _, left, _, _ in draw_parameters(
            ClipPlan((View(np.arange(4)),) * 2, {}, Draw(seed, 0, 0)),
            Draw(seed, 0, 1),
            *(Augment(crop="random"), 32, (40, 80)),
        ).box
    }
    assert {min(lefts), max(lefts)} == {0, 48}


def test_coupled_videos_share_geometry_but_not_colours():
    first, second = Draw(0, 0, 1), Draw(0, 0, 2)
    augment = Augment(flip=0.5, colour=Colour(brightness=0.4))
    couple = [
        draw_parameters(
            ClipPlan((View(np.arange(4)),) * 6, {}, geometry=first), draw, augment, SIDE, SIZE
        )
        for draw in (first, second)
    ]
    np.testing.assert_array_equal(couple[0].box, couple[1].box)
    np.testing.assert_array_equal(couple[0].flip, couple[1].flip)
    assert not np.allclose(couple[0].matrix, couple[1].matrix)
    alone = draw_parameters(views(6), second, augment, SIDE, SIZE)
    assert not np.array_equal(alone.box, couple[1].box)
