"""What retrieval offers beside its figures: protocols, layers, baselines, pictures, still clips."""

from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from vidssl_cli.base.errors import UsageError
from vidssl_cli.config.sections import Evaluation
from vidssl_cli.contract.reports import Curves, Neighbours
from vidssl_cli.contract.study import Layer
from vidssl_cli.contract.videos import Video
from vidssl_cli.evaluation.made_up import TAPS, MadeUpStudy, clouds, labelled, noise
from vidssl_plugins.evaluators.hooks import Retrieval
from vidssl_plugins.evaluators.options.retrieval_protocols import PROTOCOLS, Preset

POOLS = {f"pool{number}": 8 for number in range(1, 6)} | {"conv5": 8, "projection": 8}


def evaluate(study, **options):
    return Retrieval(name="retrieval", **options).build()(study)


def table(report, title):
    (found,) = [table for table in report.tables if table.title == title]
    return found


# Against brute force.


@given(
    seed=st.integers(0, 1000),
    gallery=st.integers(1, 12),
    queries=st.integers(1, 5),
    directions=st.integers(1, 4),
    level=st.sampled_from(["video", "clip"]),
)
def test_agrees_with_brute_force_on_ties_duplicates_and_tiny_galleries(
    seed, gallery, queries, directions, level
):
    generator = np.random.default_rng(seed)
    features = generator.integers(0, directions, (gallery + queries, 2, 2))
    features[..., 1] += 1
    labels = generator.integers(0, 3, gallery + queries).tolist()
    if len(set(labels)) == 1:
        labels[-1] = (labels[0] + 1) % 3
    videos = [
        Video(str(i), label=str(label), split="train" if i < gallery else "test", frames=50)
        for i, label in enumerate(labels)
    ]
    clips = {video.path: rows for video, rows in zip(videos, features, strict=True)}
    study = MadeUpStudy(
        lambda weights, look, reading: clips[look.video.path],
        videos[:gallery],
        videos[gallery:],
        weights=("run",),
    )
    (row,) = evaluate(study, level=level).rows

    if level == "video":
        items, owners = features.mean(1), labels
    else:
        items, owners = features.reshape(-1, 2), np.repeat(labels, 2).tolist()
    size = gallery * (1 if level == "video" else 2)
    if (items[:size] == items[0]).all():
        return  # nothing to rank: see below
    unit = [item / np.linalg.norm(item) for item in items]
    firsts, precisions = [], []
    for asked, wanted in zip(unit[size:], owners[size:], strict=True):
        cosines = [round(float(asked @ item), 5) for item in unit[:size]]
        order = sorted(range(size), key=lambda i: -cosines[i])  # stable, as the protocol is
        right = [owners[i] == wanted for i in order]
        firsts.append(right.index(True) if any(right) else size)
        strictly = [float(-place) for place in range(size)]
        precisions.append(average_precision_score(right, strictly) if any(right) else 0)
    expected = {f"top{k}": np.mean([first < k for first in firsts]) for k in (1, 5, 10, 20, 50)}
    found = {key: row[key] for key in expected if key in row}
    assert found == pytest.approx({key: expected[key] for key in found})
    assert max(int(key[3:]) for key in found) <= size
    assert row["mAP"] == pytest.approx(np.mean(precisions))


@pytest.mark.parametrize("size", [1, 4])
def test_neighbours_that_the_gallery_lacks(size):
    study = MadeUpStudy(train=labelled("train", 2)[:size])
    report = evaluate(study)
    assert list(report.rows[0]) == ["weights", "top1", "mAP"]
    assert report.facts["dropped"] == "top5 top10 top20 top50"
    assert not report.tables
    with pytest.raises(UsageError, match=f"top5 needs as many gallery items; there are {size}"):
        evaluate(study, topk=[1, 5])


def test_one_class_is_not_enough():
    study = MadeUpStudy(train=labelled("train", 4, classes=1), test=labelled("test", 4, classes=1))
    with pytest.raises(UsageError, match="one class, '0'"):
        evaluate(study)


# Protocols of papers.


def test_every_preset_has_a_row():
    assert set(get_args(Preset)) == PROTOCOLS.keys()


EXPECTED = {  # methods.md 9.3 and 9.4; the texts for pace (4.6), sts (3.6.2) and sstl (4.4)
    "vcop": ("video", 10, "conv5", "maxpool122", "centre", False),
    "psp": ("video", 10, "conv5", "maxpool122", "centre", False),
    "pace": ("clip", 10, "pool5", "gap", "centre", False),
    "sts": ("video", 10, "pool5", "gap", "centre", False),
    "tt": ("video", 10, "pool5", "gap", "centre", True),
    "te": ("video", 10, "pool5", "gap", "three", True),
    "sstl": ("clip", 10, "projection", "gap", "centre", False),
}


