"""The torture harness sees what did not hold, and goes on where it was stopped."""

import sys

import pytest

from torture.__main__ import render
from torture.harness import Ledger, Result, Suite, attempt, carry_out, code, prepared

MODULE = """
import os, time
from torture.harness import Broken, Suite

def prepare(shared):
    (shared / "once").write_text("made")

def run(case):
    (case.folder / "trace").touch()
    if case.number == 1:
        raise Broken("lost a file")
    if case.number == 2:
        os._exit(9)
    if case.number == 3:
        time.sleep(60)
    if case.number == 4:
        raise OSError("no such thing")
    return {"read": (case.shared / "once").read_text(), "draw": case.random.random()}

SUITE = Suite("nothing breaks", 6, (0,), run, prepare, limit=5)
"""


@pytest.fixture
def suite(tmp_path, monkeypatch):
    (tmp_path / "made_up").mkdir()
    (tmp_path / "made_up" / "fragile.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield "made_up.fragile"
    sys.modules.pop("made_up.fragile", None)
    sys.modules.pop("made_up", None)


def test_every_way_not_to_hold_is_told_apart_and_the_rest_goes_on(suite, tmp_path):
    out = tmp_path / "out"
    results = {result.number: result for result in carry_out(suite, range(6), 7, out, jobs=2)}
    assert [number for number, result in results.items() if result.held] == [0, 5]
    assert results[1].reason == "lost a file"
    assert "exit status 9" in results[2].reason
    assert results[3].reason == "hung: 5 s"
    assert "OSError: no such thing" in results[4].reason
    assert results[0].facts["read"] == "made"
    assert not (out / f"{suite}-0").exists()
    assert (out / f"{suite}-1" / "trace").exists()  # what did not hold can be looked at


def test_a_case_run_again_draws_the_same(suite, tmp_path):
    def draw(number, seed):
        shared = prepared(suite, tmp_path)
        return attempt(suite, number, seed, shared, tmp_path / "case").facts["draw"]

    assert draw(5, 7) == draw(5, 7)
    assert len({draw(5, 7), draw(5, 8), draw(0, 7)}) == 3


def test_results_outlive_a_line_cut_short_and_the_last_counts(tmp_path):
    ledger = Ledger(tmp_path, "kill", 0)
    ledger.add(Result(1, False, 1.0, reason="lost"))
    ledger.add(Result(0, True, 1.0))
    ledger.add(Result(1, True, 2.0))
    with ledger.path.open("a") as file:
        file.write('{"number": 2, "he')
    ledger.read()
    ledger.add(Result(2, True, 1.0))
    held = [(number, result.held) for number, result in ledger.read().items()]
    assert held == [(0, True), (1, True), (2, True)]


def test_other_code_is_told_from_this(tmp_path, monkeypatch):
    assert code() == code()
    monkeypatch.setattr("torture.harness.resources.files", lambda package: tmp_path)
    seen = [code()]
    for name, text in (("a.py", "1"), ("a.py", "2"), ("b.py", "2")):
        (tmp_path / name).write_text(text)
        seen.append(code())
    assert len(set(seen)) == 4


def test_the_report_says_how_to_see_again_what_did_not_hold():
    suite = Suite(
        "no file is lost", 3, (), lambda case: {}, summary=lambda facts: f"{len(facts)} ok"
    )
    results = {0: Result(0, True, 1.0), 2: Result(2, False, 1.0, reason="lost a file")}
    report = render({"kill": suite}, {"kill": results}, 5)
    assert "| kill | no file is lost | 2 of 3 | 1 | 2 |" in report
    assert "**kill**: 1 ok" in report
    assert 'make torture ARGS="kill --case 2 --seed 5"' in report
    assert "    lost a file" in report
