"""`vidssl report`: one page, and tables for papers, of runs side by side."""

import json
import re
from html.parser import HTMLParser
from statistics import fmean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidssl_cli.cli import app
from vidssl_cli.cli.failures import run as call
from vidssl_cli.config.load import load, resolved_yaml
from vidssl_cli.evaluation.records import Record
from vidssl_cli.evaluation.scoreboard import Tally, boards, grouped
from vidssl_cli.evaluation.tables import comma_separated, latex, markdown
from vidssl_cli.files import sealed_json
from vidssl_cli.pages.curves import POINTS, mean_line, thinned, training_curves
from vidssl_cli.pages.report import command, write_report

HOSTILE = """<script>alert(1)</script>"'onerror=x& $title ${x} %_#{}~^\\|"""


def read(folder):
    groups = grouped(map(Record.read, sorted(folder.rglob("[0-9]"))))
    return groups, boards(groups)


class Page(HTMLParser):
    def __init__(self, path):
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.tags, self.attributes, self.text = [], [], ""
        self.feed(self.source)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attributes]

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def two_recipes(make_run, made_up_report, tmp_path):
    """Two recipes: one with two seeds, and one whose options differ in two keys."""
    folder = tmp_path / "sweep"
    for seed, top1 in enumerate((0.2, 0.4)):
        make_run(
            folder / "pace" / str(seed), made_up_report(top1, random=0.1 + seed / 10), seed=seed
        )
    other = (
        "summary: Other\ntrain: {epochs: 4, seed: SEED, batch_videos: 8}\n"
        "sampler: {name: uniform}\npretext: [{name: pace}]\n"
    )
    published = [
        {"source": "Table 3 & 4", "name": "VCOP", "figures": {"top1": 0.5}, "differs": ["c3d", "x"]}
    ]
    reports = [made_up_report(0.3), made_up_report(0.6, "pool4", published=published)]
    make_run(folder / "o_her" / "0", *reports, recipe=other)
    return folder


def test_seeds_are_one_line_with_mean_and_error(two_recipes):
    groups, found = read(two_recipes)
    assert [(group.name, len(group.records)) for group in groups] == [("o_her", 1), ("pace", 2)]
    assert [board.title for board in found] == ["retrieval, tap pool5", "retrieval, tap pool4"]
    lines = {line.name: line.figures["top1"] for line in found[0].lines}
    assert lines == {
        "o_her": Tally(0.3, None, 1),
        "pace": Tally(pytest.approx(0.3), pytest.approx(0.1), 2),
        "random weights, o_her": Tally(0.1, None, 1),
        "random weights, pace": Tally(pytest.approx(0.15), pytest.approx(0.05), 2),
        "chance": Tally(0.05, None, 1),
    }


def test_checkpoints_are_told_apart_and_stale_reports_named(make_run, made_up_report, tmp_path):
    reports = [made_up_report(0.2), made_up_report(0.4, checkpoint="best", trained="epoch-0001")]
    folder = make_run(tmp_path / "pace" / "0", *reports)
    (folder / "checkpoints" / "epoch-0002").mkdir(parents=True)
    (folder / "checkpoints" / "best").symlink_to("epoch-0002")
    last, best = read(tmp_path)[1]
    assert (last.title, best.title) == ("retrieval, checkpoint last", "retrieval, checkpoint best")
    assert (last.lines[0].figures["top1"].mean, best.lines[0].figures["top1"].mean) == (0.2, 0.4)
    assert last.notes == []
    assert best.notes == ["pace, seed 0, was trained further after this was measured"]


@given(st.lists(st.floats(0, 1), min_size=2, max_size=9))
def test_the_error_is_that_of_the_mean(values):
    tally = Tally.of(values)
    assert tally.mean == fmean(values)
    assert tally.error == pytest.approx(stdev(values) / len(values) ** 0.5)
    assert re.fullmatch(r"\d+\.\d ± \d+\.\d", tally.percent())


