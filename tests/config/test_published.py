"""Figures of papers: as the papers print them, each with its source, found by key and by word."""

import functools
import json
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from rich.console import Console

from vidssl_cli.base.errors import RecipeError, UsageError
from vidssl_cli.cli import app
from vidssl_cli.cli.failures import run
from vidssl_cli.config import known_datasets, published
from vidssl_cli.config.known_datasets import datasets
from vidssl_cli.config.load import load, names
from vidssl_cli.config.published import printed, rows, select
from vidssl_cli.contract.registry import offered, registry

EVALUATORS = {
    *("finetune", "linear", "svm", "knn", "retrieval", "pretext"),
    *("sync", "before_after", "still", "scene", "similarity"),
}
"""Protocols that papers use; of some of them vidssl has no plugin."""

# (key, data set, figures as the papers print them)
ANCHORS = [
    ("jenni-2020/ablation-frozen/speed-random-periodic-warp", "UCF101", {"accuracy": 60.6}),
    ("jenni-2020/ablation-finetuned/speed-random-warp", "HMDB51", {"video_accuracy": 39.2}),
    (
        "jenni-2020/recognition/temporal-transformations-r2plus1d-ucf101",
        "HMDB51",
        {"video_accuracy": 46.4},
    ),
    ("jenni-2020/sync/temporal-transformations", "UCF101", {"accuracy": 42.4, "mae": 1.61}),
    ("jenni-2020/before-after/3d-rotnet", "UCF101", {"accuracy": 57.8}),
    ("jenni-2020/still/temporal-transformations", "UCF101", {"still": 1.0, "accuracy": 58.1}),
    (
        "jenni-2020/retrieval/temporal-transformations-3d-resnet18",
        "UCF101",
        {"top1": 26.1, "top5": 48.5, "top10": 59.1, "top20": 69.6, "top50": 82.8},
    ),
    ("jenni-2021/ablation-svm/d-temporal", "HMDB51", {"accuracy": 47.5}),
    ("jenni-2021/ablation-knn/f-equi", "UCF101", {"accuracy": 21.2}),
    ("jenni-2021/recognition/cvrl-r3d-50-kinetics-400", "UCF101", {"video_accuracy": 92.1}),
    (
        "jenni-2021/retrieval/time-equivariant-r2plus1d",
        "HMDB51",
        {"top1": 29.5, "top5": 55.8, "top10": 68.0, "top20": 78.2},
    ),
    ("jenni-2021/diving48/time-equivariant-2x", "Diving48 V2", {"video_accuracy": 76.2}),
    ("cho-2020/clips/vcop-5", "UCF101", {"video_accuracy": 61.67}),
    ("cho-2020/tgn/r3d-2", "UCF101", {"video_accuracy": 69.10}),
    ("cho-2020/recognition/playback-speed-r2plus1d", "UCF101", {"video_accuracy": 74.82}),
    ("cho-2020/best/object-labels", "HMDB51", {"video_accuracy": 28.5}),
    (
        "cho-2020/retrieval-hmdb51/playback-speed-r3d",
        "HMDB51",
        {"top1": 10.3, "top5": 26.6, "top10": 38.8, "top20": 54.6, "top50": 76.8},
    ),
    ("sstl-2021/recognition/sstl-r3d-18", "HMDB51", {"video_accuracy": 49.7}),
    ("sstl-2021/recognition-text/sstl", "UCF101", {"video_accuracy": 74.5}),
    (
        "sstl-2021/augmentation/frames-16-12-distortion-prediction",
        "UCF101",
        {"video_accuracy": 75.2},
    ),
    ("sstl-2021/bank/bank-2048-temporal-video", "UCF101", {"video_accuracy": 73.9}),
    ("wang-2020/patterns/pattern-3", "UCF101", {"clip_accuracy": 54.2}),
    ("wang-2020/signals/motion", "HMDB51", {"clip_accuracy": 29.95}),
    ("wang-2020/scenes-2/statistics-c3d", "YUPENN", {"accuracy": 90.2}),
    ("wang-2020/backbones/statistics-r2plus1d", "UCF101", {"video_accuracy": 73.6}),
    ("wang-2020/shares/r2plus1d-3-of-4", "HMDB51", {"video_accuracy": 37.5}),
    ("wang-2020/curriculum/curriculum", "HMDB51", {"video_accuracy": 40.5}),
    ("wang-2020/recognition-3/dpc-r3d-34", "UCF101", {"video_accuracy": 75.7}),
    ("wang-2020/scenes-3/statistics-c3d", "YUPENN", {"accuracy": 96.7}),
    ("wang-2020/similarity/statistics-r2plus1d", "ASLAN", {"accuracy": 61.6}),
    ("wang-2020/paces-own-task/pace-1-4", "UCF101", {"pace.accuracy": 69.5}),
    ("wang-2020/steps/step-2", "UCF101", {"video_accuracy": 74.9}),
    ("wang-2020/contrast/pace-same-context-fc", "HMDB51", {"video_accuracy": 35.9}),
    ("wang-2020/recognition-4/pace-s3d-g-ucf101", "UCF101", {"video_accuracy": 87.1}),
    (
        "wang-2020/layers/pace-c3d-pool4",
        "UCF101",
        {"top1": 31.9, "top5": 49.7, "top10": 59.2, "top20": 68.9, "top50": 80.2},
    ),
]
# Sources that disagree are kept apart: (one, other, data set, metric, what each prints).
CONFLICTS = [
    ("jenni-2021/retrieval/vcop-r3d-18", "cho-2020/retrieval-hmdb51/vcop-r3d", "top20", 48.0, 48.8),
    (
        "jenni-2021/retrieval/playback-speed-r3d-18",
        "cho-2020/retrieval-hmdb51/playback-speed-r3d",
        *("top20", 51.6, 54.6),
    ),
    (
        "wang-2020/retrieval-4-hmdb51/pace-r2plus1d-pool4",
        "wang-2020/layers/pace-r2plus1d-pool4",
        *("top50", 77.1, 76.9),
    ),
    (
        "wang-2020/shares/r2plus1d-random",
        "wang-2020/backbones/random-r2plus1d",
        *("video_accuracy", 22.2, 22.0),
    ),
]


