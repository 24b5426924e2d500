import json

import pytest

from commands import check, parse
from vidssl_cli.cli import app
from vidssl_cli.cli.failures import run

TINY = [
    *("--per-class-train", "2", "--per-class-test", "1"),
    *("--set", "train.epochs=1", "--set", "train.batch_videos=8"),
    *("--set", "backbone.width=4", "--set", "evaluation.clips=1"),
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with a demo in it."""
    out = tmp_path_factory.mktemp("demo") / "out"
    assert run(app, ["demo", "--out", str(out), *TINY]) == 0
    return out


def test_it_answers_in_the_documented_form(finished, capfd):
    assert run(app, ["demo", "--out", str(finished), "--overwrite", "--json", *TINY]) == 0
    document = json.loads(capfd.readouterr().out)
    assert document["chance"] == pytest.approx(1 / 8)
    assert document["seconds"] > 0
    assert set(document["retrieval"]) == {"pretrained", "random", "colour", "motion_energy"}
    for row in document["retrieval"].values():
        assert set(row) == {"top1", "top5", "top10"}
        assert 0 <= row["top1"] <= row["top5"] <= row["top10"] <= 1
    assert document["run"] == str(finished / "run")
    assert document["index"] == str(finished / "index")
    assert document["gallery"] == str(finished / "gallery.html")


def test_people_see_every_row_and_where_everything_is(tmp_path, capfd):
    out = tmp_path / "demo"
    assert run(app, ["demo", "--out", str(out), "--seed", "5", *TINY]) == 0
    printed, said = capfd.readouterr()
    told = [parse(line) for line in said.splitlines() if line.startswith("    vidssl ")]
    names = ["data synth", "pretrain", "evaluate", "index", "retrieve"]
    assert [each.name for each in told] == names
    for each in told:
        check(each)
    for text in ("without labels", "random weights", "motion energy", "colour", "chance"):
        assert text in printed
    assert "differences of frames" in " ".join(printed.split())
    last = printed.rstrip().splitlines()[-1]
    for name in ("videos/videos.jsonl", "run", "index", "gallery.html"):
        assert str(out / name) in last


def test_the_other_commands_can_go_on_with_what_it_made(finished, capfd):
    query = finished / "videos" / "test" / "spin" / "000.mp4"
    assert run(app, ["retrieve", str(finished / "index"), str(query), "--top", "3", "--json"]) == 0
    answer = json.loads(capfd.readouterr().out)["queries"][0]
    assert len(answer["hits"]) == 3
    page = (finished / "gallery.html").read_text(encoding="utf-8")
    assert page.count("<section>") == 8


def test_it_leaves_a_folder_in_use_alone(finished, capfd):
    assert run(app, ["demo", "--out", str(finished), "--json", *TINY]) == 2
    error = json.loads(capfd.readouterr().out)["error"]
    assert "not empty" in error["message"]
    assert error["where"] == str(finished)


def test_it_does_not_replace_what_is_no_demo(tmp_path):
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "holiday.mp4").touch()
    assert run(app, ["demo", "--out", str(tmp_path), "--overwrite", *TINY]) == 2
    assert (tmp_path / "videos" / "holiday.mp4").exists()


def test_a_wrong_override_is_refused_before_anything_is_made(tmp_path):
    out = tmp_path / "demo"
    assert run(app, ["demo", "--out", str(out), "--set", "train.epochs=none"]) == 2
    assert not out.exists()
