"""Names of classes say what is on the frames that a sampler plans, whatever order a recipe has."""

import numpy as np
import pytest

from vidssl_cli.contract.clips import ABSENT, Draw
from vidssl_cli.contract.videos import Video
from vidssl_plugins.samplers.hooks import (
    ArrowOfTime,
    ClipOrder,
    Curriculum,
    Pace,
    PlaybackSpeed,
    Rotation,
    ShuffleAndLearn,
    Speediness,
    TemporalTransforms,
    TimeEquivariant,
)


def steps(view):
    return np.diff(view.frames)


def pace(view):
    """Name a pace that is whole, or half."""
    moved = steps(view)
    return f"{moved[0]}x" if (moved == moved[0]).all() else f"{np.sign(moved.sum())}/2x"


def speed(view):
    return f"{abs(steps(view)[0])}x"


def transform(view):
    moved = steps(view)
    turned = np.flatnonzero(np.sign(moved[1:]) != np.sign(moved[:-1]))
    if len(turned) > 2:
        return "random"
    if len(turned):
        return "periodic"
    return "speed" if (moved == moved[0]).all() else "warp"


def direction(view):
    return "backwards" if steps(view)[0] < 0 else "forwards"


def order(views):
    first, second = ((view.frames.min(), view.frames.max()) for view in views)
    if first[1] < second[0]:
        return "before"
    return "after" if first[0] > second[1] else "overlap"


SIGNED = [1, 2, 3, 4, -1, -2, -3, -4]
CASES = [
    (Pace(name="pace", paces=SIGNED), "pace", pace),
    (Pace(name="pace", paces=[2, "1/2", 1, "-1/2"], views=2), "pace", pace),
    (
        Curriculum(name="curriculum", sampler={"name": "pace", "paces": SIGNED}, order="random"),
        *("pace", pace),
    ),
    (
        TemporalTransforms(name="temporal_transforms", types=["warp", "speed", "random"]),
        *("transform", transform),
    ),
    (TemporalTransforms(name="temporal_transforms"), "transform", transform),
    (TemporalTransforms(name="temporal_transforms", speeds=[3, 0, 2]), "speed", speed),
    (TimeEquivariant(name="time_equivariant", speeds=[2, 0, 1]), "speed", speed),
    (TimeEquivariant(name="time_equivariant"), "direction", direction),
    (TimeEquivariant(name="time_equivariant"), "order", order),
    (Rotation(name="rotation"), "rotation", lambda view: f"{90 * view.turns}°"),
    (ArrowOfTime(name="arrow_of_time"), "direction", direction),
    (
        Speediness(name="speediness", normal=(1, 1)),
        *("fast", lambda view: "normal" if (steps(view) == 1).all() else "fast"),
    ),
    (
        ShuffleAndLearn(name="shuffle_and_learn"),
        *("shuffled", lambda view: "in order" if (steps(view) > 0).all() else "shuffled"),
    ),
]


@pytest.mark.parametrize(
    ("options", "label", "name"),
    CASES,
    ids=[f"{options.name}, {label}" for options, label, _ in CASES],
)
def test_names_say_what_is_shown(options, label, name):
    built, names, seen = options.build(), options.classes()[label], set()
    assert len(names) == options.labels()[label]
    for epoch in range(60):
        made = built.plan(Video(path="v", frames=300), Draw(0, epoch, 0))
        classes = made.labels[label]
        shown = made.views if np.ndim(classes) else [made.views]
        for each, number in zip(shown, np.atleast_1d(classes), strict=True):
            if number != ABSENT:
                assert names[number] == name(each)
                seen.add(int(number))
    assert seen == set(range(len(names)))


@pytest.mark.parametrize(
    "options",
    [
        ClipOrder(name="clip_order", clips=3),
        PlaybackSpeed(name="playback_speed", speeds=[3, -1, 1]),
    ],
    ids=lambda options: options.name,
)
def test_orders_are_of_views_that_ascend(options):
    """In time, or in speed; an order names the views as they are shown."""
    made = options.build().plan(Video(path="v", frames=300), Draw(0, 0, 0))
    ascending = [
        steps(view)[0] if options.name == "playback_speed" else view.frames[0]
        for view in made.views
    ]
    assert ascending == sorted(ascending)
    assert options.classes()["permutation"] == ("123", "132", "213", "231", "312", "321")
