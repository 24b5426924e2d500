"""Elements of SVG drawings."""

from __future__ import annotations

from markupsafe import Markup, escape


def element(tag: str, *inside: str, **attributes: object) -> Markup:
    """Return an element.

    Args:
        tag: Its name.
        inside: Text, which is escaped, and elements.
        attributes: By name, with ``_`` for ``-`` and ``class_`` for ``class``; None leaves one
            out. Floats are rounded to tenths, text is escaped.
    """
    said = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(_rounded(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{tag}{said}>{''.join(map(escape, inside))}</{tag}>")


def _rounded(value: object) -> object:
    return f"{value:.1f}" if isinstance(value, float) else value