@pytest.mark.parametrize("preset", EXPECTED)
def test_a_preset_is_carried_out(preset):
    level, clips, tap, pool, crops, standardise = EXPECTED[preset]
    study = MadeUpStudy(
        lambda weights, look, reading: np.random.default_rng(0).normal(size=(10, 8)),
        taps=POOLS,
        evaluation=Evaluation(clips=2, tap="pool4", pool="gmp", standardise=not standardise),
    )
    report = evaluate(study, preset=preset)
    looks, readings, asked = study.asked[-1]
    assert (len(looks[0].frames), readings[0], asked) == (clips, Layer(tap, pool), crops)
    assert (report.facts["level"], report.facts["standardise"]) == (level, standardise)
    assert report.facts["preset"] == preset


def test_what_is_given_wins_over_a_preset():
    study = MadeUpStudy()
    report = evaluate(study, preset="te", clips=3, crops="centre", tap="feat", standardise=False)
    (looks, readings, crops) = study.asked[-1]
    assert (len(looks[0].frames), readings, crops) == (3, [Layer("feat", "gap")], "centre")
    assert report.facts["standardise"] is False


def test_coclr_looks_at_overlapping_clips_and_centres_each_side():
    features = {"a": [[3.0, 9]], "b": [[3.0, 1]], "c": [[0.0, 9]], "d": [[0.0, 7]]}
    train = [Video(p, label=p, split="train", frames=61) for p in "ab"]
    test = [Video(p, label={"c": "a", "d": "b"}[p], split="test", frames=61) for p in "cd"]
    study = MadeUpStudy(
        lambda weights, look, reading: np.array(features[look.video.path]),
        train,
        test,
        weights=("run",),
        taps=POOLS,
        frames=32,
    )
    report = evaluate(study, preset="coclr")
    assert study.asked[-1][0][0].frames[:, 0].tolist() == [0, 15]
    assert (report.facts["windows"], report.facts["hop"]) == ("overlap", 15)
    assert report.rows[0]["top1"] == 1
    assert evaluate(study, preset="coclr", standardise=False).rows[0]["top1"] == 0.5


def test_crops_are_items_of_their_own_at_the_level_of_clips():
    report = evaluate(MadeUpStudy(), level="clip", crops="three")
    assert (report.facts["queries"], report.facts["gallery"]) == (2 * 3 * 12, 2 * 3 * 24)


# Layers.


def test_layers_are_read_in_one_pass():
    study = MadeUpStudy(
        lambda weights, look, reading: clouds(
            "run" if reading.tap in ("pool4", "conv5") else "random", look, reading
        )
    )
    report = evaluate(study, taps=["pool3", "pool4:gmp", "pool5"], topk=[1])
    assert len(study.asked) == 2  # one for each set of weights
    expected = [Layer("pool5"), Layer("pool3"), Layer("pool4", "gmp")]
    assert study.asked[0][1] == expected
    found = table(report, "by layer, percent")
    assert [row[:3] for row in found.rows[:3]] == [
        ["pool3", "gap", "run"],
        ["pool3", "gap", "random"],
        ["pool4", "gmp", "run"],
    ]
    assert found.rows[2][3:] == [100, 100]
    leading = [round(100 * report.rows[0][name], 1) for name in ("top1", "mAP")]
    assert found.rows[4][3:] == leading
    (curves,) = [f for f in report.figures if f.title == "retrieval by layer"]
    assert curves.lines["run"][1] == (2, 1)
    assert [x for x, _ in curves.lines["random"]] == [1, 2, 3]


def test_a_layer_that_is_not_there():
    with pytest.raises(UsageError, match="no tap 'pool9'"):
        evaluate(MadeUpStudy(), taps=["pool4", "pool9"])


# Pictures.


def test_recall_at_k_rises_to_the_figures_of_the_rows():
    report = evaluate(MadeUpStudy())
    curves = report.figures[0]
    assert isinstance(curves, Curves)
    assert curves.lines.keys() == {"run", "random", "chance"}
    lines = {name: dict(line) for name, line in curves.lines.items()}
    for row in report.rows:
        line = lines[row["weights"]]
        assert [line[k] for k in (1, 5, 10, 20)] == [row[f"top{k}"] for k in (1, 5, 10, 20)]
        assert list(line.values()) == sorted(line.values())
    assert lines["chance"][5] == report.chances["top5"]