def find(key, dataset):
    (row,) = [row for row in rows() if row.key == key and row.dataset == dataset]
    return row


@pytest.mark.parametrize(("key", "dataset", "figures"), ANCHORS, ids=lambda value: str(value))
def test_figures_are_those_of_the_papers(key, dataset, figures):
    assert printed(find(key, dataset)) == figures


@pytest.mark.parametrize(("one", "other", "metric", "here", "there"), CONFLICTS)
def test_sources_that_disagree_are_both_kept(one, other, metric, here, there):
    assert printed(find(one, "HMDB51"))[metric] == here
    assert printed(find(other, "HMDB51"))[metric] == there


def test_every_table_is_there_with_all_its_rows():
    tables = Counter(
        (row.paper, row.table, row.dataset) for row in rows() if row.evaluator != "pretext"
    )
    assert tables["Jenni et al. 2020", "table 1", "UCF101"] == 16
    assert tables["Jenni et al. 2020", "table 2", "UCF101"] == 23
    assert tables["Jenni et al. 2020", "table 2", "HMDB51"] == 22  # arrow of time has none
    assert tables["Jenni et al. 2020", "table 4", "UCF101"] == 7
    assert tables["Jenni, Jin 2021", "table 1", "HMDB51"] == 3 * 15
    assert tables["Jenni, Jin 2021", "table 2", "UCF101"] == 21
    assert tables["Jenni, Jin 2021", "table 3", "UCF101"] == 17
    assert tables["Jenni, Jin 2021", "table 4", "Diving48 V1"] == 8
    assert tables["Cho et al. 2020", "table 8", "HMDB51"] == 12
    assert tables["Cho et al. 2020", "table 9", "UCF101"] == 9
    assert tables["SSTL (ICLR 2021 submission)", "table 1", "UCF101"] == 11
    assert tables["SSTL (ICLR 2021 submission)", "table 2", "UCF101"] == 8
    assert tables["SSTL (ICLR 2021 submission)", "table 4", "UCF101"] == 7
    assert tables["Wang 2020", "table 3.2", "HMDB51"] == 21
    assert tables["Wang 2020", "table 3.4", "UCF101"] == 14
    assert tables["Wang 2020", "table 3.5", "UCF101"] == 18
    assert tables["Wang 2020", "table 3.6", "HMDB51"] == 15
    assert tables["Wang 2020", "table 4.7", "UCF101"] == 18
    assert tables["Wang 2020", "table 4.10", "HMDB51"] == 15