@pytest.mark.parametrize(
    ("folders", "names"),
    [
        (["a/0", "a/1", "b/0"], ["a", "b"]),
        (["a/lr=1/0", "a/lr=1/1"], ["lr=1"]),
        (["pace-0", "pace-1", "moco-0", "moco-1"], ["pace", "moco"]),
        (["r3d18", "c3d"], ["r3d18", "c3d"]),
        (["x/run", "y/run"], ["x/run", "y/run"]),
        (["7"], ["sweep"]),
    ],
)
def test_groups_are_named_by_their_folders(make_run, tmp_path, folders, names):
    stems = list(dict.fromkeys(re.sub(r"(?<!r3d)[-/]?\d$", "", folder) for folder in folders))
    for folder in folders:
        stem = re.sub(r"(?<!r3d)[-/]?\d$", "", folder)
        recipe = f"train: {{seed: SEED, epochs: {1 + stems.index(stem)}}}\n"
        seed = sum(other.startswith(stem) for other in folders[: folders.index(folder)])
        make_run(tmp_path / "sweep" / folder, seed=seed, recipe=recipe)
    records = [Record.read(tmp_path / "sweep" / folder) for folder in folders]
    assert [group.name for group in grouped(records)] == names


def test_markdown(two_recipes):
    assert markdown(read(two_recipes)[1]) == (
        "**retrieval, tap pool5**, percent\n\n"
        "|  | top1 | seeds |\n| --- | ---: | ---: |\n"
        "| o\\_her | 30.0 | 1 |\n| pace | 30.0 ± 10.0 | 2 |\n"
        "| random weights, o\\_her | 10.0 |  |\n| random weights, pace | 15.0 ± 5.0 |  |\n"
        "| chance | 5.0 |  |\n\n"
        "**retrieval, tap pool4**, percent\n\n"
        "|  | top1 | seeds |\n| --- | ---: | ---: |\n"
        "| o\\_her | 60.0 | 1 |\n| random weights | 10.0 |  |\n| chance | 5.0 |  |\n"
        "| \\[1\\] VCOP | 50.0 |  |\n\n"
        "\\[1\\] Table 3 & 4; differs: c3d; x\n"
    )


def test_latex(two_recipes):
    assert latex(read(two_recipes)[1][1:]) == (
        "% retrieval, tap pool4, percent\n"
        "\\begin{tabular}{lrr}\n\\toprule\n & top1 & seeds \\\\\n\\midrule\n"
        "o\\_her & 60.0 & 1 \\\\\nrandom weights & 10.0 &  \\\\\nchance & 5.0 &  \\\\\n"
        "{[}1] VCOP & 50.0 &  \\\\\n\\bottomrule\n\\end{tabular}\n"
        "% [1] Table 3 & 4; differs: c3d; x\n"
    )
    assert "pace & 30.0 $\\pm$ 10.0 & 2" in latex(read(two_recipes)[1])


def test_latex_and_markdown_say_what_names_say(make_run, made_up_report, tmp_path):
    report = made_up_report(0.5)
    name = "a\\b & c_d 5% $x$ #1 {y} ~ ^ |z| <i>"
    for row in report["rows"]:
        row[name] = row["top1"]
    make_run(tmp_path / "0", report)
    found = read(tmp_path)[1]
    assert (
        r"a\textbackslash{}b \& c\_d 5\% \$x\$ \#1 \{y\} \textasciitilde{} "
        r"\textasciicircum{} \textbar{}z\textbar{} \textless{}i\textgreater{}"
    ) in latex(found)
    assert r"a\\b & c\_d 5% \$x\$ #1 {y} \~ ^ \|z\| \<i\>" in markdown(found)


def test_a_model_stands_beside_runs(two_recipes, made_up_report, toy_encoder, capfd):
    model = two_recipes / "imported"
    toy_encoder().export(model)
    (model / "evaluations" / "retrieval-1").mkdir(parents=True)
    report = sealed_json.render(made_up_report(0.7))
    (model / "evaluations" / "retrieval-1" / "report.json").write_bytes(report)
    page = two_recipes / "page.html"
    assert call(app, ["report", str(two_recipes), "--out", str(page), "--markdown"]) == 0
    assert "| imported | 70.0 | 1 |" in capfd.readouterr().out
    assert "imported: model" in Page(page).text
    assert call(app, ["runs", str(two_recipes), "--json"]) == 0
    assert len(json.loads(capfd.readouterr().out)["runs"]) == 3
    (model / "model.json").write_text("{}")
    assert call(app, ["report", str(two_recipes)]) == 4