@pytest.mark.parametrize("level", ["video", "clip"])
def test_a_handful_of_right_and_wrong_answers(level):
    def mistaken(weights, look, reading):
        taken = "1" if look.video.split == "test" and look.video.label == "2" else look.video.label
        return clouds(weights, replace(look, video=replace(look.video, label=taken)), reading)

    study = MadeUpStudy(mistaken)
    report = evaluate(study, level=level)
    right, wrong = [figure for figure in report.figures if isinstance(figure, Neighbours)]
    for figure, kind in ((right, True), (wrong, False)):
        assert 0 < len(figure.queries) <= 5
        for (path, label), hits in zip(figure.queries, figure.hits, strict=True):
            assert path.startswith("test")
            assert len(hits) == 5
            assert (hits[0][1] == label) is kind
            cosines = [cosine for *_, cosine in hits]
            assert cosines == sorted(cosines, reverse=True)
    assert evaluate(study, level=level).figures == report.figures


# Hand-made features.


def test_baselines_are_compared_with_networks():
    def colourful(name, video):
        return np.eye(3)[int(video.label)] if name == "colour" else noise(name, video)

    report = evaluate(MadeUpStudy(hand_made=colourful), baselines=True, level="clip", clips=3)
    found = table(report, "compared with hand-made features, percent")
    rows = {name: dict(zip(found.columns[1:], row, strict=True)) for name, *row in found.rows}
    assert list(rows)[:2] == ["run", "random"]
    assert list(rows)[-1] == "chance"
    assert rows["colour"] == {"top1": 100, "top5": 100, "top10": 100, "top20": 100, "mAP": 100} | {
        "top50": None  # clips are more than 50, videos are not
    }
    assert rows["motion_energy"]["top1"] < 80
    assert not evaluate(MadeUpStudy()).tables


# Still clips.


def pictures(weights, look, reading):
    """See the first frame of each clip alone, and a class only where frames differ."""
    moves = (np.diff(look.frames) != 0).any()
    return clouds(weights if moves else "random", look, reading)


def test_still_clips_take_what_only_motion_tells():
    assert evaluate(MadeUpStudy(pictures)).rows[0]["top1"] == 1
    study = MadeUpStudy(pictures)
    report = evaluate(study, still=True)
    assert report.rows[0]["top1"] < 0.8
    assert report.facts["still"] is True
    looks, *_ = study.asked[-1]
    assert looks[0].frames.tolist() == [[8] * 16, [92] * 16]  # the middles of 0-15 and 84-99


@pytest.mark.parametrize("standardise", [False, True])
def test_where_everything_looks_the_same_nothing_is_ranked(standardise):
    def constant(weights, look, reading):
        rounding = 1e-7 * noise(weights, look.video)[:1]
        return np.full((2, TAPS[reading.tap]), 3.0) + rounding

    report = evaluate(MadeUpStudy(constant), standardise=standardise)
    run, random = ({k: v for k, v in row.items() if k != "weights"} for row in report.rows)
    assert run == random == report.chances
    ((who, why),) = table(report, "nothing to rank").rows
    assert who == "run, random"
    assert "all videos the same features" in why
    assert not [figure for figure in report.figures if isinstance(figure, Neighbours)]


def test_a_network_that_sees_differences_is_not_asked_about_still_clips():
    study = MadeUpStudy(residual=True)
    report = evaluate(study, still=True, taps=["pool4"])
    assert not study.asked
    run, random = ({k: v for k, v in row.items() if k != "weights"} for row in report.rows)
    assert run == random == report.chances
    ((_, why),) = table(report, "nothing to rank").rows
    assert "differences of frames, of which still clips have none" in why
    assert evaluate(study).rows[0]["top1"] == 1


def test_the_page_tells_every_preset_as_it_is():
    page = (Path(__file__).parents[3] / "docs" / "evaluation.md").read_text(encoding="utf-8")
    rows = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in page.splitlines()]
    told = {row[0]: row[2:] for row in rows if len(row) == 7 and row[0] in PROTOCOLS}
    assert told.keys() == PROTOCOLS.keys()
    for name, protocol in PROTOCOLS.items():
        clips = (
            str(protocol.clips)
            if protocol.windows == "uniform"
            else f"every {protocol.hop}th frame"
        )
        layer = f"{protocol.tap}, {protocol.pool}" + ("; pool1 to pool5" if protocol.taps else "")
        scaled = {True: "yes", False: "no"}.get(protocol.standardise, protocol.standardise)
        assert told[name] == [protocol.level, clips, protocol.crops, layer, scaled], name
