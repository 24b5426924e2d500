"""docs/papers.md has every table and figure of five papers; recipes have the papers' constants."""

import re
import shlex
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from commands import check, classifier, parse, protocol
from vidssl_cli.config.load import document, find, load, names

PAGE = Path(__file__).parents[1] / "docs" / "papers.md"


def numbered(kind, numbers):
    return [f"{kind} {number}" for number in numbers]


def of_chapter(kind, chapter, last):
    return numbered(kind, (f"{chapter}.{number}" for number in range(1, last + 1)))


PRINTED = {
    "Jenni, Meishvili, Favaro 2020": [
        *numbered("table", range(1, 5)),
        *numbered("figure", range(1, 6)),
        "section 4",
    ],
    "Jenni, Jin 2021": numbered("table", range(1, 5)) + numbered("figure", range(1, 6)),
    "Cho, Kim, Chang, Hwang 2020": numbered("table", range(1, 11))
    + numbered("figure", range(1, 6)),
    "SSTL, submission to ICLR 2021": numbered("table", range(1, 6))
    + numbered("figure", range(1, 6)),
    "Wang 2020, thesis": [
        *of_chapter("figure", 1, 4),
        *of_chapter("figure", 2, 10),
        *of_chapter("table", 2, 8),
        *of_chapter("figure", 3, 9),
        *of_chapter("table", 3, 9),
        *of_chapter("figure", 4, 8),
        *of_chapter("table", 4, 10),
    ],
    "Tong, Song, Wang, Wang 2022": ["section 4"],
    "Bardes et al. 2024": ["section 5"],
}
"""What the papers print; the experiment of section 4 has no table, and the last two have a row for
what their recipes give."""

STATES = ("here", "partly: ", "missing: ", "drawing")


@dataclass(frozen=True)
class Row:
    """A row of the page."""

    paper: str
    where: str
    how: str
    state: str

    @property
    def asked(self):
        """Recipes with their overrides, and commands."""
        recipe, commands, recipes = None, [], []
        for each in re.findall(r"`([^`]+)`", self.how):
            if each.startswith("vidssl "):
                commands.append(each)
            elif each.startswith("--set "):
                recipes[-1] = (recipe, tuple(word for word in shlex.split(each) if word != "--set"))
            else:
                recipe = each
                recipes.append((recipe, ()))
        return recipes, commands


def rows():
    found = []
    for part in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
        paper = part.splitlines()[0].partition(": ")[0]
        for line in part.splitlines():
            cells = [cell.strip() for cell in line.strip("|").split(" | ")]
            if re.match(r"(table|figure|section) \d", cells[0]):
                found.append(Row(paper, cells[0], cells[2], cells[3]))
    return found


ROWS = rows()


@pytest.mark.parametrize("paper", PRINTED)
def test_every_table_and_figure_has_one_row(paper):
    there = [row.where for row in ROWS if row.paper == paper]
    assert sorted(there) == sorted(PRINTED[paper])


def test_every_paper_is_there():
    assert {row.paper for row in ROWS} == PRINTED.keys()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.paper}, {row.where}")
def test_a_row_can_be_followed(row):
    assert row.state.startswith(STATES)
    recipes, commands = row.asked
    assert bool(recipes or commands) == (row.how != "–")
    assert row.state == "drawing" or row.how != "–" or row.state.startswith("missing: ")
    for recipe, overrides in recipes:
        assert recipe in names()
        load(recipe, overrides)
    for line in commands:
        command = parse(line)
        check(command)
        if command.name == "index":
            assert command.given["part"] == "train"  # queries are test videos in all papers
        if command.name == "evaluate":
            protocol(command).build()
            recipe = classifier(command)
            assert recipe is None or recipe.sampler.stride == recipe.evaluation.stride


def test_every_recipe_of_a_paper_stands_on_the_page():
    named = {recipe for row in ROWS for recipe, _ in row.asked[0]}
    assert {name for name in names() if name.startswith("papers/")} == named - {"finetune"}