@pytest.mark.parametrize(
    ("tables", "setting", "value"),
    [
        ("wang-2020/retrieval-3-ucf101 wang-2020/retrieval-3-hmdb51", "level", "video"),  # 3.6.2
        ("wang-2020/retrieval-4-ucf101 wang-2020/retrieval-4-hmdb51", "level", "clip"),  # 4.6
        ("wang-2020/layers", "level", "clip"),  # 4.6
        ("jenni-2020/recognition jenni-2020/retrieval", "input", 112),  # 3.3
        ("jenni-2020/ablation-frozen jenni-2020/ablation-finetuned", "splits", "1-3"),  # 4
    ],
)
def test_settings_are_those_of_the_papers(tables, setting, value):
    found = {row.setting.get(setting) for row in select(tables.split())} - {None}
    assert found == {value}


def test_networks_are_those_of_the_papers():
    ours = [row for row in select(["cho-2020"], "Playback speed", "C3D")]
    assert {row.backbone["temporal_pool"] for row in ours} == {"psp_table1"}  # table 1
    residual = select(["jenni-2021"], "Time-equivariant", "R3D-18")
    assert {row.backbone["stem"] for row in residual} == {"hara"}  # section 3.4


def test_no_row_stands_twice():
    keys = Counter((row.key, row.dataset) for row in rows())
    assert [key for key, count in keys.items() if count > 1] == []


def test_figures_are_percentages_and_more_neighbours_find_more():
    for row in rows():
        for metric, value in printed(row).items():
            assert 0 <= value <= 100, row.key
            assert value == round(value, 2), row.key
            assert row.units.get(metric, "percent") in ("percent", "frames")
        topk = {int(name[3:]): value for name, value in row.figures.items() if name[:3] == "top"}
        ascending = [topk[k] for k in sorted(topk)]
        assert all(fewer <= more for fewer, more in pairwise(ascending)), row.key
    assert find("jenni-2020/sync/temporal-transformations", "UCF101").figures == {
        "accuracy": 0.424,
        "mae": 1.61,
    }


def test_rows_name_what_there_is():
    for row in rows():
        assert row.dataset in datasets(), row.key
        assert row.setting.get("pretraining") in {None, "none", *datasets()}, row.key
        assert row.evaluator in EVALUATORS, row.key
        assert row.setting["method"], row.key
        if row.backbone:
            offered("backbone")[row.backbone["name"]].model_validate(dict(row.backbone))


@pytest.mark.parametrize(
    ("dataset", "classes", "better", "means"),
    [("UCF101", 101, 81, (45.30, 57.47)), ("HMDB51", 51, 39, (18.22, 29.77))],
)
def test_accuracy_by_class(dataset, classes, better, means):
    by_class = select([f"wang-2020/classes-{dataset.lower()}"])
    random, trained = map(printed, by_class)
    assert tuple(random) == tuple(trained) == datasets()[dataset].classes
    assert len(random) == classes
    assert sum(trained[name] > random[name] for name in random) == better
    for figures, mean in zip((random, trained), means, strict=True):
        assert round(sum(figures.values()) / classes, 2) == mean


@pytest.mark.parametrize("name", [name for name in names() if "papers/" in name])
def test_recipes_name_rows_that_there_are_of_their_own_network(name):
    recipe = load(name)
    if recipe.published:
        found = select(recipe.published)
        assert {row.backbone["name"] for row in found if row.backbone} <= {recipe.backbone.name}


def test_rows_are_found_by_key_and_by_word():
    assert {row.key for row in select(["wang-2020/layers/pace-c3d-pool4"])} == {
        "wang-2020/layers/pace-c3d-pool4"
    }
    assert len(select(["wang-2020/layers"])) == 30
    found = select(method="PACE", network="s3d", dataset="hmdb", evaluator="finetune")
    assert [printed(row) for row in found] == [{"video_accuracy": 52.6}]
    assert select(evaluator="fine") == []
    with pytest.raises(UsageError, match="'wang-2020/layer'; did you mean 'wang-2020/layers'"):
        select(["wang-2020/layer"])


