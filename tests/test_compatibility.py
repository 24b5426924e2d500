"""What earlier versions wrote opens: a run, an index and a packed set in `archives/VERSION.tar.gz`.

Of 24 made-up videos (`vidssl data synth --per-class-train 2 --per-class-test 1`), which are not in
the archive: the run is `demo` with one epoch of two steps, a network of width 2 and 32 x 32 pixels.
"""

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from vidssl_cli.cli.failures import run as call
from vidssl_cli.data.packed_set import read_set
from vidssl_cli.evaluation.records import Record
from vidssl_cli.media.decode import read_frames
from vidssl_cli.model.encoder import Encoder

ARCHIVES = sorted((Path(__file__).parent / "archives").glob("*.tar.gz"))


@pytest.fixture(params=ARCHIVES, ids=lambda path: path.name.removesuffix(".tar.gz"))
def written(request, tmp_path):
    """The folder that an earlier version wrote."""
    with tarfile.open(request.param) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


def test_a_run_opens(written):
    record = Record.read(written / "run")
    assert record.state == "finished"
    encoder = Encoder.load(written / "run", "cpu")
    assert encoder.card.input.crop == 32
    assert encoder.digest.startswith("0c52242df9b6aa52")


def test_an_index_answers_as_it_did(written, capsys):
    from vidssl_cli.cli import app

    assert call(app, ["retrieve", str(written / "index"), "#0", "--top", "3", "--json"]) == 0
    (query,) = json.loads(capsys.readouterr().out)["queries"]
    found = [(hit["item"], hit["label"], hit["score"]) for hit in query["hits"]]
    assert found == [
        (1, "linear", pytest.approx(0.959267, abs=1e-5)),
        (19, "oscillate", pytest.approx(0.864209, abs=1e-5)),
        (7, "oscillate", pytest.approx(0.791018, abs=1e-5)),
    ]


def test_a_packed_set_is_read(written):
    videos = read_set(written / "packed")
    assert [(video.label, video.frames) for video in videos] == [("linear", 96)] * 2
    frames = read_frames(videos[0], [0, 95], (16, 16))
    assert frames.shape == (2, 16, 16, 3)
    assert np.ptp(frames) > 50