# What the papers state, by hand from their texts: section, and the keys of recipes.

FRAMES_112 = {"input.resize": [128, 171], "input.crop": 112}
CROPS = {"augment.crop": "random"}


def adamw(lr, **more):
    return {"train.optimizer.name": "adamw", "train.optimizer.lr": lr} | {
        f"train.optimizer.{key}": value for key, value in more.items()
    }


def sgd(lr, **more):
    return {"train.optimizer.name": "sgd", "train.optimizer.lr": lr} | {
        f"train.optimizer.{key}": value for key, value in more.items()
    }


TENTH_EVERY_6 = {
    "train.schedule.name": "step",
    "train.schedule.every": 6,
    "train.schedule.gamma": 0.1,
}

TRANSFORMS = {  # Jenni, Meishvili, Favaro 2020
    "3.3": adamw(3e-4, betas=[0.9, 0.99], weight_decay=1e-4)
    | {"train.schedule.name": "cosine", "train.schedule.final": 1e-3, "augment.flip": 0.5}
    | FRAMES_112
    | CROPS,
    "3.1": {"sampler.frames": 16},
    "4, datasets": {"evaluation.stride": 4},
}
WARPED = {"3.1": {"sampler.speeds": [0, 1, 2, 3], "sampler.warp_steps": [1, 8]}}
"""No to seven frames are skipped between two of a warped clip."""
TRANSFORMS_FINETUNE = {
    "3.3": adamw(5e-5, betas=[0.9, 0.99], weight_decay=1e-4)
    | {"train.schedule.name": "cosine", "train.schedule.final": 1e-3}
    | {"train.batch_videos": 28, "augment.flip": 0.5}
    | CROPS,
    "4, datasets": {"sampler.stride": 4, "evaluation.stride": 4, "freeze": False},
}
TRANSFORMS_TASK = {
    "3.3": adamw(5e-5, betas=[0.9, 0.99], weight_decay=1e-4)
    | {"train.schedule.name": "cosine", "train.schedule.final": 1e-3, "augment.flip": 0.5}
    | FRAMES_112
    | CROPS,
    "3.1": {"sampler.frames": 16},
    "4, three fully connected layers, and 3.3": {
        "pretext.0.hidden": [2048, 2048],
        "pretext.0.norm": True,
    },
    "4, C3D": {"train.epochs": 75, "backbone.name": "c3d_light"},
}
EQUIVARIANT = {  # Jenni, Jin 2021
    "3.4": {"train.optimizer.name": "adamw", "train.optimizer.betas": [0.9, 0.999]}
    | {"train.schedule.name": "cosine", "evaluation.tap": "pool5", "evaluation.standardise": True},
    "3.2, four classes, and 3.4, of which one plays every fourth frame": {
        "sampler.speeds": [0, 1, 2, 3]
    },
}
EQUIVARIANT_FINETUNE = {
    "3.4": {"train.optimizer.name": "adamw", "train.optimizer.betas": [0.9, 0.999]}
    | {"train.schedule.name": "cosine"},
    "4.2": {"train.batch_videos": 32},
}
HARA = {"backbone.name": "r3d", "backbone.depth": 18, "backbone.stem": "hara"}
PLAYBACK = {  # Cho, Kim, Chang, Hwang 2020
    "4": sgd(0.001, momentum=0.9, weight_decay=5e-4)
    | {"train.epochs": 300, "train.batch_videos": 8, "input.crop": 112, "augment.crop": "random"},
}
PLAYBACK_CLIPS = {
    "4": {"sampler.frames": 16},
    "4.1, table 7": {"backbone.norm.name": "tgn", "backbone.norm.frames": 2, "sampler.speeds": 5},
}
SSTL = {  # submission to ICLR 2021
    "3.1": {"sampler.rate": [1.0, 1.25]},
    "3.2": {"pretext.0.spread": 0.6, "pretext.0.columns": 2, "pretext.0.contrast_weight": 1.0}
    | {"pretext.0.rate_weight": 0.1, "pretext.0.video_weight": 0.2}
    | {"pretext.0.bank_from": "outside"},
    "4.2": sgd(2.0, momentum=0.9, weight_decay=1e-6)
    | {"train.epochs": 300, "train.batch_videos": 2048, "train.schedule.name": "cosine"}
    | {"pretext.0.temperature": 0.1, "input.resize": 112, "input.crop": 112, "sampler.frames": 16},
    "4.4": {"evaluation.clips": 10, "evaluation.tap": "projection"},
    "4.5": {"sampler.buffer": 12, "sampler.dropout": 4, "pretext.0.bank_negatives": 2048}
    | {"pretext.0.proj_dim": 512},
}
SSTL_SPATIAL = {
    "3.2": {"pretext.0.bank_from": "outside"},
    "4.2": SSTL["4.2"],
    "4.4": SSTL["4.4"],
    "4.5, table 4": {"sampler.buffer": 0, "sampler.dropout": 0, "sampler.rate": [1.0, 1.0]},
}
STATISTICS_2 = {  # Wang 2020
    "2.3.2": sgd(0.001)
    | {"train.batch_videos": 30, "train.epochs": 18, "train.repeats": 1, "sampler.frames": 16}
    | {"sampler.start": "random"}
    | TENTH_EVERY_6
    | FRAMES_112
    | CROPS,
    "table 2.1": {"backbone.name": "c3d_light", "pretext.0.hidden": [2048, 2048]},
}
STATISTICS_3 = {
    "3.4.2": sgd(5e-4)
    | {"train.batch_videos": 30, "train.epochs": 20, "augment.flip": 0.5}
    | {"pretext.0.motion": 1, "pretext.0.appearance": 0.1}
    | TENTH_EVERY_6
    | FRAMES_112
    | CROPS,
    "3.6.2": {"evaluation.clips": 10},
}
PIECES = {"3.4.2, UCF101": {"sampler.start": "pieces", "sampler.frames": 16}}
PACE = {
    "4.3": sgd(0.001)
    | {"train.epochs": 20, "augment.flip": 0.5}
    | {"pretext.0.weight": 1, "pretext.1.weight": 0.1, "evaluation.clips": 10}
    | TENTH_EVERY_6
    | CROPS,
    "4.2.2": {"augment.colour.per": "frame"},
    "4.4.1": {"sampler.paces": [1, 2, 3, 4]},
}
PACE_112 = {"4.3": FRAMES_112 | {"sampler.frames": 16, "train.batch_videos": 30}}