def test_what_is_no_number_is_a_dash(make_run, made_up_report, tmp_path):
    report = made_up_report(float("nan"))
    for row in report["rows"]:
        row["top5"] = None if row["weights"] == "run" else 0.25
    make_run(tmp_path / "0", report)
    (board,) = read(tmp_path)[1]
    assert [line.name for line in board.lines] == ["random weights", "chance"]
    assert "nan" not in comma_separated([board])
    assert "| random weights | 10.0 | 25.0 |  |" in markdown([board])
    json.dumps(board.as_document(), allow_nan=False)


def test_published_rows_differ_in_what_they_do_for_any_run(make_run, made_up_report, tmp_path):
    for seed in range(2):
        published = [
            {"source": f"Table {n}", "figures": {"top1": 0.5}, "differs": ["x", f"seed {seed}"]}
            for n in range(7)
        ]
        make_run(tmp_path / "a" / str(seed), made_up_report(0.5, published=published), seed=seed)
    groups, (board,) = read(tmp_path)
    assert [row.source for row in board.published] == [f"Table {n}" for n in range(7)]
    assert board.published[0].differs == ["x", "seed 0", "seed 1"]
    sources = "; ".join(f"[{n + 1}] Table {n}" for n in range(5))
    assert board.notes == [f"{sources}; differs: x; seed 0; seed 1"]
    assert "{[}5] published" in latex([board])
    assert "6] " not in latex([board])
    write_report(tmp_path / "page.html", groups, [board])
    assert "all 7 published rows" in Page(tmp_path / "page.html").text


def test_csv_has_a_line_for_every_figure(two_recipes):
    lines = comma_separated(read(two_recipes)[1]).splitlines()
    assert lines[0] == "evaluation,recipe,run,seed,weights,metric,value"
    run = two_recipes / "o_her" / "0"
    assert lines[-3:] == [
        f'"retrieval, tap pool4",o_her,{run},0,run,top1,0.6',
        f'"retrieval, tap pool4",o_her,{run},0,random,top1,0.1',
        f'"retrieval, tap pool4",o_her,{run},0,chance,top1,0.05',
    ]
    assert len(lines) == 1 + 3 * 3 + 3


def test_the_page_holds_everything(two_recipes, tmp_path):
    page = tmp_path / "page.html"
    write_report(page, *read(two_recipes))
    found = Page(page)
    assert "script" not in found.tags
    assert not [value for _, key, value in found.attributes if key == "src"]
    for words in (
        "2 recipes side by side", "3 runs, 1 to 2 seeds each", "30.0 ± 10.0", "Table 3 & 4",
        "differs: c3d; x", "queries 20", "sampler.name", "uniform", "batch_videos: 8",
        "vidssl evaluate RUN --data DATA", "2.13.0", "pace.accuracy",
    ):  # fmt: skip
        assert words in found.text, words
    assert "train.seed" not in found.text.replace("--set train.seed", "")
    ids = {value for _, key, value in found.attributes if key == "id"}
    links = {value for tag, key, value in found.attributes if (tag, key) == ("a", "href")}
    assert {link.removeprefix("#") for link in links} <= ids


def test_no_run_is_bold_where_none_is_better(make_run, made_up_report, tmp_path):
    for epochs, name in enumerate("bc", 1):
        recipe = f"train: {{seed: SEED, epochs: {epochs}}}"
        make_run(tmp_path / name / "0", made_up_report(0.5), recipe=recipe)
    write_report(tmp_path / "page.html", *read(tmp_path))
    assert '<tr class="best">' not in (tmp_path / "page.html").read_text()


def test_the_best_runs_by_the_leading_metric_are_bold(make_run, made_up_report, tmp_path):
    for epochs, (name, top1) in enumerate({"a": 0.4, "b": 0.6, "c": 0.6}.items(), 1):
        recipe = f"train: {{seed: SEED, epochs: {epochs}}}"
        make_run(tmp_path / name / "0", made_up_report(top1, random=0.9), recipe=recipe)
    page = tmp_path / "page.html"
    write_report(page, *read(tmp_path))
    assert re.findall(r'<tr class="best"><td>(.)</td>', page.read_text()) == ["b", "c"]


