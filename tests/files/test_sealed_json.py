import json
import os

import pytest

from vidssl_cli.base.errors import DamagedFileError
from vidssl_cli.files import sealed_json
from vidssl_cli.files.sealed_folder import held

DOCUMENT = {"state": "finished", "nested": {"sha256": "mine", "list": [1, 2.5, None, "é"]}}


@pytest.fixture
def path(tmp_path):
    (tmp_path / "it.json").write_bytes(sealed_json.render(DOCUMENT))
    return tmp_path / "it.json"


def test_a_sealed_document_reads_back_and_is_plain_json(path):
    assert sealed_json.read(path, "") == DOCUMENT
    plain = json.loads(path.read_bytes())
    assert len(plain.pop("sha256")) == 64
    assert plain == DOCUMENT


def test_every_flipped_cut_or_added_byte_is_refused_before_it_is_parsed(path, monkeypatch):
    whole = path.read_bytes()
    monkeypatch.setattr(json, "loads", lambda *_: pytest.fail("parsed"))
    damaged = [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in range(len(whole))]
    damaged += [whole[:at] for at in range(len(whole))]
    damaged += [whole + more for more in (b" ", b"\n", b"\0", whole)]
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(DamagedFileError, match=r"SHA-256 of its content is [0-9a-f]{64}"):
            sealed_json.read(path, "")


def test_a_pipe_keeps_nobody_waiting(tmp_path):
    os.mkfifo(tmp_path / "it.json")
    with pytest.raises(DamagedFileError, match="not a regular file"):
        sealed_json.read(tmp_path / "it.json", "")
    os.mkfifo(tmp_path / "manifest.json")
    with pytest.raises(DamagedFileError, match="not a regular file"), held(tmp_path):
        pass


def test_a_missing_document_is_damage(tmp_path):
    with pytest.raises(DamagedFileError, match="missing") as caught:
        sealed_json.read(tmp_path / "none.json", "make it again")
    assert caught.value.hint == "make it again"