VIDEOMAE = {  # Tong, Song, Wang, Wang 2022
    "3.3": {"pretext.0.mask": "tube", "pretext.0.normalise": True},
    "released scripts": {"train.optimizer.betas": [0.9, 0.95], "backbone.size": "base"}
    | {"sampler.frames": 16, "sampler.stride": 4, "pretext.0.depth": 4, "input.crop": 224},
}

STATED = [
    ("papers/temporal-transforms-c3d-ucf101", TRANSFORMS, WARPED, {"4": {"train.epochs": 100}}),
    ("papers/temporal-transforms-c3d-kinetics600", TRANSFORMS, WARPED, {"4": {"train.epochs": 15}}),
    ("papers/temporal-transforms-r2d3d-ucf101", TRANSFORMS, WARPED, {"4": {"train.epochs": 200}}),
    (
        "papers/temporal-transforms-r2d3d-kinetics600",
        *(TRANSFORMS, WARPED),
        {
            "4": {"train.epochs": 15},
            "4, nearest neighbours": {"evaluation.clips": 10, "evaluation.standardise": True}
            | {"evaluation.pool": "gap"},
        },
    ),
    (
        "papers/temporal-transforms-r2plus1d-ucf101",
        TRANSFORMS,
        WARPED,
        {"4": {"train.epochs": 200}},
    ),
    ("papers/rotation-c3d-ucf101", TRANSFORMS),
    ("papers/shuffle-and-learn-c3d-ucf101", TRANSFORMS),
    ("papers/temporal-transforms-finetune", TRANSFORMS_FINETUNE, {"4": {"train.epochs": 150}}),
    (
        "papers/temporal-transforms-finetune-c3d",
        TRANSFORMS_FINETUNE,
        {"4": {"train.epochs": 75, "hidden": [2048, 2048], "heads": "run"}}
        | {"3.3, all but the last layer": {"hidden_norm": True}},
    ),
    (
        "papers/temporal-transforms-sync",
        *(TRANSFORMS_TASK, {"3.3": {"train.batch_videos": 28}}),
        {"4": {"sampler.reach": 6, "pretext.0.over": "difference", "pretext.0.label": "delay"}},
    ),
    (
        "papers/temporal-transforms-before-after",
        *(TRANSFORMS_TASK, {"3.3": {"train.batch_videos": 14}}),  # 28 examples: both orders
        {"4, two runs of 8 frames": {"sampler.frames": 16}},
    ),
    (
        "papers/time-equivariant-r3d-ucf101",
        EQUIVARIANT,
        {"4.1": {"train.epochs": 400, "train.batch_videos": 192}, "3.4": HARA}
        | {"table 2, of the same network": {"input.crop": 128, "sampler.frames": 16}},
    ),
    (
        "papers/time-equivariant-r3d-kinetics400",
        EQUIVARIANT,
        {"4.2": {"train.epochs": 200, "train.batch_videos": 512}, "3.4": HARA}
        | {"table 2": {"input.crop": 128, "sampler.frames": 16}},
    ),
    (
        "papers/time-equivariant-r2plus1d-ucf101",
        *(EQUIVARIANT, {"table 2": {"input.crop": 112, "sampler.frames": 16}}),
    ),
    (
        "papers/time-equivariant-r2plus1d-kinetics400",
        EQUIVARIANT,
        {"4.2": {"train.epochs": 200, "train.batch_videos": 192}}
        | {"table 2": {"input.crop": 112, "sampler.frames": 16}},
    ),
    (
        "papers/time-equivariant-s3dg-kinetics400",
        EQUIVARIANT,
        {"4.2": {"train.epochs": 200, "train.batch_videos": 256}}
        | {"table 2": {"input.crop": 128, "sampler.frames": 32}},
    ),
    (
        "papers/time-equivariant-r2plus1d-diving48",
        EQUIVARIANT,
        {"4.2": {"backbone.name": "r2plus1d", "sampler.frames": 16, "evaluation.stride": 2}},
    ),
    (
        "papers/time-equivariant-finetune",
        EQUIVARIANT_FINETUNE,
        {"4.2": {"train.epochs": 100}, "3.4": {"sampler.stride": 4, "evaluation.stride": 4}},
    ),
    (
        "papers/time-equivariant-finetune-diving48",
        *(EQUIVARIANT_FINETUNE, {"4.2": {"sampler.stride": 2, "sampler.frames": 16}}),
    ),
    (
        "papers/playback-speed-c3d-ucf101",
        *(PLAYBACK, PLAYBACK_CLIPS, {"3.2, table 1": {"backbone.temporal_pool": "psp_table1"}}),
    ),
    ("papers/playback-speed-r3d-ucf101", PLAYBACK, PLAYBACK_CLIPS),
    ("papers/playback-speed-r2plus1d-ucf101", PLAYBACK, PLAYBACK_CLIPS),
    (
        "papers/speed-prediction-c3d-ucf101",
        PLAYBACK,
        {"4.1": {"sampler.paces": [-3, 1, 3]}, "3.2": {"backbone.temporal_pool": "psp_table1"}},
    ),
    ("papers/clip-order-c3d-ucf101", {"4.1, table 5": {"sampler.clips": 3}}),
    ("papers/clip-order-r3d-ucf101", {"4.1, table 5": {"sampler.clips": 3}}),
    ("papers/clip-order-r2plus1d-ucf101", {"4.1, table 5": {"sampler.clips": 3}}),
    (
        "papers/playback-speed-finetune",
        {
            "4": sgd(0.001, momentum=0.9, weight_decay=5e-4)
            | {"train.epochs": 150, "dropout": 0.5, "sampler.frames": 16, "hidden": []}
            | CROPS,
        },
    ),
    ("papers/sstl-r3d-kinetics400", SSTL),
    ("papers/sstl-spatial-r3d-kinetics400", SSTL_SPATIAL),
    (
        "papers/sstl-finetune",
        {
            "4.2": sgd(0.02, weight_decay=0.01)
            | {"train.epochs": 120, "train.schedule.epochs": [50, 80, 100]}
            | {"train.schedule.gamma": 0.15, "evaluation.clips": 5, "evaluation.crops": "centre"},
        },
    ),
    ("papers/statistics-c3d-light-ucf101", STATISTICS_2),
    (
        "papers/statistics-finetune-c3d-light",
        {
            "2.3.2": sgd(0.003)
            | {"train.batch_videos": 30, "train.epochs": 18, "hidden": [2048, 2048]}
            | {"augment.flip": 0, "sampler.frames": 16}
            | TENTH_EVERY_6
            | CROPS,
        },
    ),
    ("papers/statistics-c3d-ucf101", STATISTICS_3, PIECES),
    ("papers/statistics-r3d-ucf101", STATISTICS_3, PIECES),
    ("papers/statistics-r2plus1d-ucf101", STATISTICS_3, PIECES),
    (
        "papers/statistics-curriculum-r2plus1d-k400",
        STATISTICS_3,
        {"3.2": {"sampler.pacing.name": "single", "sampler.pacing.start": 0.5}}
        | {"3.4.2, K-400": {"sampler.sampler.start": "random", "sampler.sampler.frames": 16}},
    ),
    (
        "finetune",
        {
            "3.4.2, 4.3": sgd(0.003)
            | {"train.batch_videos": 30, "train.epochs": 20, "augment.flip": 0.5}
            | {"evaluation.clips": 10}
            | TENTH_EVERY_6
            | CROPS,
        },
    ),
    ("papers/pace-c3d-ucf101", PACE, PACE_112),
    ("papers/pace-r3d-ucf101", PACE, PACE_112),
    ("papers/pace-r2plus1d-ucf101", PACE, PACE_112),
    ("papers/pace-r2plus1d-kinetics400", PACE, PACE_112),
    (
        "papers/pace-s3dg-ucf101",
        PACE,
        {"4.5, table 4.7": {"input.crop": 224, "sampler.frames": 64}},
    ),
    ("papers/rotation-r3d-kinetics400", {"thesis, table 4.7": {"input.crop": 224}}),
    (
        "papers/speediness-s3dg-kinetics400",
        {"thesis, table 4.7": {"input.crop": 224, "sampler.frames": 64}},
    ),
    (
        "papers/videomae-vit-b-ucf101",
        VIDEOMAE,
        {
            "released script": adamw(3e-4 * 8 * 24 / 256)
            | {"train.batch_videos": 8 * 24, "train.epochs": 3200, "pretext.0.ratio": 0.75}
        },
    ),
    (
        "papers/videomae-vit-b-kinetics400",
        VIDEOMAE,
        {
            "3.2, extremely high ratio": {"pretext.0.ratio": 0.9},
            "released script": adamw(1.5e-4 * 64 * 32 / 256)
            | {"train.batch_videos": 64 * 32, "train.epochs": 1600},
        },
    ),
    (
        "papers/videomae-finetune",
        {
            "released script": adamw(5e-4 * 8 * 16 / 256, betas=[0.9, 0.999], weight_decay=0.05)
            | {"train.batch_videos": 8 * 16, "train.repeats": 2, "train.epochs": 100}
            | {"dropout": 0.5, "sampler.frames": 16, "sampler.stride": 4}
            | {"evaluation.clips": 5, "evaluation.crops": "three"}
        },
    ),
    (
        "papers/vjepa-vit-l-videomix2m",
        {
            "3.2, L1": {"pretext.0.loss": "l1"},
            "3.2, multi-block masks": {
                "pretext.0.masks": [
                    {"count": 8, "area": 0.15, "ratio": [0.75, 1.5]},
                    {"count": 2, "area": 0.7, "ratio": [0.75, 1.5]},
                ]
            },
            "released configuration": adamw(6.25e-4, weight_decay=0.04)
            | {"train.batch_videos": 16 * 8 * 24, "train.clip_gradient": 10}
            | {"backbone.size": "large", "sampler.frames": 16, "sampler.stride": 4}
            | {"pretext.0.depth": 12, "pretext.0.width": 384, "pretext.0.momentum": 0.998}
            | {"augment.crop": {"scale": [0.3, 1], "ratio": [0.75, 1.35]}, "input.crop": 224},
        },
    ),
]
"""Recipe, then what is stated, by section; for baselines, by the paper that quotes them."""