def test_charts_have_every_line_that_runs_are_compared_with(make_run, made_up_report, tmp_path):
    for epochs, name in enumerate("ab", 1):
        lines = {"run": [[1, 0.5]], "random": [[1, epochs / 10]], "chance": [[1, 0.1]]}
        figure = {"kind": "curves", "title": "recall", "x": "k", "y": "", "lines": lines}
        recipe = f"train: {{seed: SEED, epochs: {epochs}}}"
        make_run(tmp_path / name / "0", made_up_report(0.5, figures=[figure]), recipe=recipe)
    page = tmp_path / "page.html"
    write_report(page, *read(tmp_path))
    (chart,) = re.findall(r'<svg[^>]*aria-label="recall".*?</svg>', page.read_text(), re.S)
    legend = re.findall(r'<text x="[\d.]+" y="[\d.]+">(.*?)</text>', chart)
    assert legend == ["a", "b", "random, a", "random, b", "chance"]


def test_runs_without_evaluations_are_told_how_to_get_one(make_run, tmp_path, capsys):
    make_run(tmp_path / "mine" / "0")
    assert call(app, ["report", str(tmp_path)]) == 0
    said = capsys.readouterr().err
    assert "no evaluation yet of 1 run: `vidssl evaluate RUN" in said
    assert "next:" not in said


def test_one_run_is_a_report_too(make_run, tmp_path):
    make_run(tmp_path / "mine" / "0", epochs=0, state="failed", reason="the loss is nan")
    page = tmp_path / "page.html"
    write_report(page, *read(tmp_path))
    text = Page(page).text
    assert "1 run, seed 0" in text
    assert "failed: the loss is nan" in text
    assert "Results" not in text


def test_what_was_changed_in_the_recipe_that_was_named(make_run, tmp_path):
    resolved = resolved_yaml(load("small/pace", ["train.epochs=7", "train.seed=3"]))
    make_run(
        tmp_path / "a" / "0", recipe=resolved, argv=["vidssl", "pretrain", "small/pace", "--set"]
    )
    make_run(
        tmp_path / "b" / "0", recipe=resolved.replace("epochs: 7", "epochs: 8"), argv=["pretrain"]
    )
    page = tmp_path / "page.html"
    write_report(page, *read(tmp_path / "a"))
    source = page.read_text()
    assert "small/pace, as it is now" in source
    default = load("small/pace").train.epochs
    assert f'<td>train.epochs</td><td class="number">{default}</td>' in source
    assert "<td>train.seed</td>" not in source
    write_report(page, *read(tmp_path))
    assert "<h3>What differs</h3>" in page.read_text()


def test_everything_hostile_is_escaped(make_run, made_up_report, tmp_path):
    figures = [
        {"kind": "curves", "title": HOSTILE, "x": HOSTILE, "y": HOSTILE,
         "lines": {"run": [[1, 0.5]], HOSTILE: [[1, 0.5], [2, 0.6]]}},
        {"kind": "confusion", "title": HOSTILE, "classes": [HOSTILE, "b"],
         "counts": [[1, 2], [3, 4]]},
        {"kind": "neighbours", "title": HOSTILE, "queries": [[f"/no/{HOSTILE}.mp4", HOSTILE]],
         "hits": [[[f"/no/{HOSTILE}.avi", HOSTILE, 0.5]]]},
        {"kind": "of the future", "title": HOSTILE},
    ]  # fmt: skip
    report = made_up_report(
        0.5, HOSTILE, facts={HOSTILE: HOSTILE}, figures=figures, argv=["vidssl", HOSTILE],
        tables=[{"title": HOSTILE, "columns": [HOSTILE], "rows": [[HOSTILE], [1.5], [None]]}],
        published=[{"source": HOSTILE, "figures": {"top1": None}, "differs": [HOSTILE]}],
    )  # fmt: skip
    report["rows"][1]["weights"] = HOSTILE
    for row in report["rows"]:
        row[HOSTILE] = 0.5
    facts = {"git": HOSTILE, "reason": HOSTILE, "versions": {HOSTILE: HOSTILE}}
    for seed in range(2):
        quoted = HOSTILE.replace("'", "''")
        recipe = f"summary: '{quoted}'\ntrain: {{epochs: 1, seed: SEED}}\n"
        place = tmp_path / "a<b>&'\"" / str(seed)
        folder = make_run(place, report, recipe=recipe, seed=seed, argv=[HOSTILE], **facts)
        (folder / "bad_media.jsonl").write_text(json.dumps({"path": HOSTILE, "reason": HOSTILE}))
    page = tmp_path / "page.html"
    write_report(page, *read(tmp_path))
    found = Page(page)
    assert found.text.count("<script>alert(1)</script>") > 20
    assert "script" not in found.tags
    assert "b" not in found.tags
    assert not [key for _, key, _ in found.attributes if key.startswith("on")]
    assert "No such file" in found.text or "not exist" in found.text or "cannot" in found.text


