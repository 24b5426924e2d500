"""JSON documents that end in the SHA-256 of the text before it.

    {
      "state": "finished",
      …
      "sha256": "9f86d081…"
    }

The digest is compared before anything is parsed, and covers every byte: all but the end is
digested, and the end has one form only. So a document that can be read is the one that was written,
and for other programs it is plain JSON.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vidssl_cli.base.errors import DamagedFileError
from vidssl_cli.files.untrusted_text import parse_json, read_bounded, understood


def render(document: Mapping[str, Any]) -> bytes:
    """Return a document as JSON, a line for each key, with its digest.

    Args:
        document: What to write; not empty, and without a key ``sha256``.
    """
    rows = (f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in document.items())
    body = ("{\n" + ",\n".join(rows)).encode()
    return body + _end(body)


def read(path: Path, hint: str) -> dict[str, Any]:
    """Read a document that `render` made.

    Args:
        path: The file.
        hint: What to do if it is damaged.

    Raises:
        DamagedFileError: It is missing or has changed.
    """
    try:
        with understood(path):
            content = read_bounded(path)
    except FileNotFoundError:
        raise DamagedFileError("the file is missing", where=str(path), hint=hint) from None
    body, end = content[:-_LENGTH], content[-_LENGTH:]
    if end != _end(body):
        raise DamagedFileError(
            f"the file is damaged: the SHA-256 of its content is {hashlib.sha256(body).hexdigest()}"
            ", which is not the one at its end",
            where=str(path),
            hint=hint,
        )
    with understood(path):  # a digest is no signature
        document: dict[str, Any] = parse_json(content)
        del document["sha256"]
    return document


def _end(body: bytes) -> bytes:
    return f',\n  "sha256": "{hashlib.sha256(body).hexdigest()}"\n}}\n'.encode()


_LENGTH = len(_end(b""))
