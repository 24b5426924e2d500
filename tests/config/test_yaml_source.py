"""YAML values know their places, and what makes a file hard to trust is a problem."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidssl_cli.config.yaml_source import LARGEST, Located, parse, read


def test_values_are_plain_and_know_their_places():
    document = parse("a: 1e-3\nb:\n  - {c: no, d: ~}\n  - 'x'\n", "f", numbered=True)
    assert document.data == {"a": 0.001, "b": [{"c": "no", "d": None}, "x"]}
    assert document.problems == []
    assert document.place(("a",)) == "f:1:1"
    assert document.place(("b", 0, "c")) == "f:3:6"
    assert document.place(("b", 1)) == "f:4:5"
    assert document.place(("b", 0, "missing")) == "f:3:5"
    assert document.place(("missing", "deeper")) == "f:1:1"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: 2\na: 3\n", "f:3:1: a: occurs twice, first at f:1:1"),
        ("a: &x [1]\nb: *x\n", "f:2:1: b: aliases are not allowed; write the value out"),
        ("a: &x [*x]\n", "f:1:1: a.0: aliases are not allowed; write the value out"),
        ("a: {<<: {b: 1}}", "f:1:5: a.<<: merge keys are not allowed; write the values out"),
        ("a: !!python/name:os.system x", "f:1:4: a: cannot be read: could not determine"),
        ("a: !mine x", "f:1:4: a: the tag !mine is not allowed"),
        ("[1]: 2", "f:1:1: a key must be a word"),
        ("a: b: c", "f:1:5: mapping values are not allowed here"),
        ("a: 1\n---\nb: 2\n", "f:2:1: found another document"),
        ("[" * 50, "f:1:33: nested deeper than 32 levels"),
        ("a: \x07", "f:1:1: unacceptable character #x0007"),
    ],
)
def test_problems_are_located(text, problem):
    (found,) = parse(text, "f", numbered=True).problems
    assert found.startswith(problem)


def test_all_problems_of_a_text_are_told():
    document = parse("a: 1\na: 2\nb: !x 3\nc: 4\n", "f", numbered=True)
    assert len(document.problems) == 2
    assert document.data == {"a": 1, "b": None, "c": 4}


def test_an_alias_bomb_stays_small():
    text = "a0: &a0 [x]\n" + "".join(
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10)
    )
    assert len(parse(text, "f", numbered=True).problems) == 81


@settings(deadline=None, max_examples=300)
@given(st.text(alphabet=" \n\t:-[]{},&*!|>'\"#%@`?~<=.0a\x00\ud800é"))
def test_any_text_gives_data_or_problems(text):
    document = parse(text, "f", numbered=True)
    assert isinstance(document, Located)
    assert all(problem.startswith("f:") for problem in document.problems)


def test_a_file_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_bytes(b"a: 1\nb: \xff\n")
    assert read(path).problems == [f"{path}:2:1: the text is not UTF-8"]
    path.write_bytes(b"#" * (LARGEST + 1))
    assert read(path).problems == [f"{path}:1:1: the file is larger than {LARGEST} bytes"]
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")  # a byte order mark, as Windows editors write it
    assert read(path).data == {"a": 1}


TEXT = "train: {epochs: 3}\ntasks:\n  - {name: one}\nsingle: {name: two}\nempty:\n"


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("train.epochs=5", ("train", "epochs"), 5),
        ("train={epochs: 7}", ("train", "epochs"), 7),
        ("train.lr=1e-3", ("train", "lr"), 0.001),
        ("tasks.0.name=three", ("tasks", 0, "name"), "three"),
        ("tasks.0={name: four}", ("tasks", 0, "name"), "four"),
        ("single.0.name=five", ("single", "name"), "five"),
        ("single.name=six", ("single", "name"), "six"),
        ("empty.a.b=7", ("empty", "a", "b"), 7),
        ("new.a=[1, 2]", ("new", "a", 1), 2),
        ("train.epochs=", ("train", "epochs"), None),
        ("train.note=a=b", ("train", "note"), "a=b"),
    ],
)
def test_overrides_replace_one_value(override, key, value):
    document = parse(TEXT, "f", numbered=True)
    document.override(override)
    assert document.problems == []
    found = document.data
    for part in key:
        found = found[part]
    assert found == value
    assert document.place(key) == f"--set {override}"
    assert document.place(("tasks",)) == "f:2:1"


def test_an_override_leaves_its_neighbours_alone():
    document = parse("a: {b: 1, c: 2}", "f", numbered=True)
    document.override("a.b=3")
    assert document.data == {"a": {"b": 3, "c": 2}}
    assert document.place(("a", "c")) == "f:1:11"


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("epochs", "--set epochs: found no KEY=VALUE"),
        ("=3", "--set =3: found no KEY=VALUE"),
        ("a..b=3", "--set a..b=3: found no KEY=VALUE"),
        ("a=[1", "--set a=[1: expected ',' or ']'"),
        ("a={b: 1, b: 2}", "--set a={b: 1, b: 2}: b: occurs twice"),
        ("train.epochs.x=1", "--set train.epochs.x=1: train.epochs.x: train.epochs is 3, which"),
        ("tasks.name=x", "--set tasks.name=x: tasks.name: tasks is a list of 1; found 'name'"),
        (f"tasks.{'9' * 5000}=x", f"--set tasks.{'9' * 5000}=x: tasks.{'9' * 5000}: tasks is a"),
        ("a" + ".b" * 40 + "=1", f"--set a{'.b' * 40}=1: nested deeper than 32 levels"),
        ("epochs=!!bool maybe", "--set epochs=!!bool maybe: cannot be read: maybe"),
        ('epochs=!!int ""', '--set epochs=!!int "": cannot be read: '),
        ("tasks.1.name=x", "--set tasks.1.name=x: tasks.1.name: tasks is a list of 1; found '1'"),
    ],
)
def test_bad_overrides_are_problems(override, problem):
    document = parse(TEXT, "f", numbered=True)
    before = parse(TEXT, "f", numbered=True).data
    document.override(override)
    assert document.data == before
    (found,) = document.problems
    assert found.startswith(problem)
