"""Names are shown as they are, and do nothing."""

import json

import pytest
import typer

from vidssl_cli.base import console
from vidssl_cli.base.errors import VidsslError
from vidssl_cli.base.escaping import json_text, visible
from vidssl_cli.cli.failures import run
from vidssl_cli.config.load import RecipeError

ACTS = "\x1b[31m\r\n\x07\x9b\x7f\u202e\u2066\u2028\u200f\udcff"
FINE = "é 日本 क्\u200dष 🎥 a\xa0b [bold] :warning: \\"


@pytest.mark.parametrize("character", ACTS)
def test_what_acts_is_shown_as_python_writes_it(character):
    assert visible(f"a{character}b") == f"a{character.encode('unicode_escape').decode()}b"


def test_what_does_nothing_stays():
    assert visible(FINE) == FINE
    assert visible("a\nb\x1b", keep="\n") == "a\nb\\x1b"


@pytest.mark.parametrize("text", [ACTS, FINE])
@pytest.mark.parametrize("indent", [None, 2])
def test_json_is_exact_and_does_nothing(text, indent):
    written = json_text({text: [text, 1]}, indent)
    assert json.loads(written) == {text: [text, 1]}
    assert visible(written, keep="\n") == written


def test_json_has_no_word_for_what_is_not_finite():
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_text(float("nan"))


@pytest.mark.parametrize("name", [FINE, "[/] [link=http://x]y[/link]", "\x1b[31m"])
def test_the_terminal_shows_names_as_they_are(name, capsys, monkeypatch):
    monkeypatch.setattr(console.stdout, "_width", 200)
    console.say(name)
    console.warn(name)
    console.emit(name)
    console.emit_table(name, [name], [[name]])
    shown = visible(name)
    out, err = capsys.readouterr()
    assert err == f"{shown}\nwarning: {shown}\n"
    assert out.count(shown) == 4
    assert "\x1b" not in out


def test_a_failure_shows_names_as_they_are(capsys):
    app = typer.Typer()

    @app.command()
    def fail():
        raise VidsslError("\x1b[31mred", where="/tmp/\x1b[31mred", hint="not \x1b[31mred")

    assert run(app, []) == 1
    shown = r"\x1b[31mred"
    assert capsys.readouterr().err == f"error: /tmp/{shown}: {shown}\nhint: not {shown}\n"


def test_a_name_begins_no_line_of_a_failure():
    error = RecipeError(["a.yaml:1:1: first", "a.yaml:2:1: se\ncond"])
    assert error.problems == ("a.yaml:1:1: first", "a.yaml:2:1: se\ncond")
    assert str(error) == "a.yaml:1:1: first\na.yaml:2:1: se\ncond"
    assert VidsslError("one\nname").problems == ("one\nname",)
