"""What earlier scans found, so that scanning again decodes only what is new or has changed.

A file is the one that was scanned if it has the same size, time of change, and SHA-256 of its first
and last bytes. Rows of a scan that was interrupted lie in a journal beside the manifest, and those
of each shard in one of its own, until a scan of everything puts them into the manifest. Commands
that scan on their way to something else have such a journal too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from glob import escape
from pathlib import Path

from vidssl_cli.base.console import say, warn
from vidssl_cli.base.errors import DamagedFileError, MediaError, UsageError
from vidssl_cli.base.wording import counted, share
from vidssl_cli.contract.videos import Video
from vidssl_cli.data.manifest import read_manifest, row_reader, row_writer
from vidssl_cli.data.shards import Shard
from vidssl_cli.files.journal import Journal, read_journal
from vidssl_cli.files.locks import make_folder
from vidssl_cli.files.sealed_folder import note_of
from vidssl_cli.files.untrusted_text import understood
from vidssl_cli.media.open_file import ends_digest, stamp

SCANNED = ".scanned"
"""Journal of a command that scans on its way to something else, in the folder of that."""
_KEY = "rows of a scan"


@contextmanager
def remembered(
    out: Path, shard: Shard | None = None
) -> Iterator[tuple[dict[str, Video], Callable[[Video], None]]]:
    """Return the rows by path of files that have not changed, and what keeps the row of another.

    Args:
        out: The manifest, which may be there or not. What is kept is deleted once the block ends,
            which is when the manifest has been written.
        shard: What is scanned is only this, so that what is kept stays.

    Raises:
        UsageError: There is a file that no scan wrote as it is.
    """
    path = out.with_name(f"{out.name}.part")
    if shard:
        path = out.with_name(f"{out.name}.shard-{shard.number}-of-{shard.count}.part")
    if out.is_file() and not note_of(out).is_file() and not path.is_file():
        raise UsageError(
            f"{out} was not written by a scan, or was changed since; what was added to it would be "
            "lost",
            where=str(out),
            hint="give another --out, or delete that file",
        )
    read, line = row_reader(out), row_writer(out)
    others = [] if shard else [*out.parent.glob(f"{escape(out.name)}.shard-*.part")]
    with Journal(path, _KEY) as journal:
        with understood(path):
            mine = [read(row) for row, _ in journal.records()]
        rows = [*_rows(out), *mine]
        for other in others:
            with understood(other):
                rows += [read(row) for row, _ in read_journal(other, _KEY)]
        known = {row.path: row for row in rows if _is_unchanged(row)}
        if known:
            same = share(len(known), len(rows), "file", "has", "have")
            say(f"{out}: {same} not changed since the last scan")
        kept = len(mine)

        def keep(video: Video) -> None:
            nonlocal kept
            kept += 1
            journal.append(line(video))

        try:
            yield known, keep
        except BaseException:
            # Nothing is left after a mistyped DATA. Where there is a manifest, the journal tells
            # that a scan wrote it, as long as it has no digest.
            if not kept and not out.exists():
                journal.delete()
            raise
        if not shard:
            journal.delete()
            for other in others:
                other.unlink(missing_ok=True)


@contextmanager
def scanned_on_the_way(path: Path) -> Iterator[tuple[dict[str, Video], Callable[[Video], None]]]:
    """Do as `remembered` for a command that writes no manifest.

    Args:
        path: The journal, which is made when there is something to keep, and deleted once the block
            ends: then the command is done.
    """
    read, line = row_reader(path), row_writer(path)
    known: dict[str, Video] = {}
    journal: Journal | None = None
    with ExitStack() as opened:

        def keep(video: Video) -> None:
            nonlocal journal
            if journal is None:
                make_folder(path.parent)
                journal = opened.enter_context(Journal(path, _KEY))
            journal.append(line(video))

        if path.is_file():
            journal = opened.enter_context(Journal(path, _KEY))
            with understood(path):
                rows = [read(row) for row, _ in journal.records()]
            known = {row.path: row for row in rows if _is_unchanged(row)}
            if known:
                files = counted(len(known), "file was", "files were")
                say(f"{files} scanned by a run that did not finish")
        yield known, keep
        if journal:
            journal.delete()


def _rows(path: Path) -> list[Video]:
    if not path.is_file():
        return []
    try:
        return read_manifest(path)
    except DamagedFileError as error:
        warn(f"{path}: {error}; its videos are scanned anew")
        return []


def _is_unchanged(row: Video) -> bool:
    if row.ends_sha256 is None or row.packed:
        return False
    try:
        same = stamp(row.path) == (row.bytes, row.mtime_ns)
        return same and ends_digest(row.path) == row.ends_sha256
    except (MediaError, OSError):
        return False
