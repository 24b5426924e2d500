"""The pages about recipes and JSON are complete."""

import json
import re
import runpy
from pathlib import Path

from vidssl_cli.base import errors

DOCS = Path(__file__).parents[1] / "docs"


def subclasses(kind):
    return {kind} | {inner for outer in kind.__subclasses__() for inner in subclasses(outer)}


def test_the_recipe_reference_is_fresh():
    page = runpy.run_path(str(DOCS / "recipe_reference.py"))["page"]()
    assert page == (DOCS / "recipes.md").read_text(), "run `python docs/recipe_reference.py`"


def test_every_key_of_a_recipe_is_explained():
    rows = re.findall(r"^\| `(\w+)` \|.*\| (.*) \|$", (DOCS / "recipes.md").read_text(), re.M)
    assert len(rows) > 60
    assert [key for key, meaning in rows if not meaning] == []


def test_every_json_document_is_json():
    documents = re.findall(r"```json\n(.*?)```", (DOCS / "json.md").read_text(), re.S)
    assert len(documents) > 10
    for document in documents:
        assert isinstance(json.loads(document), dict)


def test_every_exit_status_and_code_is_documented():
    text = (DOCS / "json.md").read_text()
    public = [kind for kind in subclasses(errors.VidsslError) if kind.__module__ == errors.__name__]
    assert len(public) > 8
    for kind in public:
        assert re.search(rf"^\| {kind.status} \|.*`{kind.code}`", text, re.M), kind
    for status in (0, 141):
        assert re.search(rf"^\| {status} \|", text, re.M), status


def test_the_architecture_page_names_files_that_exist():
    page = (DOCS / "architecture.md").read_text()
    roots = (DOCS.parent, DOCS.parent / "vidssl_cli", DOCS.parent / "plugins" / "vidssl_plugins")
    named = {name for name in re.findall(r"[\w/]+/\w+\.(?:py|html)\b", page) if name[0] != "/"}
    named -= {name for name in named if "METHOD" in name or "NAME" in name}
    assert len(named) > 30
    pages = DOCS.parent / "vidssl_cli" / "pages"
    missing = [n for n in named if not any((root / n).is_file() for root in (*roots, pages))]
    assert not missing


def test_the_architecture_page_has_a_line_for_every_package():
    tree = (DOCS / "architecture.md").read_text()
    packages = [path.parent.name for path in (DOCS.parent / "vidssl_cli").glob("*/__init__.py")]
    assert len(packages) == 12
    assert [name for name in packages if f"\n      {name}/" not in tree] == []


def test_every_page_is_in_the_site():
    known = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    nav = (DOCS.parent / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    assert set(re.findall(r"[\w/-]+\.md", nav)) == known


def test_tests_that_hold_a_promise_exist():
    names = {path.stem for path in (DOCS.parent / "tests").rglob("test_*.py")}
    named = set(re.findall(r"`(test_\w+)`", (DOCS / "reliability.md").read_text()))
    assert len(named) > 20
    assert named <= names
