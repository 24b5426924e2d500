r"""Names cannot act on whoever reads them.

Names of files, classes and runs are written by others and may hold anything: markup, orders to a
terminal, characters that turn the direction of text or begin a line, bytes that are no text. What
acts is shown as the escape that Python and JSON have for it, such as ``\x1b``.
"""

from __future__ import annotations

import json
import re
import reprlib
from typing import Any

_ACTIVE = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # controls: orders to terminals begin with one; ends of lines
    "\u2028\u2029"  # ends of lines and paragraphs
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # what turns the direction of text
    "\ud800-\udfff]"  # bytes of a file's name that are not UTF-8
)

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60


def visible(text: str, *, keep: str = "") -> str:
    """Return text for a terminal, without any character that acts.

    Args:
        text: Anything.
        keep: Characters that may act: the end of a line, where there are several.
    """

    def escaped(match: re.Match[str]) -> str:
        found = match[0]
        return found if found in keep else found.encode("unicode_escape").decode()

    return _ACTIVE.sub(escaped, text)


def shown(value: object) -> str:
    """Return the value that was found, for a message; cut short where it is large."""
    return _SHORT.repr(value)


def json_text(value: Any, indent: int | None = None) -> str:
    """Return a value as JSON that people can read, on any terminal; its strings stay exact.

    Raises:
        ValueError: A number is not finite, which JSON has no word for.
    """
    text = json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False)
    return _ACTIVE.sub(lambda m: m[0] if m[0] == "\n" else f"\\u{ord(m[0]):04x}", text)
