"""Takes the measurements of benchmarks/results into the site of mkdocs.yml; pages link to them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
SHIM = "https://unpkg.com/iframe-worker/shim"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    for path in sorted(RESULTS.glob("*.md")):
        name = f"benchmarks/results/{path.name}"
        files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Have links to them, which leave docs/ in the repository, stay within the site."""
    return markdown.replace("](../benchmarks/results/", "](benchmarks/results/")


def on_post_build(config: MkDocsConfig) -> None:
    """Have the theme load nothing from elsewhere, as it would to search in pages that are files."""
    for path in Path(config.site_dir, "assets", "javascripts").glob("bundle.*.js"):
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace(SHIM, "data:text/javascript,"), encoding="utf-8")
