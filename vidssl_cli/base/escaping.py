r"""Makes text safe to show on a terminal, in HTML and in JSON.

Names of files, classes and runs come from others and may contain anything: markup, control
sequences, characters that change the direction of text or begin a line, bytes that are no text.
Such characters are shown as the escapes of Python and JSON, such as ``\x1b``.
"""

from __future__ import annotations

import json
import re
import reprlib
from typing import Any

_ACTIVE = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # control characters, ends of lines among them
    "\u2028\u2029"  # ends of lines and paragraphs
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # what changes the direction of text
    "\ud800-\udfff]"  # bytes of a file's name that are not UTF-8
)

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60


def visible(text: str, *, keep: str = "") -> str:
    """Return text for a terminal, with active characters escaped.

    Args:
        text: Anything.
        keep: Characters that are not escaped: the end of a line, where there are several.
    """

    def escaped(match: re.Match[str]) -> str:
        found = match[0]
        return found if found in keep else found.encode("unicode_escape").decode()

    return _ACTIVE.sub(escaped, text)


def shown(value: object) -> str:
    """Return a value for a message, cut short where it is long."""
    return _SHORT.repr(value)


def json_text(value: Any, indent: int | None = None) -> str:
    """Return a value as JSON that is safe to show on a terminal; strings are preserved.

    Raises:
        ValueError: A number is not finite, for which JSON has no notation.
    """
    text = json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False)
    return _ACTIVE.sub(lambda m: m[0] if m[0] == "\n" else f"\\u{ord(m[0]):04x}", text)
