"""An index with names that act, a file that browsers do not play, and one that is gone."""

import os
from dataclasses import replace
from types import SimpleNamespace

import pytest

from vidssl_cli.media.probe import probe
from vidssl_cli.search.build import build_index

HOSTILE = """<img src=x onerror=alert(1)>"'&video=%2e%2e;\u202e${x}.mp4"""


@pytest.fixture(scope="module")
def world(toy_encoder, toy_videos, make_video, tmp_path_factory):
    """Return paths of videos and of an index of them.

    Eight toy videos, then one with a hostile name, one whose name is not UTF-8, one that no browser
    plays, and one that is gone.
    """
    folder = tmp_path_factory.mktemp("world")
    paths = {}
    for name, source in [
        ("hostile", folder / "a" / HOSTILE),
        ("latin", os.fsdecode(os.fsencode(folder) + b"/a/caf\xe9 & co.mp4")),
        ("gone", folder / "b" / "gone.mp4"),
    ]:
        paths[name] = str(make_video(type(folder)(source), frames=50))
    paths["avi"] = str(make_video(folder / "b" / "old.avi", frames=60, codec="mpeg4"))
    more = [
        replace(probe(paths["hostile"]), label=HOSTILE),
        probe(paths["latin"]),
        replace(probe(paths["avi"]), label="old"),
        probe(paths["gone"]),
    ]
    build_index(toy_encoder(), [*toy_videos[:8], *more], folder / "index", every=0.2)
    os.unlink(paths["gone"])
    paths["toy"] = toy_videos[0].path
    return SimpleNamespace(folder=folder, index=folder / "index", **paths)
