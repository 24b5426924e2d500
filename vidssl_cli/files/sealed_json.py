"""JSON documents that end in the SHA-256 of what stands before it.

    {
      "state": "finished",
      …
      "sha256": "9f86d081…"
    }

The digest is compared before anything is parsed, and every byte of the file counts: all but the
end is digested, and the end can be written in one way only. So a document that can be read is the
one that was written, to the byte, and remains plain JSON for everybody else.
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
        document: What to write; it is not empty and has no key ``sha256``.
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
        DamagedFileError: It is missing, or not the one that was written.
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
            ", which is not what it ends in",
            where=str(path),
            hint=hint,
        )
    with understood(path):  # anybody can make a digest
        document: dict[str, Any] = parse_json(content)
        del document["sha256"]
    return document


def _end(body: bytes) -> bytes:
    return f',\n  "sha256": "{hashlib.sha256(body).hexdigest()}"\n}}\n'.encode()


_LENGTH = len(_end(b""))