@cache
def keys(name):
    return document(load(name))


def value(name, key):
    found = keys(name)
    for part in key.split("."):
        found = found[int(part)] if isinstance(found, list) else found[part]
    return found


@pytest.mark.parametrize(
    ("name", "section", "stated"),
    [
        pytest.param(name, section, stated, id=f"{name}, {section}")
        for name, *parts in STATED
        for part in parts
        for section, stated in part.items()
    ],
)
def test_a_recipe_has_the_constants_of_its_paper(name, section, stated):
    assert {key: value(name, key) for key in stated} == stated, f"section {section}"


def test_every_recipe_on_the_page_has_its_constants_checked():
    named = {recipe for row in ROWS for recipe, _ in row.asked[0]}
    assert named == {name for name, *_ in STATED}


TRANSFORM_TYPES = [
    ("[speed]", 28),
    ("[speed, random]", 14),
    ("[speed, random, warp]", 9),
    ("[speed, random, periodic, warp]", 7),
]


@pytest.mark.parametrize(("types", "videos"), TRANSFORM_TYPES)
def test_a_batch_of_temporal_transformations_has_28_examples(types, videos):
    """Section 3.3: 28 examples, including all the transformed sequences."""
    name = "papers/temporal-transforms-c3d-ucf101"
    changes = [f"sampler.types={types}", f"train.batch_videos={videos}"]
    recipe = load(name, changes)
    views = recipe.sampler.build().views
    assert videos == 28 // views
    kept = f" --set train.batch_videos={videos}" if views < 4 else ""
    comment = find(name).read_text(encoding="utf-8").partition("summary:")[0]
    rows = re.findall(r"--set '?sampler\.types=\[([a-z, ]+)\]'?(.*)", comment)
    assert {more for types, more in rows if len(types.split(", ")) == views} == {kept} - {""}


def test_sstl_fine_tunes_on_images_processed_as_in_pre_training():
    """Section 4.2."""
    assert value("papers/sstl-finetune", "augment") == value(
        "papers/sstl-r3d-kinetics400", "augment"
    )


def test_chapters_3_and_4_fine_tune_as_they_pre_train_but_for_the_rate():
    """Sections 3.4.2 and 4.3."""
    for key in ("train.schedule", "train.batch_videos", "train.epochs", "augment.flip"):
        for name in ("papers/pace-r2plus1d-ucf101", "papers/statistics-r2plus1d-ucf101"):
            assert value("finetune", key) == value(name, key), key


def test_short_videos_stay_in_playback_speed():
    """Section 4: UCF101 has 13,320 videos, and none is left out."""
    for name, *_ in STATED:
        if "playback-speed-" in name and "finetune" not in name:
            assert value(name, "sampler.short_video") == "loop"


def test_appearance_alone_learns_at_the_rate_of_the_paper():
    """Section 2.3.2 states one rate; lambda of 0.1 on the only loss would divide it by ten."""
    said = find("papers/statistics-c3d-light-ucf101").read_text(encoding="utf-8")
    assert "48.6 %   --set pretext.motion=0 --set pretext.appearance=1\n" in said
