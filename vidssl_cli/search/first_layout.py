"""Reads indexes of layout 1, as vidssl 0.1 wrote them: a generation held everything.

    index.json     how the index was made
    gallery.jsonl  the videos (N)
    clip.npy       (M, D) features of all clips
    video.npy      (N, D) their means over each video
    clips.npy      (N,) clips of each video
    spans.npy      (M, 2) start and end of each clip in seconds
    stamps.npy     (N, 2) size and time of change of each file
    scaling.npy    (2, 2, D) what standardises videos and clips
    *.faiss        FAISS indexes over both, where FAISS was installed
    encoder/       the exported model

The first addition to such an index writes it anew.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Container
from pathlib import Path

import numpy as np

from vidssl_cli.contract.videos import Video
from vidssl_cli.data.manifest import read_manifest, row_writer
from vidssl_cli.files.untrusted_text import read_json, understood
from vidssl_cli.search.exact import inverse_lengths
from vidssl_cli.search.facts import facts_of
from vidssl_cli.search.gallery import Gallery
from vidssl_cli.search.generations import LAYOUT
from vidssl_cli.search.layout import SCALING, Contents, IndexSettings, require_named
from vidssl_cli.search.levels import LEVELS
from vidssl_cli.search.segments import CONTENT, PATH, ROWS, Segment, keys_of

FILES = (ROWS, *(f"{name}.npy" for name in ("clip", "video", "clips", "spans", "stamps")))


class FirstLayout(Segment):
    """All videos of a generation of layout 1."""

    sealed = False

    def __init__(self, folder: Path) -> None:
        """Read a generation whose files have been verified."""
        self._videos = read_manifest(folder / ROWS)
        keys = keys_of(self._videos)
        clip, video, clips, spans, stamps = (np.load(folder / name, "r") for name in FILES[1:])
        super().__init__(
            folder,
            {
                "lines": np.zeros(len(self._videos) + 1, np.int64),
                "keys": keys,
                "by_path": np.argsort(keys[PATH], kind="stable"),
                "by_content": np.argsort(keys[CONTENT], kind="stable"),
                "stamps": stamps,
                "ends": clips.cumsum(),
                "clip": clip,
                "video": video,
                "spans": spans,
            },
        )

    def video(self, number: int) -> Video:
        """Return a video."""
        return self._videos[number]

    def facts(self) -> sqlite3.Connection:
        """Return the facts of the videos."""
        return facts_of(enumerate(self._videos))

    def row(self, number: int) -> bytes:
        """Return the line of a video in a manifest."""
        return row_writer(self.folder / ROWS)(self._videos[number]).encode()


def read_first_layout(folder: Path, files: Container[str]) -> Contents:
    """Read a generation of layout 1.

    Args:
        folder: The generation.
        files: Those of it that have been verified.

    Raises:
        DamagedFileError: It is not what vidssl wrote.
        ValidationError: It has settings that are not known.
    """
    require_named(folder, files, (*FILES, SCALING))
    settings = read_json(folder / LAYOUT)
    del settings["version"]
    with understood(folder):
        gallery = Gallery([FirstLayout(folder)], np.empty(0, np.int64), {})
        scaling = dict(zip(LEVELS, np.load(folder / SCALING), strict=True))
        inverse = {
            level: inverse_lengths(gallery.features[level], scaling[level]) for level in LEVELS
        }
    chosen = IndexSettings.model_validate(settings)
    return Contents(chosen, gallery, folder / "encoder", scaling, inverse, {}, {})
