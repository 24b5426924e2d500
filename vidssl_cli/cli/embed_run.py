"""What `vidssl embed` does with videos; a run that does not finish is continued by the next.

Until ``x.parquet`` is written, ``x.parquet.part`` has journals of what is scanned and embedded.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from vidssl_cli.base.console import leave_out
from vidssl_cli.base.errors import MediaError, UsageError
from vidssl_cli.data.rescan import SCANNED, scanned_on_the_way
from vidssl_cli.files.locks import LOCK, locked
from vidssl_cli.search.build import choose_settings
from vidssl_cli.search.entries import embed_entries
from vidssl_cli.search.features_file import of_embedded, write_features
from vidssl_cli.search.plan import Plan

if TYPE_CHECKING:
    from vidssl_cli.cli.options import DataOptions
    from vidssl_cli.contract.hooks import DecoderOptions
    from vidssl_cli.model.embedding import Every
    from vidssl_cli.model.encoder import Encoder
    from vidssl_cli.search.levels import LevelName


def embed_to_file(
    encoder: Encoder,
    data: str,
    reading: DataOptions,
    decoder: DecoderOptions | None,
    out: Path,
    level: LevelName,
    every: Every | None,
) -> tuple[int, int, list[MediaError]]:
    """Embed the videos of DATA and write their features.

    Returns:
        Rows of the file, videos of which not all frames can be used, and an error for each that is
        left out.

    Raises:
        VidsslError: As `open_data`, `embed_entries` and `write_features`.
    """
    skipped: list[MediaError] = []
    with (
        _kept_beside(out) as folder,
        scanned_on_the_way(folder / SCANNED) as (scanned, keep),
    ):
        videos, broken = reading.open(data, known=scanned, keep=keep, workers=encoder.workers)
        encoder.decode_by(decoder, videos)
        plan = Plan(None, videos, prune=False)
        settings = choose_settings(encoder, None, None, None, every)
        found = embed_entries(
            encoder, settings, plan.new, plan.stamps, folder, skipped, what=str(out)
        )
        rows = write_features(out, of_embedded((item for item, _ in found), level))
    for error in skipped:
        leave_out(error, broken)
    return rows, sum(bool(video.problems) for video in videos), broken


@contextmanager
def _kept_beside(out: Path) -> Iterator[Path]:
    """Make and lock a folder for what is kept until a file is there; an empty one is removed.

    Raises:
        UsageError: The folder is there, and holds something else.
        BusyError: Another process is writing the file.
    """
    folder = out.with_name(f"{out.name}.part")
    if foreign := next(folder.glob("[!.]*"), None):
        raise UsageError(
            f"{folder} is where embedded videos are kept until {out.name} is written, and holds "
            f"something else, such as {foreign.name}",
            where="--out",
            hint=f"choose another name, or move {foreign}",
        )
    with locked(folder, "vidssl embed"):
        try:
            yield folder
        except BaseException:
            if {path.name for path in folder.iterdir()} > {LOCK}:
                raise
            shutil.rmtree(folder)
            raise
        shutil.rmtree(folder)
