"""A small share of every torture suite; `make torture` runs the full figures."""

import pytest

from torture.harness import attempt, prepared, suites

SHARE = [(name, number) for name, suite in suites().items() for number in suite.share]


@pytest.fixture(scope="session")
def torture_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("torture")


@pytest.mark.parametrize(("name", "number"), SHARE)
def test_a_promise_holds(name, number, torture_folder, tmp_path):
    result = attempt(name, number, 0, prepared(name, torture_folder), tmp_path / "case")
    assert result.held, result.reason
