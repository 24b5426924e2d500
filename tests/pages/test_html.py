"""Pages: whatever they show is text, and nothing of it acts."""

import re

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from vidssl_cli.pages.html import numeric, templates, write_page
from vidssl_cli.pages.svg import element

HOSTILE = """<b a='">&amp;{{ title }}"""
ESCAPED = "&lt;b a=&#39;&#34;&gt;&amp;amp;{{ title }}"
ACTS = "\x1b[31m\r\x00\x07\x9b\x7f\u202e\u2066\u2028\u200f\udcff"
EMPTY = {"title": "", "subtitle": "", "scale": [], "sections": []}


def write(tmp_path, **values):
    path = tmp_path / "page.html"
    write_page(path, "attention.html", **EMPTY | values)
    return path.read_text(encoding="utf-8")


def test_values_are_text(tmp_path):
    page = write(tmp_path, title=HOSTILE, subtitle=HOSTILE, scale=[HOSTILE])
    assert page.count(ESCAPED) == 4  # the title is there twice
    assert "<b a=" not in page


@pytest.mark.parametrize("kind", [str, Markup])
@pytest.mark.parametrize("character", ACTS.replace("[31m", ""))
def test_what_acts_is_shown_as_python_writes_it(character, kind, tmp_path):
    page = write(tmp_path, title="a", subtitle=kind(f"a{character}b"))
    assert f"<p>a{character.encode('unicode_escape').decode()}b</p>" in page
    assert character not in page


def test_a_value_that_is_missing_is_an_error(tmp_path):
    with pytest.raises(UndefinedError, match="subtitle"):
        write_page(tmp_path / "page.html", "page.html", title="a")
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize("name", templates().list_templates())
def test_no_template_lets_markup_in_or_runs_anything(name):
    source, *_ = templates().loader.get_source(templates(), name)
    for forbidden in (r"\|\s*safe\b", r"\bautoescape\b", r"<(script|link|iframe)\b", r"\son\w+="):
        assert not re.search(forbidden, source), forbidden
    templates().get_template(name)  # its syntax is right


def test_elements_of_drawings_escape_text_and_round_numbers():
    inside = element("title", HOSTILE)
    drawn = element("text", inside, "&", class_="a", text_anchor=HOSTILE, x=1 / 3, y=2, d=None)
    attributes = f'class="a" text-anchor="{ESCAPED}" x="0.3" y="2"'
    assert drawn == f"<text {attributes}><title>{ESCAPED}</title>&amp;</text>"


def test_columns_of_numbers_are_told():
    rows = [["a", 1, "", "1.5 ± 0.5", 1], ["b", None, "–", "nan", "1 s"]]
    assert numeric(rows, 5) == [False, True, True, True, False]