PAPER = """\
paper: Somebody 2030
title: A method
url: https://example.org
networks: {Net: null}
tables:
  all:
    table: table 1
    evaluator: retrieval
    network: Net
    columns: [Mine top1, Mine top5]
    rows:
      ours: {method: A method, figures: [1.5, 2.5]}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Offer a folder of a package, and nothing else; what was read before is kept for others."""
    folders = {tmp_path / "one": "vidssl", tmp_path / "two": "another"}
    for each in folders:
        each.mkdir()
    monkeypatch.setattr(registry(), "published_folders", folders)
    for module, name in ((published, "rows"), (known_datasets, "datasets")):
        monkeypatch.setattr(module, name, functools.cache(getattr(module, name).__wrapped__))
    return tmp_path / "one"


def test_other_packages_add_papers_and_data_sets(folder):
    (folder / "somebody-2030.yaml").write_text(PAPER)
    (folder / "datasets.yaml").write_text("Mine: {classes: [a, b]}\n")
    (row,) = select(["somebody-2030"])
    assert (row.source, printed(row)) == ("Somebody 2030, table 1", {"top1": 1.5, "top5": 2.5})
    assert known_datasets.datasets()["Mine"].classes == ("a", "b")


def test_the_example_of_the_page_is_a_paper(folder):
    page = Path(__file__).parents[2] / "docs" / "evaluation.md"
    (example,) = re.findall(r"```yaml\n(.*?)```", page.read_text(), re.S)
    (folder / "somebody-2030.yaml").write_text(example)
    found = {row.dataset: row for row in select(["somebody-2030/retrieval/ours-r3d-18"])}
    assert printed(found["HMDB51"]) == {"top1": 10.3}
    assert found["UCF101"].backbone == {"name": "r3d", "depth": 18}


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("[1.5, 2.5]", "[1.5]", "all: ours: found 1 figures for 2 columns"),
        ("network: Net", "network: Nat", "all: ours: 'Nat' is not among the networks"),
        ("[1.5, 2.5]", "[1.5, high]", r":12:47: tables.all.rows.ours.figures.1: .*number"),
        ("table: table 1", "tabel: table 1", "7:5: tables.all.tabel: Extra inputs"),
        ("url: ", "paper: Else\nurl: ", "paper: occurs twice"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_with_its_place(folder, old, new, problem):
    (folder / "somebody-2030.yaml").write_text(PAPER.replace(old, new))
    with pytest.raises(RecipeError, match=problem):
        published.rows()


def test_two_files_of_one_name_are_refused_and_the_first_stays(folder, capfd):
    for name in ("one", "two"):
        (folder.parent / name / "somebody-2030.yaml").write_text(PAPER)
    assert len(published.rows()) == len({row.key for row in published.rows()}) > 0
    assert "one/somebody-2030.yaml and " in (said := capfd.readouterr().err)
    assert "have the same name" in said


def test_a_file_of_another_package_that_cannot_be_read_is_left_out(folder, capfd):
    (folder / "somebody-2030.yaml").write_text(PAPER)
    for name in ("else-2031.yaml", "datasets.yaml"):
        (folder.parent / "two" / name).write_text("nonsense: [")
    assert published.rows()
    assert known_datasets.datasets() == {}
    assert capfd.readouterr().err.count("of another is left out") == 2


def test_the_command_prints_tables(capfd, monkeypatch):
    terminal = Console(force_terminal=True, width=80, color_system=None)
    monkeypatch.setattr("vidssl_cli.base.console.stdout", terminal)
    assert run(app, ["published", "wang-2020/scenes-3", "jenni-2020/sync"]) == 0
    printed = capfd.readouterr().out
    assert "wang-2020/scenes-3: Wang 2020, table 3.7, scene on YUPENN" in printed
    assert "96.7" in printed
    assert "1.61" in printed
    tables = [line for line in printed.splitlines() if "pre-trained on" not in line]  # no titles
    assert max(map(len, tables)) <= 80
    assert run(app, ["published", "wang-2020/classes-hmdb51"]) == 0
    assert "brush_hair         16.0         46.4" in capfd.readouterr().out


def test_the_command_as_json(capfd):
    assert run(app, ["published", "wang-2020/layers/pace-c3d-pool4", "--json"]) == 0
    found = json.loads(capfd.readouterr().out)["rows"]
    assert [row["dataset"] for row in found] == ["UCF101", "HMDB51"]
    assert found[0]["figures"]["top1"] == 0.319
    assert found[0]["setting"]["tap"] == "pool4"
    assert run(app, ["published", "nothing"]) == 2


def test_the_built_in_folder_is_a_plugin_like_any_other():
    assert list(registry().published_folders.values()) == ["vidssl"]
    assert published.rows()
