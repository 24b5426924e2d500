"""Commas separate values, but for those that belong to one."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidssl_cli.base.errors import UsageError
from vidssl_cli.cli.sweep_grid import grid, split_values
from vidssl_cli.config import yaml_source


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("bn,tgn", ["bn", "tgn"]),
        ("1e-3", ["1e-3"]),
        ("[56,74]", ["[56,74]"]),
        ("[1,2],[3,4]", ["[1,2]", "[3,4]"]),
        ("{name: step, every: 5},{name: constant}", ["{name: step, every: 5}", "{name: constant}"]),
        ("[[1,2],[3]],7", ["[[1,2],[3]]", "7"]),
        ("'a,b',\"c,d\"", ["'a,b'", '"c,d"']),
        ("['[,',1],2", ["['[,',1]", "2"]),
        ("don't,won't", ["don't", "won't"]),
        ("a,", ["a", ""]),
    ],
)
def test_values_of_a_list(text, values):
    assert split_values(text) == values


plain = st.integers() | st.booleans() | st.sampled_from(["bn", "tgn", "a b", "x,y", "[", "it's"])
nested = st.recursive(plain, lambda inner: st.lists(inner) | st.dictionaries(st.text("ab"), inner))


@settings(max_examples=30)
@given(st.lists(nested, min_size=1, max_size=4))
def test_values_come_back_as_yaml_would_have_them_in_a_list(values):
    texts = [json.dumps(value) for value in values]
    assert split_values(",".join(texts)) == texts
    listed = yaml_source.parse(f"[{', '.join(texts)}]", "here")
    assert not listed.problems
    assert [yaml_source.parse(text, "here").data for text in texts] == listed.data


def test_every_value_with_every_other():
    fixed, points = grid(["a=1", "b.c=x,y", "d=[1,2]", "e=1,2"])
    assert fixed == ("a=1", "d=[1,2]")
    assert points == [("b.c=x", "e=1"), ("b.c=x", "e=2"), ("b.c=y", "e=1"), ("b.c=y", "e=2")]
    assert grid([]) == ((), [()])


@pytest.mark.parametrize("overrides", [["a"], ["a="], ["a=1,"], ["a=1", "a=2"]])
def test_what_is_no_grid_is_refused(overrides):
    with pytest.raises(UsageError, match=r"found no KEY=VALUE|is set twice"):
        grid(overrides)