def test_neighbours_are_shown_as_pictures(make_run, made_up_report, toy_videos, tmp_path):
    def item(video, *more):
        return [video.path, video.label, *more]

    figure = {"kind": "neighbours", "title": "right", "queries": [item(toy_videos[0])],
              "hits": [[item(toy_videos[3], 0.9), item(toy_videos[1], 0.8)]]}  # fmt: skip
    make_run(tmp_path / "a" / "0", made_up_report(0.5, figures=[figure]))
    page = tmp_path / "page.html"
    write_report(page, *read(tmp_path))
    found = Page(page)
    pictures = [value for tag, key, value in found.attributes if (tag, key) == ("img", "src")]
    assert len(pictures) == 3
    assert all(picture.startswith("data:image/webp") for picture in pictures)
    assert "1 of 2 right" in found.text


def test_curves_of_training(two_recipes):
    groups, _ = read(two_recipes)
    figures = {figure.title: figure for figure in training_curves(groups)}
    assert figures.keys() == {"loss", "pace.accuracy"}  # one term is the loss itself
    assert figures["loss"].lines["o_her"][0] == (1, 4.0)
    assert figures["loss"].lines["pace"][-1] == (8, 3.0)  # seeds 0 and 1 lie at 2.5 and 3.5


def test_long_runs_have_a_point_for_each_epoch(make_run, tmp_path):
    make_run(tmp_path / "0", epochs=12)
    (figure,) = training_curves(read(tmp_path)[0])
    assert (figure.x, len(figure.lines)) == ("epoch", 1)
    assert [x for x, _ in next(iter(figure.lines.values()))] == list(range(1, 13))


@given(st.integers(1, 500))
def test_thinning_keeps_the_mean_of_whole_parts_and_the_end(count):
    points = [(float(x), float(x % 7)) for x in range(count)]
    few = thinned(points)
    assert len(few) <= POINTS
    assert few[-1][0] == count - 1
    if count <= POINTS:
        assert few == points
    if count % (width := -(-count // POINTS)) == 0:
        assert fmean(y for _, y in few) == pytest.approx(fmean(y for _, y in points))
        assert len(few) == count // width


def test_means_stand_where_all_lines_have_a_point():
    assert mean_line([[(1, 2.0), (2, 4.0)], [(2, 6.0), (3, 8.0)]]) == [(2, 5.0)]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["/usr/bin/vidssl", "pretrain", "a b"], "vidssl pretrain 'a b'"),
        (["/x/vidssl_cli/__main__.py", "evaluate"], "vidssl evaluate"),
        (["my script.py", "1"], "'my script.py' 1"),
        ([], ""),
    ],
)
def test_commands_are_as_one_would_type_them(argv, said):
    assert command(argv) == said


def test_the_command_writes_what_it_is_asked_for(two_recipes, tmp_path, capfd):
    page = tmp_path / "page.html"
    words = ["report", str(two_recipes)]
    assert call(app, [*words, "--out", str(page)]) == 0
    assert capfd.readouterr().out == f"{page}\n"
    assert call(app, [*words, "--out", str(page)]) == 2
    capfd.readouterr()
    assert call(app, [*words, "--out", str(page), "--overwrite", "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert document["page"] == str(page)
    assert document["recipes"][0] == {
        "name": "o_her", "runs": [str(two_recipes / "o_her" / "0")]
    }  # fmt: skip
    (row,) = [row for row in document["evaluations"][0]["rows"] if row["name"] == "pace"]
    assert row["figures"]["top1"] == {
        "mean": pytest.approx(0.3), "error": pytest.approx(0.1), "seeds": 2
    }  # fmt: skip
    assert call(app, [*words, "--csv"]) == 0
    assert capfd.readouterr().out == comma_separated(read(two_recipes)[1])
    assert call(app, words) == 0
    shown = capfd.readouterr().out
    assert "30.0 ± 10.0" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert call(app, [*words, "--csv", "--latex"]) == 2
    assert call(app, ["report", str(tmp_path / "empty")]) == 2


@pytest.mark.parametrize(
    "content",
    [
        {"rows": []},
        {"rows": [{"top1": 0.5}]},
        {"rows": [{"weights": "run"}], "figures": [{"kind": "curves"}]},
    ],
)
def test_a_foreign_report_is_refused_by_name(two_recipes, content, capfd):
    path = next(two_recipes.rglob("report.json"))
    path.write_bytes(sealed_json.render({"evaluator": "x", "options": {}} | content))
    assert call(app, ["report", str(two_recipes)]) == 4
    told = capfd.readouterr().err
    assert f"error: {path}: is not a report of `vidssl evaluate`" in told
    assert "hint: delete it, and evaluate again" in told


def confused(title, dive, swim):
    """Return a figure: of 10 videos of either class so many are right; one class is not tested."""
    counts = [[dive, 10 - dive, 0], [10 - swim, swim, 0], [0, 0, 0]]
    classes = ["dive", "swim", "never"]
    return {"kind": "confusion", "title": title, "classes": classes, "counts": counts}


def gains(page):
    drawn = re.findall(r'<svg[^>]*aria-label="([^"]*points by class[^"]*)".*?</svg>', page, re.S)
    said = re.findall(r"<title>(\w+: [+\N{MINUS SIGN}][\d.]+)</title>", page)
    return drawn, said


def test_what_one_of_two_recipes_gains_at_each_class(make_run, made_up_report, tmp_path):
    """Recipe a has two seeds: 9 and 5 of 10 dives, 3 and 5 of 10 swims; b has 4 and 6.

    That is 14 of 20 less 4 of 10, 30 points; and 8 of 20 less 6 of 10, -20.
    """
    for epochs, name, seed, dive, swim in ((1, "a", 0, 9, 3), (1, "a", 1, 5, 5), (2, "b", 0, 4, 6)):
        figures = [confused("linear, run weights", dive, swim), confused("random", 0, 0)]
        recipe = f"train: {{seed: SEED, epochs: {epochs}}}"
        report = made_up_report(0.5, figures=figures)
        make_run(tmp_path / name / str(seed), report, recipe=recipe, seed=seed)
    page = tmp_path / "page.html"
    write_report(page, *read(tmp_path))
    assert gains(page.read_text()) == (
        ["linear, points by class: a less b"],
        ["dive: +30.0", "swim: \N{MINUS SIGN}20.0"],
    )
    write_report(page, *read(tmp_path / "a"))
    assert gains(page.read_text()) == ([], [])


def test_bands_are_of_single_seeds(make_run, made_up_report, tmp_path):
    """Recipe a has one seed and its band; b has two, whose mean has none."""
    for epochs, name, seed in ((1, "a", 0), (2, "b", 0), (2, "b", 1)):
        lines = {"run": [[1, 0.5], [2, 0.6 + seed]]}
        figure = {"kind": "curves", "title": "over time", "x": "t", "y": "", "lines": lines}
        figure["bands"] = {"run": [[0.4, 0.6], [0.5, 0.7]]}
        recipe = f"train: {{seed: SEED, epochs: {epochs}}}"
        report = made_up_report(0.5, figures=[figure])
        make_run(tmp_path / name / str(seed), report, recipe=recipe, seed=seed)
    page = tmp_path / "page.html"
    for folder, bands in ((tmp_path, 1), (tmp_path / "b", 0), (tmp_path / "a", 1)):
        write_report(page, *read(folder))
        assert page.read_text().count('class="band"') == bands
